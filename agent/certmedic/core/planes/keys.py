"""Where private keys lie: the one beside a certificate, and those of the authorities that sign on a master."""

from __future__ import annotations

import posixpath

from certmedic.core.model import Place

# Uses whose programs read the file at every handshake (FIELD 3.1); etcd-manager holds its own in memory.
REREAD = frozenset({"peer", "server", "apiserver-etcd-client"})
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


def signing_authorities(place: Place, root: str = "/") -> tuple[tuple[str, str], ...]:
    """Return (certificate, private key) of each authority that may have signed what lies at `place`, likeliest first.

    Whether the files are there, and which of them really signed it, is for the caller to see. Only kops keeps such keys on
    its masters, in /etc/kubernetes/pki/etcd-manager-<group>; for any other plane or use there is none.
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
