"""The version of an etcd, and whether that version serves a renewed file without a restart."""

from __future__ import annotations

import re

_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")


def etcd_version(program: str) -> str:
    """Return the version in the path of an etcd that etcd-manager starts; "" if there is none.

    /opt/etcd-v3.2.18-linux-amd64/etcd in its image, /opt/etcd-v3.5.30/usr/local/bin/etcd if the image of etcd is mounted
    (BindirForEtcdVersion in etcd-manager v3.0.20260707).
    """
    match = re.search(r"/etcd-v(\d+\.\d+\.\d+)[^/]*/(?:usr/local/bin/)?etcd$", program)
    return match[1] if match else ""


def takes_up(version: str) -> bool | None:
    """Whether an etcd serves a renewed file to every client from the next handshake on; None if the version is not known.

    Since 3.2.0 for clients that send SNI; since 3.2.19, 3.3.4 and 3.4.0 for clients that dial an IP as well (etcd PR 9570).
    """
    match = _VERSION.match(version)
    if match is None:
        return None
    major, minor, patch = map(int, match.groups())
    first = {(3, 2): 19, (3, 3): 4}.get((major, minor), 0)
    return (major, minor) >= (3, 2) and patch >= first
