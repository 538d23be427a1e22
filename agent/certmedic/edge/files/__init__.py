"""Log files: plain ones by glob, and those that container runtimes write for the kubelet.

One thread follows all of them. inotify reports changes of folders and of open files. Whole blocks are read, and lines are cut out
only around needles. Rotations are followed by content; content that a rotation removed unread is reported.

    plain.py, pods.py  the two sources
    source.py          following many logs in one thread
    tail.py            one log, through its rotations
    part.py            one file of a log, and its position
    rotation.py        which files hold the content after a position
    formats.py         plain lines, and those of container runtimes
    globs.py           which files match
    inotify.py         the kernel's events
    certificates.py    changes in the folders of certificates
"""

from certmedic.edge.files.plain import FileSource
from certmedic.edge.files.pods import PodSource

__all__ = ["FileSource", "PodSource"]
