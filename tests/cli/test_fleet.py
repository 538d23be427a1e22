"""`certmedic fleet` asks what is there already, and shows all clusters on a terminal, as JSON and as a page."""

import json
import re
import sys
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from certmedic.cli import main, output
from certmedic.cli.fleet import bars, names, tell
from certmedic.core.fleet import view
from labs.answers import answering, reply
from labs.fleets import made
from labs.receivers import free_port

LABELS = {
    "alertname": "CertmedicExpired",
    "cluster": "eu-1",
    "instance": "master-b",
    "group": "main",
    "cause": "expired",
    "suspect": "own",
    "severity": "critical",
}
ALERTS = [{"labels": LABELS, "annotations": {"summary": "a\x1b[2J<b>"}, "startsAt": "2026-01-01T00:00:00Z"}]


def fleet(*words):
    return CliRunner().invoke(main, ["fleet", *words])


def series(labels, value="1"):
    return reply({"status": "success", "data": {"result": [{"metric": labels, "value": [0, value]}]}})


def test_fleet_without_a_source_says_what_to_give_it():
    done = fleet()
    assert done.exit_code == 2
    assert "give --prometheus URL, --alertmanager URL or --journal DIR" in done.output


def test_fleet_is_a_table_for_people():
    with answering(reply(ALERTS)) as there:
        done = fleet("--alertmanager", there.url)

    assert done.exit_code == 0
    assert re.search(r"^1 cluster, 1 master: 1 open incident\n20", done.output)
    assert re.search(
        r"^critical +eu-1 +master-b: etcd main +certificate expired +\d+ days +master-b$", done.output, re.MULTILINE
    )
    assert re.search(r"^critical  eu-1 +1 +master-b +-$", done.output, re.MULTILINE)


@pytest.mark.parametrize(("masters", "text"), [(("a",), "a"), (("a", "b", "c"), "a +2")])
def test_reporters_are_the_first_and_a_number(masters, text):
    assert names(masters) == text


def test_fleet_without_incidents_says_so():
    with answering(reply([])) as there:
        assert "No open incident." in fleet("--alertmanager", there.url).output


def test_every_query_of_prometheus_may_give_the_same_series():
    labels = {"cluster": "eu-1", "host": "a", "instance": "a:1", "filepath": "/a.crt", "state": "verified"}
    with answering(series(labels)) as there:
        output = fleet("--prometheus", there.url).output

    assert "EXPIRES" not in output  # the file is said to be out of use
    assert "SILENT FOR MORE THAN AN HOUR" in output
    assert "verified" in output


def test_json_is_exact():
    with answering(reply(ALERTS)) as there:
        answer = json.loads(fleet("--json", "--alertmanager", there.url).stdout)

    assert answer["schema"] == 1
    assert answer["errors"] == []
    assert answer["incidents"] == [
        {
            "cluster": "eu-1",
            "culprit": "master-b",
            "cause": "expired",
            "severity": "critical",
            "plane": "",
            "group": "main",
            "since": "2026-01-01T00:00:00Z",
            "reporters": ["master-b"],
            "text": "a\x1b[2J<b>",
            "command": "",
        }
    ]
    assert answer["clusters"] == [
        {
            "name": "eu-1",
            "state": "critical",
            "incidents": 1,
            "next_expiry": None,
            "masters": [{"name": "master-b", "version": None, "mode": None, "last_heard": None, "silent": False}],
        }
    ]
    assert (answer["expiries"], answer["cures"]) == ([], [])


def test_html_is_a_page():
    with answering(reply(ALERTS)) as there:
        done = fleet("--html", "--alertmanager", there.url)

    assert done.exit_code == 0
    assert done.stdout.startswith("<!DOCTYPE html>\n")
    assert "a[2J&lt;b&gt;" in done.stdout


def test_json_and_html_exclude_each_other():
    assert fleet("--json", "--html", "--alertmanager", "http://a").exit_code == 2


def test_source_that_fails_is_named_and_the_other_is_shown():
    dead = f"http://127.0.0.1:{free_port()}"
    with answering(reply(ALERTS)) as there:
        done = fleet("--alertmanager", there.url, "--prometheus", dead)

    assert done.exit_code == 1
    assert "1 open incident" in done.stdout
    assert f"certmedic: {dead}: cannot be reached" in done.output


def test_fleet_fails_if_no_source_can_be_read():
    urls = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
    done = fleet("--alertmanager", urls[0], "--prometheus", urls[1])

    assert done.exit_code == 1
    assert "cluster" not in done.output
    assert all(url in done.output for url in urls)


def test_journals_need_a_library_that_a_laptop_may_lack(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "systemd", None)
    done = fleet("--journal", str(tmp_path))
    assert done.exit_code == 1
    assert "needs python-systemd" in done.output


@pytest.mark.parametrize(
    ("alone", "number", "longest", "bar"),
    [(0, 1, 100, "="), (1, 1, 100, "#"), (5, 10, 10, "#####====="), (1, 10, 10, "#========="), (10, 10, 10, "#" * 10)],
)
def test_bar_shows_what_nothing_renews_first(alone, number, longest, bar):
    assert bars(alone, number, longest, 10) == bar


def test_narrow_terminal_breaks_no_name_of_a_cluster(monkeypatch, capsys):
    now = datetime(2026, 11, 29, tzinfo=UTC)
    monkeypatch.setattr(output, "columns", lambda: 80)
    tell(view(made(20, now), now))
    lines = capsys.readouterr().out.splitlines()
    names = {line.split()[1] for line in lines[lines.index("CLUSTERS") :] if "prod-" in line}

    assert max(map(len, lines)) <= 80
    assert len(names) == 20
    assert all(name.endswith(".example.org") for name in names)
    assert any("  3, master-c SILENT  in " in line for line in lines)
    assert "    since 20 hours, reported by master-b +2" in lines
