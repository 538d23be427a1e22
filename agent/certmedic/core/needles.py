"""The needles: bytes that a line must hold before it is decoded. The reader loads them alone, and not the rules."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Final

RULE_FILES: Final = Path(__file__).parent / "symptoms" / "rules"
WORDS: Final[dict[str, Any]] = tomllib.loads((RULE_FILES / "words.toml").read_text(encoding="utf-8"))
NEEDLES: Final[tuple[bytes, ...]] = tuple(needle.encode() for needle in WORDS["needles"])
