"""`python -m certmedic` is the same as `certmedic`."""

from certmedic.cli import main

main(prog_name="certmedic")
