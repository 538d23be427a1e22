"""Mark the kernel's clock as synchronised, as an NTP daemon does: test machines have none."""

from __future__ import annotations

import ctypes

ADJ_MAXERROR, ADJ_ESTERROR, ADJ_STATUS = 0x4, 0x8, 0x10


class _WholeTimex(ctypes.Structure):
    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 512),
    )


def keep_right() -> bool:
    """Mark the clock as synchronised for some hours; return whether the kernel allowed it (needs CAP_SYS_TIME)."""
    timex = _WholeTimex(modes=ADJ_MAXERROR | ADJ_ESTERROR | ADJ_STATUS, maxerror=1000, esterror=1000, status=0)
    return bool(ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex)) >= 0)
