"""The certificate files that an etcd names in its start-up lines, flags and environment."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

# TLSInfo.String() in client/pkg/transport: `cert = A, key = B, [client-cert=..., client-key=..., ][ca = C, ]trusted-ca = D, ...`
_VALUE = re.compile(r'(?<![\w-])(cert|ca|trusted-ca)\s?=\s?([^,"]*)')
_CLIENT_FACE = re.compile(r"client ?tls", re.IGNORECASE)
_PEER_FACE = re.compile(r"peer ?tls", re.IGNORECASE)

# Flag or variable of etcd -> what the file is used as. `--ca-file` went away with etcd 3.0's successors, and is still met.
_FLAGS: Mapping[str, str] = {
    "cert-file": "server",
    "peer-cert-file": "peer",
    "trusted-ca-file": "ca",
    "peer-trusted-ca-file": "ca",
    "ca-file": "ca",
    "peer-ca-file": "ca",
    "client-cert-file": "client",
    "peer-client-cert-file": "client",
    # kube-apiserver's
    "etcd-certfile": "apiserver-etcd-client",
    "etcd-cafile": "ca",
    "tls-cert-file": "apiserver",
    "client-ca-file": "ca",
    "kubelet-client-certificate": "apiserver-kubelet-client",
    "proxy-client-cert-file": "front-proxy-client",
}

# Flags, variables and lines come from processes of anyone: more than this is no configuration of etcd.
MOST_PATHS = 64
LONGEST_PATH = 4096  # PATH_MAX
LONGEST_HOST = 253  # a DNS name


def is_path(text: str) -> bool:
    """Whether a path is short and printable: without control characters, surrogates or marks that turn the text around."""
    return 0 < len(text) <= LONGEST_PATH and text.isprintable()


def is_host(text: str) -> bool:
    """Whether a member's name or a host is short and printable."""
    return 0 < len(text) <= LONGEST_HOST and text.isprintable()


def paths_from_startup_line(text: str) -> tuple[tuple[str, str], ...]:
    """Return (use, path) for each certificate file that a start-up line of etcd names; uses are `peer`, `server` and `ca`.

    Lines: `peerTLS: cert = ...` and `ClientTLS: cert = ...` of capnslog (to 3.4), `"msg":"starting with peer TLS","tls-info":"cert = ..."` of
    zap. Empty for every other line.
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
    """Return (use, host) for each name or address that etcd advertises in a start-up line."""
    if "dvertise" not in text:
        return ()
    return tuple(
        ("peer" if face.lower() == "peer" else "server", host.strip("[]"))
        for face, urls in _ADVERTISED.findall(text)
        for host in _HOST.findall(urls)
        if is_host(host.strip("[]"))
    )[:MOST_PATHS]


def paths_from_flags(argv: Sequence[str], environ: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return (use, path) for each certificate file in a process' flags, and in etcd's own variables (`ETCD_CERT_FILE`).

    A flag counts more than the variable of the same name. Paths are as the process sees them, perhaps relative.
    """
    values = options(argv, environ)
    return tuple(dict.fromkeys((use, values[name]) for name, use in _FLAGS.items() if is_path(values.get(name, ""))))


def options(argv: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return flag (without dashes) -> value of an etcd's flags, and of its own variables where there is no such flag."""
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
