"""Signs of life without messages: heartbeat, watchdog, metrics, terminals and the login line."""

import contextlib
import json
import math
import os
import re
import socket
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.request import urlopen

import pytest

from certmedic import __version__
from certmedic.config import Config, load
from certmedic.edge import heartbeat, local
from certmedic.edge import service as systemd
from certmedic.pulse import LOGIN_EVERY, Pulse
from labs import receivers
from labs.played import REFUSED, REFUSING, sick
from labs.values import DAY, NOW, PEERS_CA, VOLUME, member, stored
from labs.waiting import until

SECRET = "S3cr3tT0kenThatNobodyMaySee"


def test_wall_login_line_metrics_and_heartbeat_work_without_a_channel(service, hook, tmp_path):
    run, programs = tmp_path / "run", tmp_path / "bin"
    run.mkdir()
    programs.mkdir()
    (programs / "wall").write_text(f"#!/bin/sh\ncat >>{tmp_path}/terminals\n")
    (programs / "wall").chmod(0o755)
    numbers = tmp_path / "certmedic.prom"
    service = service(
        f"json://127.0.0.1:{receivers.free_port()}/",
        notify=f'heartbeat = "http://127.0.0.1:{hook.port}/ping"',
        more=f'[metrics]\ntextfile = "{numbers}"',
        environ={"RUNTIME_DIRECTORY": str(run), "PATH": f"{programs}:{os.environ['PATH']}"},
    )
    service.certificate()
    service.start()
    until(lambda: (tmp_path / "terminals").exists() and (run / "motd").exists() and numbers.exists() and hook.requests)
    host = socket.gethostname()

    assert (run / "motd").read_text().startswith("certmedic: etcd-a: certificate expired: ")
    assert (run / "motd").read_text().endswith("(sudo certmedic show 1)\n")
    assert [path.stat().st_mode & 0o777 for path in (run / "motd", numbers)] == [0o644, 0o644]
    text = numbers.read_text()
    assert re.search(r'^certmedic_incidents_open\{cause="expired",.*severity="critical".*\} 1.0$', text, re.MULTILINE)
    (path, _, body) = hook.requests[0]
    assert (path, body.decode()) == ("/ping", f"{host}: 1 certificate, 1 expired")
    until(lambda: "every terminal: delivered" in service.ask("show", "1"))
    assert re.search(r"^outbox +1 waiting, the oldest for \d+ (second|minute)s?$", service.ask("status"), re.MULTILINE)
    outbox = json.loads(service.ask("status", "--json"))["outbox"]
    age = datetime.now(UTC) - datetime.fromisoformat(outbox["oldest"])
    assert outbox["pending"] == 1
    assert 0 <= outbox["age_seconds"] <= age.total_seconds()
    service.kill()
    service.start()
    service.certificate(DAY * 300)
    until(lambda: not (run / "motd").exists())
    shown = (tmp_path / "terminals").read_text()
    assert shown.count(host) == 1  # "opened" and not "resolved"
    assert shown.endswith("More: sudo certmedic show 1\n")


@pytest.mark.parametrize("url", [f"ftp://{SECRET}/", f"{SECRET}", "http:///x"])
def test_invalid_heartbeat_url_is_refused_without_printing_it(tmp_path, url):
    path = tmp_path / "c.toml"
    path.write_text(f'[notify]\nheartbeat = "{url}"')
    path.chmod(0o640)
    with pytest.raises(Exception, match="heartbeat: allowed: an http") as caught:
        load(path)
    assert SECRET not in str(caught.value)
    path.write_text(f'[notify]\nheartbeat = "https://hc.example/{SECRET}"')
    path.chmod(0o644)
    with pytest.raises(Exception, match=r"notify\.heartbeat: a URL is a secret.*chmod 0640"):
        load(path)


@pytest.fixture
def pulse(lab, hook, tmp_path, monkeypatch):
    """Return a lab with a heartbeat to `hook`; `lab.turns` makes turns at the given ticks."""
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    config = tmp_path / "c.toml"
    config.write_text(f'[notify]\nheartbeat = "http://127.0.0.1:{hook.port}/{SECRET}"\nheartbeat_every = "5m"\n')
    config.chmod(0o640)
    lab = lab(member(), mode="notify")
    lab.pulse = Pulse(config=load(config), store=lab.store, world=lab.loop.world, required={"journal"})
    lab.step()

    def turns(*ticks):
        for tick in ticks:
            lab.pulse.turn(lab.loop, lab.now, tick)
            thread = lab.pulse.heartbeat._thread
            if thread is not None:
                thread.join(30)

    lab.turns = turns
    return lab


