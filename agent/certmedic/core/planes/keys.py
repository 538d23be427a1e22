"""Where private keys lie: the one beside a certificate, and those of the authorities that sign on a master."""

from __future__ import annotations

import posixpath
import re

from certmedic.core.model import Place

# Uses whose programs read the file at every handshake (FIELD 3.1); etcd-manager holds its own in memory.
REREAD = frozenset({"peer", "server", "apiserver-etcd-client"})
_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")
# All groups but cilium share one authority for clients, so each group's folder holds the same (nodeup, etcd_manager_tls.go).
_SHARING = ("main", "events", "leases")


def key_beside(path: str) -> str:
    """Return where the private key of a PEM certificate lies by custom; "" where there is no custom."""
    stem, end = posixpath.splitext(path)
    if end in (".crt", ".cert", ".cer"):
        return f"{stem}.key"
    if end == ".pem":
        return f"{stem.removesuffix('cert')}key.pem" if stem.endswith("cert") else f"{stem}-key.pem"
    return ""


def etcd_version(program: str) -> str:
    """Return the version in the path of an etcd as etcd-manager starts it; "" where there is none.

    /opt/etcd-v3.2.18-linux-amd64/etcd in its own image, /opt/etcd-v3.5.30/usr/local/bin/etcd where etcd's image is mounted
    (BindirForEtcdVersion in etcd-manager v3.0.20260707).
    """
    match = re.search(r"/etcd-v(\d+\.\d+\.\d+)[^/]*/(?:usr/local/bin/)?etcd$", program)
    return match[1] if match else ""


def takes_up(version: str) -> bool | None:
    """Whether an etcd serves a new file to every client from the next handshake on; None if the version is not known.

    Since 3.2.0 for clients that send SNI; since 3.2.19, 3.3.4 and 3.4.0 for clients that dial an IP as well (etcd PR 9570).
    """
    match = _VERSION.match(version)
    if match is None:
        return None
    major, minor, patch = map(int, match.groups())
    first = {(3, 2): 19, (3, 3): 4}.get((major, minor), 0)
    return (major, minor) >= (3, 2) and patch >= first


def signing_authorities(place: Place, root: str = "/") -> tuple[tuple[str, str], ...]:
    """Return (certificate, private key) of each authority that may have signed what lies at `place`, likeliest first.

    The caller checks whether the files exist and which of them signed the certificate. Only kops keeps such keys on its
    masters, in /etc/kubernetes/pki/etcd-manager-<group>; for any other plane or use there is none.
    """
    if place.plane != "kops":
        return ()
    name = "etcd-clients-ca"
    groups: tuple[str, ...] = ()
    if place.use == "peer" and place.group:
        name, groups = "etcd-peers-ca", (place.group,)
    elif place.use == "server" and place.group:
        others = _SHARING if place.group in _SHARING else ()
        groups = tuple(dict.fromkeys((place.group, *others)))
    elif place.use == "apiserver-etcd-client":
        groups = _SHARING
    elif place.use in ("manager-server", "manager-client") and place.group:
        name, groups = "etcd-manager-ca", (place.group,)
    folders = [posixpath.join(root, f"etc/kubernetes/pki/etcd-manager-{group}") for group in groups]
    return tuple((f"{folder}/{name}.crt", f"{folder}/{name}.key") for folder in folders)
