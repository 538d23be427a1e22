"""The developers' documents hold every fact that the code cites, and the code cites no document outside."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from labs import ROOT

AGENT = ROOT / "agent"
CITED = re.compile(r"\bFIELD (\d+(?:\.\d+)?)((?:, \d+\.\d+)*)")
HEADINGS = frozenset(re.findall(r"^#{2,3} (\d+(?:\.\d+)?)\.? ", (AGENT / "FIELD.md").read_text(), re.MULTILINE))


def citations(text: str) -> list[str]:
    """Return the section numbers of `FIELD 2.4, 3.3`."""
    return [number for first, more in CITED.findall(text) for number in (first, *re.findall(r"\d+\.\d+", more))]


def sources() -> list[Path]:
    folders = (AGENT / "certmedic", ROOT / "tests")
    return [
        path
        for folder in folders
        for end in ("*.py", "*.toml")
        for path in sorted(folder.rglob(end))
        if path != Path(__file__)
    ]


def test_citations_are_read_one_by_one():
    assert citations("so (FIELD 2.4, 3.3), and FIELD 6.") == ["2.4", "3.3", "6"]


def test_every_cited_fact_is_in_the_repository():
    cited = {(path.name, number) for path in sources() for number in citations(path.read_text())}
    assert cited
    assert [(name, number) for name, number in sorted(cited) if number not in HEADINGS] == []


@pytest.mark.parametrize("document", ["DESIGN", "HOLDERS", "FLEET", "STORIES", "THREATS", "NEWCOMER", "REVIEW"])
def test_no_document_outside_the_repository_is_cited(document):
    cited = re.compile(rf"\b{document}(?:\.md\b|,? \d|, words)")
    assert [str(path) for path in sources() if cited.search(path.read_text())] == []
