"""`python3 -m certmedic.reader [ENTRIES QUESTIONS]`: serve the agent on two connected sockets, given by their descriptors.

Without arguments, systemd has started this process for the agent, which passes the sockets.
"""

from certmedic.reader.serve import main

main()
