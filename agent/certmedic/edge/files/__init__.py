"""Log files: plain ones by glob, and those that container runtimes write for the kubelet.

One thread follows them all. The kernel tells what changed (inotify): folders in which files come and go, and every file that
is open. Whole blocks are read, and lines are cut out only around needles. Rotations are followed by content; what a rotation
took away for good is reported.

    plain.py, pods.py  the two sources
    source.py          following many logs in one thread
    tail.py            one log, through its rotations
    part.py            one file of a log, and how far it was read
    rotation.py        which file holds what comes after a position
    formats.py         plain lines, and those of container runtimes
    globs.py           which files match
    inotify.py         the kernel's events
    certificates.py    the folders of certificates
"""

from certmedic.edge.files.plain import FileSource
from certmedic.edge.files.pods import PodSource

__all__ = ["FileSource", "PodSource"]
