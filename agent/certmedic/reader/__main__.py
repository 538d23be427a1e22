"""`python3 -m certmedic.reader ENTRIES QUESTIONS`: serve the agent on two connected sockets, given by their descriptors."""

from certmedic.reader.serve import main

main()
