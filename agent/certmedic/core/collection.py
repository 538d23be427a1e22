"""What `certmedic collect` packs: files by name. The facts and the failures are read back and judged as on the master."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from certmedic.core import codec
from certmedic.core.model import Facts, Fold
from certmedic.core.scrub import scrubbed, scrubbed_all

SCHEMA = 1
ABOUT, FACTS, FAILURES = "about.json", "facts.json", "failures.json"
PREFIX = "certmedic-collect/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """The facts of one moment on a master, and the failures that its logs held."""

    facts: Facts
    folds: tuple[Fold, ...] = ()


def files_of(
    collected: Collected, about: Mapping[str, Any], reports: Mapping[str, Any], logs: Mapping[str, str]
) -> dict[str, bytes]:
    """Return the files to pack, the most useful first. `reports` are written as JSON; `logs` are texts. All text is scrubbed.

    Certificates are in `facts.json` and, one file for each path, below `certificates/`: both hold what was parsed as a certificate only.
    """
    facts = codec.plain(collected.facts)
    facts.pop("by_path")  # Facts makes it again
    facts["blind"] = scrubbed_all(facts["blind"])
    files = {
        ABOUT: _json({"schema": SCHEMA, **scrubbed_all(about)}),
        FACTS: _json(facts),
        FAILURES: _json(scrubbed_all(codec.plain(collected.folds))),
    }
    files |= {f"{name}.json": _json(scrubbed_all(report)) for name, report in reports.items()}
    files |= {f"logs/{name}": scrubbed(text).encode() for name, text in logs.items()}
    pem: dict[str, list[bytes]] = {}
    for stored in collected.facts.stored:
        pem.setdefault(stored.certificate.path, []).append(_pem(stored.certificate.der))
    return files | {f"certificates/{_name(path)}": b"".join(blocks) for path, blocks in pem.items()}


def collected_of(files: Mapping[str, bytes]) -> Collected:
    """Return what `files_of` packed. Raises ValueError, KeyError, TypeError or AttributeError if that makes no sense."""
    about = json.loads(files[ABOUT])
    if about["schema"] != SCHEMA:
        raise ValueError(f"its schema is {about['schema']}, and this certmedic reads {SCHEMA}: install a later one")
    facts = codec.load(Facts, files[FACTS].decode())
    folds = codec.load(tuple[Fold, ...], files[FAILURES].decode())
    return Collected(facts=facts, folds=folds)


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False, default=str).encode(errors="replace") + b"\n"


def _pem(der: bytes) -> bytes:
    text = base64.b64encode(der)
    lines: Sequence[bytes] = [text[start : start + 64] for start in range(0, len(text), 64)]
    return b"-----BEGIN CERTIFICATE-----\n%b\n-----END CERTIFICATE-----\n" % b"\n".join(lines)


def _name(path: str) -> str:
    """Return a path below the folder of certificates, which never leaves it."""
    return "/".join(part for part in path.split("/") if part not in ("", ".", "..")) or "unnamed"
