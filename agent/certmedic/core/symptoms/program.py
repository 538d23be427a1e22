"""Which program wrote a line.

A system origin names the program by its container, unit, pod or file, which no writer can choose; words of the line only
distinguish programs that share one container (etcd-manager starts etcd). For every other origin the name is for display, and
the identifier in the line comes first. k3s and rke2 run the control plane in one process and are restarted as one.
"""

from __future__ import annotations

import re
from typing import Final

from certmedic.core import planes
from certmedic.core.entries import Origin
from certmedic.core.origin import pod_of_container
from certmedic.core.symptoms.table import ETCD_WORDS, OTHER_WORDS, PROGRAMS, STARTS_ETCD
from certmedic.core.vocabulary import Trust

# Programs that run a whole control plane in one process.
ALL_IN_ONE: Final = planes.every(lambda plane: plane.programs if plane.etcd_config else ())
LONGEST: Final = 64  # characters of a name that only a line gives

_POD_LOG: Final = re.compile(r"/([^/_]{1,253})/\d+\.log$")
_CONTAINER_LOG: Final = re.compile(r"_([^/_]{1,253})-[0-9a-f]{64}\.log$")
_PLAIN_LOG: Final = re.compile(r"/([\w.-]{1,253}?)(?:\.log|\.\d+)*$")


def program_of(line: str, ident: str, origin: Origin) -> str:
    """Return the name of the program that wrote a line, at most 64 characters; "" if nothing says it.

    `ident` is the name in the envelope of the line, e.g. the identifier in a line of syslog.
    """
    if origin.trust is Trust.SYSTEM and (place := _place(origin)):
        return "etcd" if place in STARTS_ETCD and _is_etcd(line) else place
    name = _known(ident) or _known(origin.program) or _place(origin)
    if name in ALL_IN_ONE:
        return name
    if _is_etcd(line):
        return "etcd"
    if name:
        return name
    for words, program in OTHER_WORDS:
        if words in line:
            return program
    return (ident or origin.program)[:LONGEST]


def _is_etcd(line: str) -> bool:
    return any(words in line for words in ETCD_WORDS)


def _place(origin: Origin) -> str:
    """Return the program that a container, unit, pod or file is named after; "" if none of them is known."""
    for word in (pod_of_container(origin.container).container or origin.container, origin.unit, origin.pod):
        if known := _known(word):
            return known
    if not origin.path:
        return ""
    match = _POD_LOG.search(origin.path) or _CONTAINER_LOG.search(origin.path) or _PLAIN_LOG.search(origin.path)
    return _known(match.group(1)) if match else ""


def _known(word: str) -> str:
    if not word:
        return ""
    word = word.rpartition("/")[2]
    for name in PROGRAMS:
        if word.startswith(name) and not word[len(name) : len(name) + 1].isalnum():
            return name
    return ""
