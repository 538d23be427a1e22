"""Apprise's files and addresses, loaded: channel -> apprise's server, and what is wrong with them."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Callable, Sequence
from errno import ENOENT
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from certmedic.core.text import nearest
from certmedic.edge.notify.capture import captured

HEAD = 4096  # bytes of a file of addresses, which tell its format
# Parts of an address that say how to send and not to whom. Without them, a newer apprise, which adds some, still knows a channel.
MANNERS = frozenset(
    {"cto", "rto", "verify", "format", "overflow", "emojis", "tz", "store", "retry", "wait", "optional", "image"}
)

Check = Callable[[Path], str | None]  # why a file is not believed; None if it is


def load(configs: Sequence[str], urls: Sequence[str], check: Check) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return channel id -> server, and what is wrong with the files and addresses, in sentences."""
    # Apprise and its HTTP library log addresses. Nothing of that reaches our log; `captured` keeps what is no secret.
    logger = logging.getLogger("apprise")
    logger.propagate = False
    logger.setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    import apprise  # noqa: PLC0415 - heavy; an agent that only writes to the journal never loads it

    faults: list[str] = []
    servers: list[Any] = []
    asset = apprise.AppriseAsset(app_id="certmedic", app_desc="certmedic", async_mode=False)
    for config in configs:
        path = credential(config)
        try:
            if fault := check(path):
                faults.append(fault)
                continue
            with path.open("rb") as file:
                head = file.read(HEAD)
        except OSError as error:
            near = nearest(path.name, (other.name for other in path.parent.glob("*"))) if error.errno == ENOENT else ""
            faults.append(f"notify.apprise: {path}: cannot be read: {error.strerror}{near}")
            continue
        with captured() as records:
            loader = apprise.Apprise(asset=asset)
            loader.add(apprise.AppriseConfig(paths=[_known_as(path, head)], asset=asset, recursion=1))
            in_file = list(loader)
        faults += [f"{path}: {fault}" for fault in _faults(in_file, records)]
        servers += in_file
    with captured():
        for number, url in enumerate(urls, 1):
            loader = apprise.Apprise(asset=asset)
            if not loader.add(url):
                faults.append(f"notify.apprise: address number {number}: {_why(url, loader)}")
            servers += list(loader)
    known: dict[str, Any] = {}
    for server in servers:
        same = known.setdefault(_id(server), server)
        if same is not server:  # the same address in two places is one channel with the tags of both
            same.tags = {*same.tags, *server.tags} if same.tags and server.tags else set()
    return known, tuple(faults)


def _why(url: str, loader: Any) -> str:
    """Return why apprise cannot use an address. Only the name of its service is no secret."""
    schema, separator, _ = url.partition("://")
    known = {
        name
        for each in loader.details()["schemas"]
        for key in ("protocols", "secure_protocols")
        for name in each[key] or ()
    }
    if not separator or schema.lower() in known or not re.fullmatch(r"[a-z0-9+-]{1,20}", schema):
        return "apprise cannot use it"
    return f"apprise knows no service {schema!r}{nearest(schema, known)}"


def _known_as(path: Path, head: bytes) -> str:
    """Return a file's name for apprise, which knows YAML by the ending alone: a credential has none."""
    first = next((line for line in map(bytes.strip, head.splitlines()) if line and line[:1] not in b"#;"), b"")
    if path.suffix or not re.match(rb"---|\w+:(?!//)", first):
        return str(path)
    return f"file://{quote(str(path))}?format=yaml"


def credential(config: str) -> Path:
    """Return the path of a file that is named by its path, or as "credential:NAME" in $CREDENTIALS_DIRECTORY."""
    name = config.removeprefix("credential:")
    if name == config:
        return Path(config)
    return Path(os.environ.get("CREDENTIALS_DIRECTORY", "/run/credentials/certmedic.service")) / name


def _id(server: Any) -> str:
    """Return the hash of an address: equal for equal receivers, in whatever order apprise lists them."""
    parts = urlsplit(server.url(privacy=False))
    query = sorted(
        (name, ",".join(sorted(value.split(","))))
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
        if name not in MANNERS
    )
    return hashlib.sha256(repr((parts.scheme, parts.netloc, parts.path, query)).encode()).hexdigest()[:16]


def label_of(server: Any, key: str) -> str:
    """Return scheme, host and a part of the id. Some services have a secret in the place of the host: it is left out."""
    scheme, _, rest = str(server.url(privacy=True)).partition("://")
    host = re.split(r"[/?]", rest, maxsplit=1)[0].rpartition("@")[2]
    real = host if re.fullmatch(r"(localhost|[\w-]+(\.[\w-]+)+|\[[0-9a-f:]+\])(:\d+)?", host) else ""
    return f"{scheme}://{real} ({key[:4]})"


def _faults(servers: Sequence[Any], records: Sequence[str]) -> list[str]:
    """Return what is wrong with a file. Not every apprise logs the line or the entry."""
    places = [record for record in dict.fromkeys(records) if record.startswith(("line ", "entry "))]
    reason = next((record for record in records if record.startswith(": ")), "")
    if not servers:
        return places or [f"holds no address that apprise can use{reason}"]
    return places or ([f"holds something that apprise cannot use{reason}"] if records else [])
