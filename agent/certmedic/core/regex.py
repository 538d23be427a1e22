"""Regular expressions that are compiled when they are first used: a start needs few of them, and a line not all."""

from __future__ import annotations

import re
from typing import cast


class _Pattern:
    def __init__(self, pattern: str, flags: int) -> None:
        self._source = pattern, flags

    def __getattr__(self, name: str) -> object:
        """Compile the expression. The method that was asked for is found without this one from now on."""
        method = getattr(re.compile(*self._source), name)
        setattr(self, name, method)
        return method


def regex(text: str, flags: int = 0) -> re.Pattern[str]:
    """Return a regular expression. A faulty one raises re.error at its first use."""
    return cast("re.Pattern[str]", _Pattern(text, flags))
