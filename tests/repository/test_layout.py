"""The tests mirror the code, so that `./dev quick` finds the test of a module by its path."""

from __future__ import annotations

from pathlib import Path

import pytest

from labs import AGENT, ROOT

CODE, TESTS = AGENT / "certmedic", ROOT / "tests"
MIRRORS = ("actor", "cli", "config", "core", "edge", "reader")
NO_CODE = {"__init__.py", "entries.py", "place.py", "vocabulary.py"}
MODULES = [path for path in sorted((CODE / "core").rglob("*.py")) if path.name not in NO_CODE]


def has_test(module: Path) -> bool:
    """Return whether a test has the module's name, or a folder of tests has the name of the module's package."""
    place = module.relative_to(CODE)
    folder = TESTS / place.parent
    return (folder / f"test_{place.name}").exists() or (place.parent != Path("core") and folder.is_dir())


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(CODE)))
def test_every_module_of_the_core_has_a_test(module):
    assert has_test(module)


@pytest.mark.parametrize("mirror", MIRRORS)
def test_every_folder_of_tests_mirrors_a_package(mirror):
    folders = [path.relative_to(TESTS) for path in (TESTS / mirror).rglob("*") if path.is_dir()]
    assert [str(path) for path in folders if path.name != "__pycache__" and not (CODE / path).is_dir()] == []


@pytest.mark.parametrize("path", sorted((TESTS / "core").rglob("test_*.py")), ids=lambda path: path.stem)
def test_tests_of_the_core_import_only_the_core(path):
    lines = [
        line.split()
        for line in path.read_text().splitlines()
        if line.startswith(("from certmedic", "import certmedic"))
    ]
    imported = {words[1] for words in lines if words[1] != "certmedic.core"}
    assert [module for module in sorted(imported) if not module.startswith("certmedic.core.")] == []


def test_index_of_the_labs_names_each_module():
    index = (TESTS / "labs" / "README.md").read_text()
    assert [path.stem for path in sorted((TESTS / "labs").glob("[a-z]*.py")) if f"`{path.stem}`" not in index] == []