def test_heartbeat_comes_at_its_interval_with_the_next_expiry(pulse, hook):
    pulse.turns(0, 1, 299, 300, 301, 600)
    assert len(hook.requests) == 3
    assert hook.requests[0][2].decode() == (
        f"master-a: 4 certificates; next expiry 2027-09-20 15:40:00 UTC: {VOLUME}/peers/me.crt"
    )


def test_pause_ends_with_the_next_sign_that_is_due(pulse):
    assert pulse.pulse.pause(0.0) == math.inf  # before the first turn
    pulse.turns(0)
    assert pulse.pulse.pause(10.0) == 290.0
    pulse.pulse.login = Path("/nonexistent/motd")
    pulse.turns(20)
    assert pulse.pulse.pause(21.0) == 9.0
    pulse.loop.readers.blind["journal"] = "gone"
    pulse.turns(300)
    assert pulse.pulse.pause(301.0) == 9.0  # no heartbeat is sent, so that nobody waits for one


def test_no_heartbeat_is_sent_while_a_required_source_is_blind(pulse, hook):
    pulse.loop.readers.blind["journal"] = "gone"
    pulse.turns(0, 300, 600)
    assert hook.requests == []
    pulse.loop.readers.blind = {"docker": "gone"}  # docker is not required
    pulse.turns(601)
    assert len(hook.requests) == 1


def test_heartbeat_failures_are_counted_and_only_the_first_is_logged(pulse, hook):
    hook.mood = "500"
    pulse.turns(0, 300, 600, 900)
    hook.mood = "ok"
    pulse.turns(1200, 1201)
    events = [(f["CERTMEDIC_EVENT"], f.get("CERTMEDIC_REASON")) for f in pulse.world.journal]
    assert [event for event in events if event[0].startswith("heartbeat")] == [
        ("heartbeat-lost", "HTTP 500"),
        ("heartbeat-back", None),
    ]
    assert pulse.pulse.heartbeat.failures == 4
    assert SECRET not in str(pulse.world.journal) + repr(pulse.pulse.heartbeat)


def test_heartbeat_to_a_slow_receiver_blocks_nothing_and_is_not_repeated(hook):
    hook.mood = "drip"
    beat = heartbeat.Heartbeat(f"http://127.0.0.1:{hook.port}/")
    before = datetime.now(UTC)
    for _ in range(5):
        beat.beat("x")
    assert datetime.now(UTC) - before < timedelta(seconds=5)
    assert {beat.result() for _ in range(4)} == {"no answer in time"}
    until(lambda: hook.requests)
    assert len(hook.requests) == 1


def test_heartbeat_uses_get_if_the_receiver_refuses_post(hook):
    handler = hook.server.RequestHandlerClass
    handler.do_GET = handler.do_POST
    answer = hook.answer

    def only_get(request):
        hook.mood = "405" if request.command == "POST" else "ok"
        answer(request)

    hook.answer = only_get
    beat, results = heartbeat.Heartbeat(f"http://127.0.0.1:{hook.port}/"), []
    beat.beat("x")
    until(lambda: results.append(beat.result()) or results[-1] is not None)
    assert results[-1] == ""
    assert len(hook.requests) == 2


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no-such-name.invalid"])
def test_reason_of_a_failed_heartbeat_contains_no_address(address):
    beat, results = heartbeat.Heartbeat(f"http://{address}/{SECRET}"), []
    beat.beat("x")
    until(lambda: results.append(beat.result()) or results[-1] is not None)
    assert results[-1]
    assert SECRET not in results[-1]
    assert address not in results[-1]


