"""The journal: every boot, volatile and persistent, read with libsystemd in one thread.

source.py         the source: opens the journal, reads, waits, reports
seek.py           where reading begins
batch.py          which entries hold a needle
writer.py         the origin of an entry
position.py       a position in the journal
wait.py           how long to wait for new entries
journal_files.py  which files there are, and whether libsystemd could open them
fast_reader.py    the C reader's own calls
"""

from certmedic.edge.journal.source import STREAM, JournalError, JournalSource

__all__ = ["STREAM", "JournalError", "JournalSource"]
