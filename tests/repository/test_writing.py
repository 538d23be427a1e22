"""The ban list of our English: each file may only get better, and a new file starts with none."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import tomllib
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ALLOWED = ROOT / "tests" / "data" / "writing.toml"
LONGEST_TEST_NAME = 80
PHRASES = re.compile(
    r"\b(?:anew|of (?:its|their|his) own|such a one|of late|by and by|(?:to|for|as) who)\b|(?:^|[.:] )What (?!if\b)\w+[^?]*\.",
    re.IGNORECASE,
)
NAMES = frozenset({"told", "said", "found", "one"})


def phrases(source: str) -> int:
    """Count banned phrases in comments, docstrings and other strings."""
    texts = [
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    texts += [token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT]
    return sum(len(PHRASES.findall(" ".join(text.split()))) for text in texts)


def names(source: str) -> int:
    """Count bindings of a banned name, and names of tests that are too long."""
    count = 0
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name):
            count += isinstance(node.ctx, ast.Store) and node.id in NAMES
        elif isinstance(node, ast.arg):
            count += node.arg in NAMES
        elif isinstance(node, ast.FunctionDef):
            count += node.name.startswith("test_") and len(node.name) > LONGEST_TEST_NAME
    return count


def counts() -> dict[str, int]:
    files = [*(ROOT / "agent").rglob("*.py"), *(ROOT / "tests").rglob("test_*.py")]
    sources = {str(path.relative_to(ROOT)): path.read_text() for path in files if path != Path(__file__)}
    return {name: count for name, source in sorted(sources.items()) if (count := phrases(source) + names(source))}


def worse(now: dict[str, int], allowed: dict[str, int]) -> dict[str, int]:
    """Return by how much each file exceeds its allowance."""
    return dict(Counter(now) - Counter(allowed))


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ('"""It is issued anew, and has a key of its own."""', 2),
        ("# Served to who sends no SNI, by and by.", 2),
        ('"""What was read is kept."""', 1),
        ("# What if the clock is wrong?", 0),
        ("x = 'renewed, anew'", 1),
        ('"""Renewed for clients that send no SNI; each has one."""', 0),
    ],
)
def test_phrases_are_counted(source, count):
    assert phrases(source) == count


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("told = 1", 1),
        ("def f(said): return said", 1),
        ("for one, two in x: pass", 1),
        ("if (found := 1): pass", 1),
        ("reply = x.found", 0),
        (f"def test_{'a' * 75}(): pass", 0),
        (f"def test_{'a' * 76}(): pass", 1),
    ],
)
def test_names_are_counted(source, count):
    assert names(source) == count


def test_file_without_an_allowance_may_have_none():
    assert worse({"new.py": 1, "old.py": 2, "better.py": 1}, {"old.py": 2, "better.py": 3}) == {"new.py": 1}


@pytest.mark.slow
def test_no_file_gets_worse():
    assert worse(counts(), tomllib.loads(ALLOWED.read_text())) == {}


if __name__ == "__main__":  # after a file got better: write the lower counts down
    allowed = tomllib.loads(ALLOWED.read_text()) if ALLOWED.exists() else counts()
    lower = {name: min(count, allowed.get(name, 0)) for name, count in counts().items()}
    ALLOWED.write_text("".join(f'"{name}" = {count}\n' for name, count in sorted(lower.items()) if count))