def test_watchdog_is_fed_at_its_interval_while_required_sources_are_read(pulse, monkeypatch):
    fed, here = [], threading.get_ident()  # a server of an earlier test may feed it from its thread, too
    monkeypatch.setattr(systemd, "watchdog", lambda: fed.append(threading.get_ident()))
    monkeypatch.setenv("WATCHDOG_USEC", "20000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))

    for tick in range(200):
        pulse.pulse.turn(pulse.loop, pulse.now, tick / 10)
    assert fed.count(here) == 4
    pulse.loop.readers.blind["journal"] = "gone"
    pulse.turns(30, 40, 50)
    assert fed.count(here) == 4


def pulse_of(lab, textfile=None):
    config = replace(Config(), metrics=replace(Config().metrics, textfile=textfile))
    return Pulse(config=config, store=lab.store, world=lab.loop.world, required=())


def test_metrics_are_written_without_configuration_and_also_to_the_textfile(lab, tmp_path, monkeypatch):
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))
    (tmp_path / "run").mkdir()
    lab = lab(mode="notify", dead={"good", "other"})
    for _ in range(10):
        lab.step(REFUSED)
    lab.step(seconds=50)
    pulse = pulse_of(lab, tmp_path / "c.prom")
    pulse.turn(lab.loop, lab.now, 0.0)
    text = (tmp_path / "run" / "metrics.prom").read_text()
    assert (tmp_path / "c.prom").read_text() == text
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "c.prom", tmp_path / "run" / "metrics.prom")] == [
        0o644
    ] * 2
    seen = lab.loop.inventory.stored[0].certificate
    labels = (
        f'filename="me.crt",filepath="{sick()[0].certificate.path}",issuer_CN="etcd-peers-ca-main"'
        f',serial_number="{int(seen.serial, 16)}",subject_CN="etcd-a"'
    )
    for sample in (
        f"x509_cert_not_after{{{labels}}} {seen.not_after.timestamp()}",
        f"x509_cert_not_before{{{labels}}} {seen.not_before.timestamp()}",
        f"x509_cert_expired{{{labels}}} 1.0",
        f"x509_cert_error{{{labels}}} 0.0",
        "certmedic_sightings_total 10.0",
        'certmedic_incidents_open{cause="expired",severity="critical",suspect="own",plane="kops",group="main"} 1.0',
        'certmedic_gate_closed{gate="mode"} 1.0',
        "certmedic_outbox_waiting 2.0",
        'certmedic_acts{state="verified"} 0.0',
        'certmedic_info{host="master-a",mode="notify",version="' + __version__ + '"} 1.0',
    ):
        assert any(float_alike(sample, line) for line in text.splitlines()), (sample, text)
    assert float(re.search(r"^certmedic_outbox_oldest_seconds (.*)$", text, re.MULTILINE)[1]) > 50


def float_alike(wanted, sample):
    """Return whether two samples are equal, in any notation of their numbers."""
    (a, x), (b, y) = wanted.rsplit(" ", 1), sample.rsplit(" ", 1)
    with contextlib.suppress(ValueError):
        return sorted(re.split(r"[{},]", a)) == sorted(re.split(r"[{},]", b)) and float(x) == float(y)
    return False


