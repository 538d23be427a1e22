"""The attributes of a distinguished name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

_PART = re.compile(r"(?:^|[,+])([A-Za-z0-9.]+)=((?:[^\\,+]|\\.)*)", re.DOTALL)
_ESCAPE = re.compile(r"\\(00|.)", re.DOTALL)


@lru_cache(maxsize=1024)
def attributes(name: str) -> Mapping[str, str]:
    """Return short name -> value of a name in RFC 4514, e.g. {"CN": "admin", "O": "system:masters"}.

    If an attribute occurs more than once, its first value in the certificate counts, which RFC 4514 writes last.
    """
    return {
        kind: _ESCAPE.sub(lambda match: match[1].replace("00", "\ufffd"), value) for kind, value in _PART.findall(name)
    }
