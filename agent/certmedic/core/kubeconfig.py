"""Certificates inside kubeconfigs and Kubernetes secrets: their places, and which entry of a kubeconfig holds each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

# Base64 under the keys of kubeconfigs (YAML or JSON), and of the Secret that k3s keeps in tls/dynamic-cert.json.
EMBEDDED = re.compile(
    rb"""["']?(client-certificate-data|certificate-authority-data|tls\.crt|ca\.crt)["']?[ \t]*:"""
    rb"""[ \t]*["']?([A-Za-z0-9+/=]{1,1048576})"""
)
KUBECONFIG = re.compile(rb"""(?m)^[ \t{,]*["']?(?:clusters|users|current-context)["']?[ \t]*:""")
# The lines of a kubeconfig in YAML that tell where an entry begins, its name, and the certificate in it.
LINE = re.compile(
    rb"""(?m)^([ \t]*)(-[ \t]+)?(?:["']?([A-Za-z-]{1,40})["']?[ \t]*:[ \t]*(?:["']?([^\s"'#]{1,256}))?)?"""
)
_KINDS: Mapping[bytes, str] = {b"client-certificate-data": "user", b"certificate-authority-data": "cluster"}


class Entry(NamedTuple):
    """An entry of a kubeconfig: "user" or "cluster", and its name; both "" for another file, the name "" if it is not known."""

    kind: str = ""
    name: str = ""


def entry_of(key: bytes, name: str) -> Entry:
    """Return the entry in which `key` holds a certificate."""
    kind = _KINDS.get(key, "")
    return Entry(kind, name if kind else "")


def names(data: bytes) -> Mapping[int, str]:
    """Return the place of each key that holds a certificate -> the name of its entry. Reads YAML in block style, once."""
    return dict(_named(data))


def _named(data: bytes) -> Iterator[tuple[int, str]]:
    column, name = -1, ""  # of the entry that was begun; the column of its keys is -1 if there is none
    keys: list[int] = []
    for line in LINE.finditer(data):
        indent, dash, key, value = line.groups()
        at = len(indent) + len(dash or b"")
        begins = dash is not None and (column < 0 or at <= column)
        if begins or (key is not None and at < column):
            yield from ((place, name) for place in keys)
            column, name, keys = (at if begins else -1), "", []
        if key == b"name" and at == column and value:
            name = _printable(value)
        elif key in _KINDS and column >= 0:
            keys.append(line.start(3))
    yield from ((place, name) for place in keys)


def _printable(name: bytes) -> str:
    text = name.decode("utf-8", "replace")
    return "".join(char if char.isprintable() else "\ufffd" for char in text)
