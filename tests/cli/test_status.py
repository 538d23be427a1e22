"""`certmedic status` prints the version, the mode, and whether messages reach people."""

import json
import re
import socket
from dataclasses import replace
from datetime import timedelta

import pytest

from certmedic import __version__
from certmedic.cli.incidents import matters
from certmedic.cli.service import tell_found
from certmedic.core.model import SourceDown
from certmedic.edge.actor import ABSENT, VARIABLE
from labs import commandline, pki
from labs.played import REFUSED
from labs.values import DAY, NOW, facts, member, stored


@pytest.mark.parametrize(
    ("config", "channel"),
    [
        ("", "none is configured: set notify.apprise"),
        (
            '[notify]\napprise = ["json://example.org/"]\n',
            "configured; no message was needed yet; sudo certmedic test-notify tries it",
        ),
    ],
)
def test_status_prints_the_mode_and_whether_a_channel_is_configured(lab, config, channel):
    done = commandline.run(lab(), "status", config=f'mode = "observe"\n{config}')

    assert (
        done.output.splitlines()[0]
        == f"certmedic    {__version__}, mode observe, NOT RUNNING: sudo systemctl start certmedic"
    )
    assert [line for line in done.output.splitlines() if line.startswith("channel")] == [f"channel      {channel}"]
    assert done.exit_code == 3


def test_status_as_json_has_version_mode_and_open_incidents(lab):
    answer = json.loads(commandline.run(lab(), "status", "--json").stdout)

    assert (answer["version"], answer["mode"], answer["open"]) == (__version__, "notify", [])


@pytest.mark.parametrize("words", [("status",), ("incidents",), ("show", "1"), ("certs",)])
def test_json_of_commands_that_look_names_the_cluster(lab, words):
    lab = lab()
    lab.suffer(5)
    answer = json.loads(commandline.run(lab, *words, "--json", config='cluster = "prod"\n').stdout)

    assert answer["cluster"] == "prod"


@pytest.mark.parametrize("words", [("status",), ("incidents",), ("show", "1"), ("certs",), ("silence", "list")])
def test_commands_that_only_read_accept_a_broken_configuration(lab, words):
    lab = lab()
    lab.suffer(5)
    done = commandline.run(lab, *words, config='mode = "fix"\n[certificates]\nplanes = ["kops"]\nwarn_dayz = [1]\n')

    assert done.exit_code == (3 if words == ("status",) else 0)  # the service does not run
    assert "mode: found 'fix'; allowed: \"observe\"" in done.output
    assert "certificates.warn_dayz: no such key" in done.output
    assert "warning: the configuration has faults; its good values are used\n" in done.output


@pytest.mark.parametrize("words", [("approve", "1"), ("reset",), ("backfill", "--since", "1h"), ("check-config",)])
def test_commands_that_use_the_configuration_refuse_a_broken_one(lab, words):
    lab = lab()
    lab.suffer(5)
    done = commandline.run(lab, *words, config='mode = "fix"\n')

    assert done.exit_code == 2
    assert "certmedic: " in done.output


def test_status_counts_delivery_attempts(lab):
    lab = lab(mode="notify", dead={"good"})
    lab.suffer(5)
    once = commandline.run(lab, "status").output
    lab.step(seconds=400)
    lab.step(seconds=400)
    more = commandline.run(lab, "status").output

    assert "json://good: 1 waiting after 1 attempt: refused; no delivery yet" in once
    assert " attempts: refused" in more
    assert "json://other: last delivery " in once


@pytest.mark.parametrize("mode", ["approve", "remedy"])
def test_status_and_check_config_say_that_nothing_can_act_without_the_actor(lab, monkeypatch, mode):
    monkeypatch.setenv(VARIABLE, "/nowhere/certmedic-actor")
    config = f'mode = "{mode}"\n'
    lab = lab()
    idle = commandline.run(lab, "status", config=config)
    answer = json.loads(commandline.run(lab, "status", "--json", config=config).stdout)
    checked = commandline.run(lab, "check-config", config=config)

    assert f"{ABSENT}; install the package certmedic-actor" in idle.output
    assert (answer["acts"], answer["actor"]) == (False, False)
    assert answer["acts_not"] == f"{ABSENT}; install the package certmedic-actor"
    assert f'mode is "{mode}", but {ABSENT}: install the package certmedic-actor' in checked.output
    assert checked.exit_code == 0


