"""One module prints, foreign text does not control the terminal, and a table fits every terminal."""

import io
import json
import re

import pytest

from certmedic.cli import output
from labs import ROOT

PRINTS = re.compile(
    r"\bclick\.(?:echo|secho)\(|(?<![\w.])print\(|sys\.std(?:out|err)\.write\(|^\s*(?:from|import) rich\b", re.MULTILINE
)
HEADS = ["FILE", "SUBJECT", "EXPIRES", "STATUS", "SERVED"]
ROWS = [
    [f"/mnt/master-vol-0{number}/pki/etcd/clients/server-{number}.crt", *cells]
    for number, cells in enumerate(
        (
            ("etcd-a", "2026-11-29 10:07", "expired", "10.0.0.1:2380, 10.0.0.1:4001, 127.0.0.1:4001"),
            ("a" * 64, "2027-11-29 10:07", "ok", ""),
            ("kube-apiserver-etcd-client", "2027-11-29 10:08", "ok", "10.0.0.1:2380"),
        )
    )
]


def test_only_one_module_of_the_commands_prints():
    folder = ROOT / "agent/certmedic/cli"
    printing = [path.name for path in sorted(folder.glob("*.py")) if PRINTS.search(path.read_text())]
    assert printing == ["output.py"]


@pytest.mark.parametrize(
    ("foreign", "shown"),
    [
        ("etcd-a", "etcd-a"),
        ("a\x1b[2J\x1b]0;x\x07b", "a\ufffd[2J\ufffd]0;x\ufffdb"),
        ("a\u202eb", "a\ufffdb"),
        ("a\x9b31mb", "a\ufffd31mb"),
        ("a\rb\tc\nd", "a\ufffdb c\nd"),
        ("\ud800", "\ufffd"),
        ("grün …", "grün …"),
    ],
)
def test_foreign_text_does_not_control_the_terminal(foreign, shown, capsys):
    assert output.harmless(foreign) == shown
    output.say(foreign)
    output.write(foreign)
    output.table(["A"], [[foreign.replace("\n", "")]])
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\x9b" not in out
    assert "\u202e" not in out


@pytest.mark.parametrize(
    ("foreign", "written"),
    [
        ("grün … 日本語 😀", "grün … 日本語 😀"),
        ("a\x1b[2J\n\t", "a\\u001b[2J\\n\\t"),
        ("a\x7f\x85\x9b31m", "a\\u007f\\u0085\\u009b31m"),
        ("\u061c\u200e\u200f", "\\u061c\\u200e\\u200f"),
        ("\u202a\u202e\u2066\u2069", "\\u202a\\u202e\\u2066\\u2069"),
        ("\u2028\u2029\ufeff\u200b", "\\u2028\\u2029\\ufeff\\u200b"),
        ("\U000e0001", "\\udb40\\udc01"),
        ("\ud800", "\\ud800"),
    ],
)
def test_json_escapes_control_and_bidirectional_characters(foreign, written, capsys):
    output.as_json(subject=foreign)
    output.json_line(foreign)
    whole, line = capsys.readouterr().out.rsplit("\n", 2)[:2]

    assert whole == f'{{\n  "schema": 1,\n  "subject": "{written}"\n}}'
    assert line == f'"{written}"'
    assert json.loads(whole)["subject"] == json.loads(line) == foreign


@pytest.mark.parametrize("columns", [1, 20, 60, 70, 80, 100, 110, 116, 300])
def test_table_keeps_each_path_below_its_row(columns, monkeypatch, capsys):
    monkeypatch.setattr(output, "columns", lambda: columns)
    output.table(HEADS, ROWS, stacked=["FILE"])
    lines = capsys.readouterr().out.splitlines()

    paths = [row[0] for row in ROWS]
    if columns == 300:
        assert [line.split()[0] for line in lines[1:]] == paths
        return
    places = [lines.index(f"  {path}") for path in paths]
    assert places == sorted(places)
    assert places[-1] == len(lines) - 1
    if columns >= 60:
        assert [row[3] in lines[start + 1].split() for row, start in zip(ROWS, [0, *places], strict=False)] == [
            True
        ] * 3
        assert max(len(line) for line in lines if line.strip() not in paths) <= columns


