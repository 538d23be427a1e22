"""The members of an etcd cluster: from its flags and environment, and from its answer to GET /members."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from certmedic.core.planes.startup import is_host, options

MOST_MEMBERS = 32  # etcd advises at most 7; a longer list is no cluster of a control plane
_CLIENTS = ("advertise-client-urls", "listen-client-urls")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """The name of an etcd, its members as (name, host, peer port), and its client port; None if members differ in it."""

    name: str
    members: tuple[tuple[str, str, int], ...]
    client_port: int | None
    ids: Mapping[str, str] = field(
        default_factory=dict, compare=False
    )  # id in etcd's log -> name, of the first members


def cluster_from_flags(argv: Sequence[str], environ: Mapping[str, str]) -> Cluster | None:
    """Return the cluster that the flags and ETCD_ variables name; None if they name none, or more than MOST_MEMBERS members.

    It is the cluster at the time when this member joined: later changes do not show.
    """
    flags = options(argv, environ)
    name = flags.get("name", "default")
    listed = [item.partition("=") for item in flags.get("initial-cluster", "").split(",", MOST_MEMBERS)]
    if len(listed) > MOST_MEMBERS or not is_host(name):
        return None
    if flags.get("initial-advertise-peer-urls"):
        listed.insert(0, (name, "=", flags["initial-advertise-peer-urls"].split(",", 1)[0]))
    peers: dict[str, tuple[str, int]] = {}
    for member, _, url in listed:
        endpoint = _endpoint(url)
        if is_host(member.strip()) and endpoint is not None and is_host(endpoint[0]):
            peers.setdefault(member.strip(), endpoint)
    if not peers or not flags.get("initial-cluster"):
        return None
    urls = [url for key in _CLIENTS for url in flags.get(key, "").split(",", MOST_MEMBERS)[:MOST_MEMBERS]]
    ports = {endpoint[1] for url in urls if (endpoint := _endpoint(url))}
    members = tuple((member, *endpoint) for member, endpoint in sorted(peers.items()))[:MOST_MEMBERS]
    ids = member_ids(flags["initial-cluster"], flags.get("initial-cluster-token", "etcd-cluster"))
    known = {number: member for number, member in ids.items() if member in peers}
    return Cluster(name=name, members=members, client_port=ports.pop() if len(ports) == 1 else None, ids=known)


def member_ids(listed: str, token: str) -> dict[str, str]:
    """Return {id: name} of the members that began a cluster: etcd hashes the peer URLs of each and the cluster's token.

    The id of a member that was added later depends on the time, too, and is in none of its flags.
    """
    urls: dict[str, list[str]] = {}
    for member, _, url in (item.partition("=") for item in listed.split(",")):
        urls.setdefault(member.strip(), []).append(url.strip())
    return {
        format(
            int(hashlib.sha1("".join([*sorted(mine), token]).encode(), usedforsecurity=False).hexdigest()[:16], 16), "x"
        ): member
        for member, mine in urls.items()
    }


def cluster_from_config(text: str) -> Cluster | None:
    """Return the cluster that the etcd configuration of k3s or rke2 names; None if it names none."""
    values = dict(re.findall(r"^(name|initial-cluster): *[\"']?([^\s\"']+)", text, re.MULTILINE))
    return cluster_from_flags((), {f"ETCD_{key.upper().replace('-', '_')}": value for key, value in values.items()})


def voters_of(answer: bytes) -> tuple[tuple[str, str, int], ...]:
    """Return (name, host, peer port) of each voting member in etcd's answer to GET /members.

    Empty if the answer is no such list, has more than MOST_MEMBERS members, or has a voter without a printable name or an https
    endpoint: a list without that voter would understate the quorum. A member that was added and has not started has no name yet, but
    counts for the quorum; its address stands for the name.
    """
    try:
        listed = json.loads(answer)
        if not isinstance(listed, list) or len(listed) > MOST_MEMBERS:
            return ()
        voters = [_voter(member) for member in listed if not member.get("isLearner")]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return ()
    return tuple(sorted(voters))


def _voter(member: Mapping[str, Any]) -> tuple[str, str, int]:
    endpoint = _endpoint(member["peerURLs"][0])
    if endpoint is None:
        raise ValueError("a member without an https endpoint")
    host, port = endpoint
    name = member.get("name") or f"{host}:{port}"
    if not isinstance(name, str) or not is_host(name) or not is_host(host):
        raise ValueError("a member whose name or host is not printable")
    return name, host, port


def _endpoint(url: str) -> tuple[str, int] | None:
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError:  # a port that is no number
        return None
    return (host, port) if parts.scheme == "https" and host and port else None
