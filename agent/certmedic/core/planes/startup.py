"""The certificate files that an etcd names in its start-up lines, flags and environment."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

# TLSInfo.String() in client/pkg/transport: `cert = A, key = B, [client-cert=..., client-key=..., ][ca = C, ]trusted-ca = D, ...`
_VALUE = re.compile(r'(?<![\w-])(cert|ca|trusted-ca)\s?=\s?([^,"]*)')
_CLIENT_FACE = re.compile(r"client ?tls", re.IGNORECASE)
_PEER_FACE = re.compile(r"peer ?tls", re.IGNORECASE)

# Flag or variable -> use of the file. etcd dropped `--ca-file` after 3.0, but old manifests still have it.
_FLAGS: Mapping[str, str] = {
    "cert-file": "server",
    "peer-cert-file": "peer",
    "trusted-ca-file": "ca",
    "peer-trusted-ca-file": "ca",
    "ca-file": "ca",
    "peer-ca-file": "ca",
    "client-cert-file": "client",
    "peer-client-cert-file": "client",
    # of kube-apiserver
    "etcd-certfile": "apiserver-etcd-client",
    "etcd-cafile": "ca",
    "tls-cert-file": "apiserver",
    "client-ca-file": "ca",
    "kubelet-client-certificate": "apiserver-kubelet-client",
    "proxy-client-cert-file": "front-proxy-client",
}

# Anyone can write flags, variables and lines. A longer list is no configuration of etcd.
MOST_PATHS = 64
LONGEST_PATH = 4096  # PATH_MAX
LONGEST_HOST = 253  # a DNS name


def is_path(text: str) -> bool:
    """Whether a path is short and printable: no control characters, surrogates or direction marks."""
    return 0 < len(text) <= LONGEST_PATH and text.isprintable()


def is_host(text: str) -> bool:
    """Whether the name of a member or host is short and printable."""
    return 0 < len(text) <= LONGEST_HOST and text.isprintable()


def paths_from_startup_line(text: str) -> tuple[tuple[str, str], ...]:
    """Return (use, path) of each certificate file that a start-up line of etcd names; uses are `peer`, `server` and `ca`.

    capnslog (to 3.4) writes `peerTLS: cert = ...` and `ClientTLS: cert = ...`; zap writes `"msg":"starting with peer
    TLS","tls-info":"cert = ..."`. Empty for any other line.
    """
    if "cert = " not in text and "cert=" not in text:
        return ()
    face = "peer" if _PEER_FACE.search(text) else "server" if _CLIENT_FACE.search(text) else ""
    if not face:
        return ()
    named = [(face if name == "cert" else "ca", value.strip()) for name, value in _VALUE.findall(text)]
    return tuple(dict.fromkeys((use, path) for use, path in named if path.startswith("/") and is_path(path)))[
        :MOST_PATHS
    ]


# `advertise client URLs = https://a:4001` of capnslog, `"initial-advertise-peer-urls":["https://a:2380"]` of zap.
_ADVERTISED = re.compile(
    r'(?:advertise[ -](client|peer)[ -]urls)"?\s?[=:]\s?\[?("?https://(?:\[[0-9a-f:]{2,45}\]|[^\]\s])+)', re.IGNORECASE
)
_HOST = re.compile(r"https://(\[[0-9a-fA-F:]+\]|[^\s:/\",]+)")


def hosts_from_startup_line(text: str) -> tuple[tuple[str, str], ...]:
    """Return (use, host) of each name or address that etcd advertises in a start-up line."""
    if "dvertise" not in text:
        return ()
    return tuple(
        ("peer" if face.lower() == "peer" else "server", host.strip("[]"))
        for face, urls in _ADVERTISED.findall(text)
        for host in _HOST.findall(urls)
        if is_host(host.strip("[]"))
    )[:MOST_PATHS]


def paths_from_flags(argv: Sequence[str], environ: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return (use, path) of each certificate file in the flags of a process and in ETCD_ variables.

    A flag overrides the variable of the same name. Paths are as the process sees them, perhaps relative.
    """
    values = options(argv, environ)
    return tuple(dict.fromkeys((use, values[name]) for name, use in _FLAGS.items() if is_path(values.get(name, ""))))


def options(argv: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return name -> value of the flags, without dashes, and of the ETCD_ variables for which there is no flag."""
    values: dict[str, str] = {}
    for name, value in environ.items():
        if name.startswith("ETCD_"):
            values[name.removeprefix("ETCD_").lower().replace("_", "-")] = value
    for at, argument in enumerate(argv):
        if not argument.startswith("-"):
            continue
        name, is_joined, value = argument.lstrip("-").partition("=")
        if not is_joined and at + 1 < len(argv):
            value = argv[at + 1]
        values[name] = value
    return values