def test_table_loses_no_cell_on_a_narrow_terminal(monkeypatch, capsys):
    monkeypatch.setattr(output, "columns", lambda: 60)
    output.table(["A", "B"], [["x" * 100, "2026-11-29 10:07"]])
    text = capsys.readouterr().out

    assert text.count("x") == 100
    assert "2026-11-29 10:07" in text


def test_table_cuts_the_named_column_first(monkeypatch, capsys):
    monkeypatch.setattr(output, "columns", lambda: 60)
    output.table(HEADS[:3], [row[:3] for row in ROWS[::2]], cuts="FILE")
    lines = capsys.readouterr().out.splitlines()

    assert len(lines) == 3
    assert [line.split()[0][-12:] for line in lines[1:]] == ["server-0.crt"[-12:], "server-2.crt"[-12:]]
    assert all(line.startswith("…") and len(line) <= 60 for line in lines[1:])


def test_table_prints_each_row_on_one_line_without_a_terminal(capsys):
    output.table(HEADS, ROWS, stacked=["FILE"])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == [row[0] for row in ROWS]


@pytest.mark.parametrize(
    ("share", "cells"), [(0.0, 0), (0.001, 1), (0.1, 1), (0.11, 2), (0.5, 5), (0.99, 10), (1.0, 10)]
)
def test_bar_is_empty_only_if_nothing_is_left(share, cells, monkeypatch):
    monkeypatch.setattr(output.sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    assert output.bar(share) == "\u2588" * cells + "\u2591" * (10 - cells)
    monkeypatch.setattr(output.sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="latin-1"))
    assert output.bar(share) == "#" * cells + "." * (10 - cells)


def test_stacked_table_cuts_the_named_column_too(monkeypatch, capsys):
    monkeypatch.setattr(output, "columns", lambda: 40)
    rows = [["/a/long/path/of/a/certificate.crt", "kube-apiserver-etcd-client", "2026-12-08 14:54"]]
    output.table(["FILE", "SUBJECT", "EXPIRES"], rows, stacked=["FILE"], cuts="SUBJECT")
    _, row, path = capsys.readouterr().out.splitlines()
    assert row.split("  ") == ["kube-apiserver-etcd-c\u2026", "2026-12-08 14:54"]
    assert path == f"  {rows[0][0]}"


def test_stacked_table_has_further_cells_below_each_path(monkeypatch, capsys):
    monkeypatch.setattr(output, "columns", lambda: 60)
    output.table(HEADS, ROWS, stacked=["FILE", "SERVED"])
    lines = capsys.readouterr().out.splitlines()

    assert lines[0].split() == ["SUBJECT", "EXPIRES", "STATUS"]
    assert f"    served {ROWS[0][-1]}" in lines
    assert [line.strip() for line in lines if line.startswith("  /")] == [row[0] for row in ROWS]
    assert sum("served" in line for line in lines) == 2  # nothing serves the other one


@pytest.mark.parametrize(
    ("head", "text", "shown"),
    [
        ("  2026-11-29 21:31:02  opened    ", "expired: /a/path/of/40/characters/to/a/cert.crt: so", 33),
        ("  head  ", "expired: /a/path/of/40/characters/to/a/cert.crt: so", 8),
        ("  2026-11-29 21:31:02  opened    ", f"expired: /{'x' * 70}", 33),
    ],
)
def test_path_that_has_no_room_beside_its_head_begins_near_the_left_edge(head, text, shown, monkeypatch, capsys):
    monkeypatch.setattr(output, "columns", lambda: 60)
    output.item(head, text)
    lines = capsys.readouterr().out.splitlines()

    if "/a/path" in text and len(head) > 20:
        assert lines == [head.rstrip(), "    expired: /a/path/of/40/characters/to/a/cert.crt: so"]
    else:
        assert lines[0].startswith(f"{head}expired:")
        assert all(line.startswith(" " * shown) for line in lines[1:])
