"""Which cluster an etcd was started into, by its flags and its environment, and which it is in, by its own word."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from certmedic.core.planes.startup import options

MOST_MEMBERS = 32  # etcd recommends seven at most
LONGEST = 512  # characters of a name and a host together
_CLIENTS = ("advertise-client-urls", "listen-client-urls")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """An etcd's own name, its members as (name, host, port of its peers), and the port on which it serves clients."""

    name: str
    members: tuple[tuple[str, str, int], ...]
    client_port: int | None


def cluster_from_flags(argv: Sequence[str], environ: Mapping[str, str]) -> Cluster | None:
    """Return the cluster of an etcd by its flags and ETCD_ variables; None where they do not name one.

    It is the cluster as it was when this member joined: who came or went since does not show.
    """
    told = options(argv, environ)
    name = told.get("name", "default")
    listed = [one.partition("=") for one in told.get("initial-cluster", "").split(",")]
    found: dict[str, tuple[str, int]] = {}
    if told.get("initial-advertise-peer-urls"):
        listed.insert(0, (name, "=", told["initial-advertise-peer-urls"].split(",")[0]))
    for member, _, url in listed:
        where = _where(url)
        if member.strip() and where is not None:
            found.setdefault(member.strip(), where)
    if not found or not told.get("initial-cluster"):
        return None
    ports = {where[1] for key in _CLIENTS for url in told.get(key, "").split(",") if (where := _where(url))}
    members = tuple((member, *where) for member, where in sorted(found.items()))
    return Cluster(name=name, members=members, client_port=ports.pop() if len(ports) == 1 else None)


def cluster_from_config(text: str) -> Cluster | None:
    """Return the cluster of the etcd inside k3s or rke2 by the file that they write for it; None where it does not name one."""
    told = dict(re.findall(r"^(name|initial-cluster): *[\"']?([^\s\"']+)", text, re.MULTILINE))
    return cluster_from_flags((), {f"ETCD_{key.upper().replace('-', '_')}": value for key, value in told.items()})


def voters_told(answer: bytes) -> tuple[tuple[str, str, int], ...]:
    """Return (name, host, port of its peers) of each member that votes, as etcd answers GET /members; empty where it is no such answer.

    One that was added and has not started yet has no name, and counts for the quorum all the same: it goes by its address.
    """
    try:
        found = [
            (str(one.get("name") or f"{where[0]}:{where[1]}"), *where)
            for one in json.loads(answer)
            if not one.get("isLearner") and (where := _where(one["peerURLs"][0])) is not None
        ]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return ()
    # Whoever answers chooses the names: one that cannot be printed, or no name at all, makes the whole answer none.
    sane = all(
        name.isprintable() and host.isprintable() and len(name) + len(host) <= LONGEST for name, host, _ in found
    )
    return tuple(sorted(found)) if sane and len(found) <= MOST_MEMBERS else ()


def _where(url: str) -> tuple[str, int] | None:
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError:  # a port that is no number
        return None
    return (host, port) if parts.scheme == "https" and host and port else None
