"""A regular expression is compiled at its first use, once, and then works as `re` does."""

import re

import pytest

from certmedic.core.regex import regex


def test_expression_is_compiled_at_its_first_use_and_only_then(monkeypatch):
    compiled = []
    monkeypatch.setattr(re, "compile", lambda *source, real=re.compile: compiled.append(source) or real(*source))
    digits = regex(r"\d+", re.MULTILINE)
    assert compiled == []
    assert [digits.search("a 12").group(), digits.search("34").group()] == ["12", "34"]
    assert compiled == [(r"\d+", re.MULTILINE)]
    assert digits.fullmatch("12a") is None


def test_faulty_expression_fails_at_its_first_use():
    faulty = regex("(")
    with pytest.raises(re.error, match="unterminated subpattern"):
        faulty.search("")