@pytest.mark.parametrize("mode", ["observe", "notify"])
def test_check_config_asks_for_no_actor_where_nothing_is_to_act(lab, monkeypatch, mode):
    monkeypatch.setenv(VARIABLE, "/nowhere/certmedic-actor")

    assert ABSENT not in commandline.run(lab(), "check-config", config=f'mode = "{mode}"\n').output


def test_status_and_check_config_do_not_miss_an_actor_that_is_there(lab, monkeypatch, tmp_path):
    lab = lab()
    with socket.socket(socket.AF_UNIX) as actor:
        actor.bind(str(tmp_path / "a"))
        monkeypatch.setenv(VARIABLE, str(tmp_path / "a"))
        answer = json.loads(commandline.run(lab, "status", "--json", config='mode = "remedy"\n').stdout)
        checked = commandline.run(lab, "check-config", config='mode = "remedy"\n')

    assert (answer["acts"], answer["actor"], answer["acts_not"]) == (True, True, None)
    assert ABSENT not in checked.output


def test_status_shows_which_alertmanager_takes_no_alerts(lab):
    lab = lab()
    with lab.store.transaction():
        lab.store.received("am-1:9093", "HTTP 503", now=lab.now)
        lab.store.received("am-2:9093", "", now=lab.now)
        lab.store.received("gone:9093", "HTTP 503", now=lab.now)
    config = '[notify]\nalertmanager = ["http://u:s3cret@am-1:9093", "http://am-2:9093/x"]\n'
    output = commandline.run(lab, "status", config=config).output
    assert re.search(r"^alertmanager am-1:9093: fails for .+: HTTP 503$", output, re.MULTILINE)
    assert re.search(r"^alertmanager am-2:9093: takes alerts$", output, re.MULTILINE)
    assert "gone:9093" not in output
    assert "none is configured" not in output
    listed = json.loads(commandline.run(lab, "status", "--json", config=config).stdout)["alertmanagers"]
    assert [(row["instance"], row["error"]) for row in listed] == [("am-1:9093", "HTTP 503"), ("am-2:9093", "")]


def test_status_shows_the_gravest_incident_first(lab):
    lab = lab(member(peer_ends=NOW + timedelta(minutes=1), server_ends=NOW + 5 * DAY), mode="notify")
    lab.go(90)
    shown = re.findall(r"^incident (\d+)\s+(\w+)", commandline.run(lab, "status").output, re.MULTILINE)

    assert [word for _, word in shown] == ["CRITICAL", "WARNING"]


def test_show_has_closed_gates_first(lab):
    lab = lab(mode="notify")
    lab.suffer(5)
    gates = re.findall(r"^  (pass|BLOCKED) ", commandline.run(lab, "show", "1").output, re.MULTILINE)

    assert gates[0] == "BLOCKED"
    assert gates == sorted(gates)


def test_incidents_are_listed_with_their_severity_as_a_word(lab):
    lab = lab(mode="notify")
    lab.suffer(5)
    heads, row, *_ = commandline.run(lab, "incidents").output.splitlines()

    assert heads.split()[:4] == ["ID", "STATE", "SEVERITY", "CAUSE"]
    assert row.split()[:4] == ["1", "open", "critical", "expired"]


def test_gravest_open_incident_is_listed_first(lab):
    lab = lab(mode="notify")
    lab.suffer(5)
    lab.loop.step([SourceDown(source="journal", reason="it is gone")], lab.now)
    for _ in range(4):
        lab.step(REFUSED, seconds=60)
    (incident,) = [each for each in lab.incidents() if each.severity == "critical"]
    over, later = replace(incident, id=9, state="resolved"), replace(incident, id=8)
    assert sorted([over, incident, later], key=matters) == [later, incident, over]
    shown = commandline.run(lab, "incidents").output
    assert shown.index("critical") < shown.index("warning")


def test_old_copy_of_a_ca_that_was_signed_again_is_not_counted_as_expired(capsys):
    old = pki.authority("etcd-peers-ca-main", not_before=NOW - 400 * DAY, not_after=NOW - DAY)
    new = pki.authority("etcd-peers-ca-main", not_before=NOW - DAY, key=old.key)
    tell_found(facts(tuple(stored(ca, "/ca.crt", "ca", index=n) for n, ca in enumerate((old, new)))), NOW)
    tell_found(facts((stored(old, "/ca.crt", "ca"),)), NOW)
    assert capsys.readouterr().out.splitlines()[::2] == [
        "found        1 certificate",
        "found        1 certificate, 1 expired",
    ]