def test_unwritable_metrics_folder_is_logged_once_and_hides_no_other_file(lab, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    lab = lab(member(), mode="notify")
    lab.step()
    pulse = pulse_of(lab, tmp_path / "none" / "c.prom")
    for tick in (0.0, 60.0, 120.0):
        pulse.turn(lab.loop, lab.now, tick)
    cure = ": make the folder, and give it to the group certmedic"
    assert [r.getMessage() for r in caplog.records] == [
        f"the metrics in {tmp_path}/none/c.prom: cannot be written: [Errno 2] No such file or directory: 'none'{cure}"
    ]
    assert (tmp_path / "metrics.prom").exists()


def listening(process):
    """Return the ports on which a process listens, of any family."""
    held = set()
    for link in Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            held.add(str(link.readlink()))
    ports = []
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/{process.pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] in ("0A", "07") and f"socket:[{fields[9]}]" in held:
                ports.append((table, int(fields[1].rpartition(":")[2], 16)))
    return ports


def test_agent_listens_on_nothing_unless_metrics_are_to_be_shown(service, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    agent = service(environ={"RUNTIME_DIRECTORY": str(run)})
    agent.certificate(DAY)
    agent.start()
    until((run / "metrics.prom").exists)
    assert listening(agent.process) == []
    agent.kill()
    port = receivers.free_port()
    agent.more = f"[metrics]\nlisten = {port}\n"
    agent.configure()
    agent.start()
    shown = []

    def asked():
        with contextlib.suppress(OSError), urlopen(f"http://127.0.0.1:{port}/metrics") as reply:
            shown.append(reply.read().decode())
        return shown

    until(asked)
    assert "\ncertmedic_info{" in shown[0]
    assert listening(agent.process) == [("tcp", port)]


def test_wall_returns_the_reason_of_its_failure(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert local.wall("x") == "wall: No such file or directory"
    monkeypatch.setattr(local, "DEADLINE", 0.2)
    (tmp_path / "wall").write_text("#!/bin/sh\nexec /bin/sleep 30\n")
    (tmp_path / "wall").chmod(0o755)
    assert local.wall("x") == "wall: not done within 0.2 s"
    (tmp_path / "wall").write_text("#!/bin/sh\nexit 3\n")
    assert local.wall("x") == "wall: exit status 3"


def test_only_critical_incidents_go_to_the_wall_and_only_once(lab):
    shown = []
    lab = lab(mode="notify")
    lab.loop.teller.world = replace(
        lab.loop.world, wall=lambda text: shown.append(text) or ("" if len(shown) > 1 else "wall: nobody")
    )
    for _ in range(60):
        lab.step(REFUSED, REFUSING)
    assert len(shown) == 1
    assert shown[0].startswith(
        "master-a: the etcd peer certificate of group main expired 1 day ago, on 2026-11-23 15:40 UTC."
    )
    walls = [(m["kind"], m["state"], m["error"]) for m in lab.store.messages() if m["label"] == "every terminal"]
    assert walls == [("opened", "expired", "wall: nobody")]


def test_login_line_forbids_a_restart_that_could_cost_the_quorum(lab, tmp_path, monkeypatch):
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    lab = lab()
    for _ in range(10):
        lab.step(REFUSED, REFUSING)
    pulse = Pulse(config=Config(), store=lab.store, world=lab.loop.world, required=())
    pulse.turn(lab.loop, lab.now, 0.0)
    assert (tmp_path / "motd").read_text().splitlines() == [
        "certmedic: 10.0.0.2: certificate expired: fix it there, not here (sudo certmedic show 2)",
        "certmedic: etcd main: certificate expired: do NOT restart it now (sudo certmedic show 1)",
    ]


def test_login_line_names_the_closed_breaker_after_the_incident_has_ended(lab, tmp_path, monkeypatch):
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    lab = lab(fails="docker is not reachable")
    for _ in range(10):
        lab.step(REFUSED)
    lab.world.files = member()
    lab.go(60)
    assert [incident.state for incident in lab.incidents()] == ["resolved"]
    pulse = Pulse(config=Config(), store=lab.store, world=lab.loop.world, required=())
    pulse.turn(lab.loop, lab.now, 0.0)
    assert (tmp_path / "motd").read_text().splitlines() == [
        "certmedic: an action failed, so it does nothing more (after you looked: sudo certmedic reset)"
    ]


def test_login_lines_are_at_most_five_and_escape_foreign_text(lab, tmp_path, monkeypatch):
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    groups = [f"g{n}" for n in range(7)]
    leaf = PEERS_CA.leaf("etcd-a", not_before=NOW - 400 * DAY, not_after=NOW - DAY)
    files = tuple(stored(leaf, f"/mnt/{g}/me.crt", group=f"\x1b[31m{g}") for g in groups)
    lab = lab(files, mode="notify")
    lab.go(5)
    pulse = Pulse(config=Config(), store=lab.store, world=lab.loop.world, required=())
    pulse.turn(lab.loop, lab.now, 0.0)
    lines = (tmp_path / "motd").read_text().splitlines()
    assert len(lines) == 6
    assert lines[-1] == "certmedic: and 2 more (sudo certmedic incidents --open)"
    assert "\x1b" not in "".join(lines)
    lab.hush()
    pulse.turn(lab.loop, lab.now, LOGIN_EVERY)
    assert "silenced by alice until" in (tmp_path / "motd").read_text()
