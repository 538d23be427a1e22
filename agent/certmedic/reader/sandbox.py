"""The reader gives up every power that it does not need: the kernel refuses it for ever.

`confine` is for the process that reads what strangers write, `keep_sight` for the one that answers about files and processes.

Landlock (landlock(7), Linux 5.13 and later) refuses every write to files, and TCP since Linux 6.7, and signals to other processes since 6.12.
It also refuses to trace, or to read the memory of, a process that is not confined like this one. Of root's capabilities only the one to read
files is kept by both. The other process keeps CAP_SYS_PTRACE, without which the environment of an etcd, which alone names its members, and
the holders of a socket are closed to it; Landlock would close them too.
"""

from __future__ import annotations

import ctypes
import os
from typing import Final

_PR_SET_NO_NEW_PRIVS: Final = 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # system calls, the same on every architecture
_VERSION: Final = 1  # ask which version the kernel has
_PATH_BENEATH: Final = 1
_WRITE_FILE: Final = 1 << 1
# Writing, removing and making files of each kind; from version 2 on moving, from 3 on truncating.
_WRITES: Final = {1: _WRITE_FILE | sum(1 << bit for bit in range(4, 13)), 2: 1 << 13, 3: 1 << 14}
_TCP: Final = 0b11  # to bind and to connect; version 4
_SCOPES: Final = 0b11  # abstract unix sockets and signals; version 6
_CAPABILITY_VERSION: Final = 0x20080522
_CAP_DAC_READ_SEARCH: Final = 1 << 2
_CAP_SYS_PTRACE: Final = 1 << 19


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Capabilities(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def confine() -> int:
    """Confine this process, before it starts a thread; return the version of Landlock, 0 if the kernel has none."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _drop_capabilities(libc, _CAP_DAC_READ_SEARCH)
    version = int(libc.syscall(_CREATE_RULESET, None, 0, _VERSION))
    if version < 1:
        return 0
    rules = _Ruleset(files=sum(bits for since, bits in _WRITES.items() if since <= version))
    size = 8
    if version >= 4:
        rules.network, size = _TCP, 16
    if version >= 6:
        rules.scoped, size = _SCOPES, 24
    ruleset = int(libc.syscall(_CREATE_RULESET, ctypes.byref(rules), size, 0))
    if ruleset < 0:
        return 0
    try:
        nothing = os.open(os.devnull, os.O_PATH | os.O_CLOEXEC)  # the output of a program that is run goes there
        try:
            rule = _Beneath(allowed=_WRITE_FILE, folder=nothing)
            libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
        finally:
            os.close(nothing)
        return version if libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0 else 0
    finally:
        os.close(ruleset)


def keep_sight() -> None:
    """Keep of all capabilities those to read files and to look at processes, before this process starts a thread."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _drop_capabilities(libc, _CAP_DAC_READ_SEARCH | _CAP_SYS_PTRACE)


def _drop_capabilities(libc: ctypes.CDLL, keep: int) -> None:
    header, sets = _Header(version=_CAPABILITY_VERSION), (_Capabilities * 2)()
    if libc.capget(ctypes.byref(header), ctypes.byref(sets)):
        return
    kept = sets[0].permitted & keep
    sets[0] = _Capabilities(effective=kept, permitted=kept, inheritable=0)
    sets[1] = _Capabilities()
    libc.capset(ctypes.byref(header), ctypes.byref(sets))
