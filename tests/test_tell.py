"""The right message, once, even when the machine is cut off: the service as it is started, real receivers, kills and outages."""

import contextlib
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certmedic.config import Config, Notify, RemedyPolicy, load
from certmedic.core import window
from certmedic.core.model import Route, Silence
from certmedic.edge import heartbeat, local
from certmedic.edge.notify import AppriseNotifier
from certmedic.edge.store import Store
from certmedic.pulse import Pulse
from labs import pki, receivers
from labs.masters import AGENT
from labs.values import DAY, NOW, PEERS_CA, VOLUME, member, stored
from labs.waiting import until
from test_watcher import REFUSED, REFUSING, Lab, Played

SECRET = "S3cr3tT0kenThatNobodyMaySee"
TAGS = {"critical": "oncall", "warning": "team", "info": "team"}


@pytest.fixture
def hook():
    one = receivers.Hook()
    yield one
    one.close()


@pytest.fixture
def other_hook():
    one = receivers.Hook()
    yield one
    one.close()


# ---------------------------------------------------------------- the service, as it is started


@dataclass
class Service:
    """`certmedic run` on a folder of its own, where one certificate is watched."""

    home: Path
    notify: str = ""  # further lines of [notify]
    more: str = ""
    environ: dict = field(default_factory=dict)
    process: subprocess.Popen | None = None

    @property
    def state(self):
        return self.home / "state" / "state.sqlite3"

    @property
    def log(self):
        return (self.home / "log").read_text()

    def configure(self, *urls):
        self.home.mkdir(exist_ok=True)
        (self.home / "apprise.conf").write_text("".join(f"{url}\n" for url in urls))
        path = self.home / "certmedic.toml"
        path.write_text(f"""
state = "{self.home}/state"
[watch]
journal = false
docker = false
pods = false
files = ["{self.home}/etcd.log"]
[certificates]
planes = []
paths = ["{self.home}/pki/*.crt"]
warn_days = []
[notify]
apprise = ["{self.home}/apprise.conf"]
group_for = "1s"
{self.notify}
{self.more}
""")
        path.chmod(0o640)
        return self

    def certificate(self, ends=timedelta(hours=-1)):
        """Replace the certificate as programs do: beside it, and then in its place."""
        made = pki.authority("test-ca").leaf("etcd-a", not_after=datetime.now(UTC) + ends)
        fresh = made.write(self.home / "new" / "server.pem")
        (self.home / "pki").mkdir(exist_ok=True)
        fresh.rename(self.home / "pki" / "server.crt")

    def start(self):
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "certmedic", "run", "--config", str(self.home / "certmedic.toml")],
                env={**os.environ, "PYTHONPATH": str(AGENT), **self.environ},
                stdout=log,
                stderr=log,
                umask=0o077,  # as the unit has it
            )

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def ask(self, *words, code=0):
        """Run one of the commands beside the service."""
        done = subprocess.run(
            [sys.executable, "-m", "certmedic", *words, "--config", str(self.home / "certmedic.toml")],
            env={**os.environ, "PYTHONPATH": str(AGENT), "SUDO_USER": "alice"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def deliveries(self):
        """(kind, state) of every delivery, as the service wrote it down."""
        if not self.state.exists():
            return []
        with (
            contextlib.suppress(sqlite3.OperationalError),  # the schema is just being made
            contextlib.closing(sqlite3.connect(f"file:{self.state}?mode=ro", uri=True, timeout=10)) as db,
        ):
            return db.execute(
                "SELECT m.kind, d.state FROM deliveries d JOIN messages m ON m.id = d.message"
                " WHERE d.channel <> 'wall' ORDER BY m.id, d.channel"
            ).fetchall()
        return []

    def turns_for(self, seconds):
        """Wait while the service, alive, has looked anew at everything it had written down for so long."""
        end = datetime.now(UTC) + timedelta(seconds=seconds)
        until(lambda: datetime.now(UTC) > end)
        assert self.process.poll() is None, self.log


@pytest.fixture
def service(tmp_path):
    made = []

    def _service(*urls, notify="wall = false", **more):
        one = Service(tmp_path / "service", notify=notify, **more).configure(*urls)
        made.append(one)
        return one

    yield _service
    for one in made:
        one.kill()


def kinds(hook):
    """The kinds of the messages that came in, by their titles."""
    words = {"RESOLVED": "resolved", "NOT CURED": "escalated", "verifying": "acted", "still open": "reminder"}
    titles = [message["title"] for message in hook.messages]
    return [next((kind for word, kind in words.items() if word in title), "opened") for title in titles]


def test_each_message_goes_out_once_and_none_again_after_restarts_and_kills(service, hook):
    service = service(f"json://127.0.0.1:{hook.port}/")
    service.certificate()
    service.start()
    until(lambda: service.deliveries() == [("opened", "sent")])
    for _ in range(3):
        service.kill()
        service.start()
        service.turns_for(1.5)
    service.process.terminate()
    # Python itself ends it where it was told to stop before it had begun to listen for that.
    assert service.process.wait(30) in (0, -signal.SIGTERM)
    service.start()
    service.certificate(DAY * 300)
    until(lambda: service.deliveries() == [("opened", "sent"), ("resolved", "sent")])
    service.kill()
    service.start()
    service.turns_for(3)

    assert kinds(hook) == ["opened", "resolved"]


def test_a_kill_between_send_and_record_repeats_that_message_and_no_other(service, hook):
    service = service(f"json://127.0.0.1:{hook.port}/")
    answer, killed = hook.answer, []

    def answer_a_dead_one(handler):
        if not killed:
            service.process.send_signal(signal.SIGKILL)
            killed.append(service.process.wait())
        answer(handler)

    hook.answer = answer_a_dead_one
    service.certificate()
    service.start()
    until(lambda: killed)
    assert service.deliveries() == [("opened", "pending")]

    service.start()
    until(lambda: service.deliveries() == [("opened", "sent")])
    service.certificate(DAY * 300)
    until(lambda: service.deliveries() == [("opened", "sent"), ("resolved", "sent")])

    assert killed == [-signal.SIGKILL]
    assert kinds(hook) == ["opened", "opened", "resolved"]
    assert hook.messages[0] == hook.messages[1]


def test_a_silence_holds_back_messages_and_nothing_else_and_its_end_lets_them_through(service, hook):
    service = service(f"json://127.0.0.1:{hook.port}/")
    service.certificate(DAY * 300)
    service.start()
    until(service.state.exists)
    until(lambda: "watching" in service.log)
    said = service.ask(
        "silence", "add", "--file", "*/server.crt", "--for", "2h", "--comment", "vendor\x1b[31m is on it"
    )
    assert said.startswith("silence 1: file */server.crt, until ")
    service.certificate()

    def silenced():
        found = json.loads(service.ask("incidents", "--json"))["incidents"]
        return found and found[0]["silenced"]

    until(silenced)
    until(lambda: "silenced" in service.ask("show", "1").partition("story")[2])
    story = service.ask("show", "1")
    assert re.search(r"silenced +by alice until .* UTC: vendor \[31m is on it \(silence 1\)", story)
    assert "\x1b" not in story
    assert "open, silenced" in service.ask("incidents")
    assert "by alice" in service.ask("status")
    (listed,) = json.loads(service.ask("silence", "list", "--json"))["silences"]
    assert (listed["author"], listed["file"], listed["state"]) == ("alice", "*/server.crt", "active")
    assert service.deliveries() == []

    ended = json.loads(service.ask("silence", "expire", "--json", "1"))
    assert (ended["id"], ended["ends_at"] < listed["ends_at"]) == (1, True)
    service.ask("silence", "expire", "1", code=1)
    until(lambda: service.deliveries() == [("opened", "sent")])
    assert kinds(hook) == ["opened"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--for", "2h", "--comment", "x"], "say what"),
        (["--for", "2h", "--comment", "x", "--all", "--cause", "expired"], "say what"),
        (["--for", "2 hours", "--comment", "x", "--all"], 'e.g. "30s"'),
        (["--for", "2h", "--comment", " ", "--all"], "write 1 to 200 characters"),
        (["--for", "2h", "--comment", "x", "--cause", "expird"], "expird"),
        (["--for", "2h", "--comment", "x", "--file", "me.crt"], "begin it with / or *"),
        (["--for", "2h", "--comment", "x", "--all", "--from", "2020-01-01"], "over by now"),
        (["--for", "2h", "--all"], "--comment"),
    ],
)
def test_a_silence_that_makes_no_sense_is_refused_with_what_would(service, words, said):
    assert said in service().ask("silence", "add", *words, code=2)


def hold(path, taken):
    """Keep the state locked for longer than sqlite waits by itself."""
    with Store(path) as store, store.transaction():
        taken.set()
        time.sleep(7)


def test_a_silence_waits_for_an_agent_that_looks_at_the_machine_within_a_transaction(service):
    service, taken = service(), threading.Event()
    holder = threading.Thread(target=hold, args=(service.state, taken))
    holder.start()
    assert taken.wait(30)
    assert "silence 1" in service.ask("silence", "add", "--all", "--for", "2h", "--comment", "x")
    holder.join()


def test_without_a_state_a_silence_is_refused(service):
    words = ["silence", "add", "--all", "--for", "2h", "--comment", "x"]
    assert "has the service run?" in service().ask(*words, code=1)


def test_the_shell_completes_incidents_and_silences(service, hook):
    service = service(f"json://127.0.0.1:{hook.port}/")
    service.certificate()
    service.start()
    until(lambda: service.deliveries() == [("opened", "sent")])
    service.ask("silence", "add", "--cause", "expired", "--for", "2h", "--comment", "known")

    def offered(words):
        done = subprocess.run(
            [sys.executable, "-c", "from certmedic.cli import main; main(prog_name='certmedic')"],
            env={
                **os.environ,
                "PYTHONPATH": str(AGENT),
                "_CERTMEDIC_COMPLETE": "zsh_complete",
                "COMP_WORDS": words,
                "COMP_CWORD": str(len(words.split())),
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout

    config = f"--config {service.home}/certmedic.toml"
    assert "1\nopen, expired, own" in offered(f"certmedic show {config} ")
    assert "1\nopen, expired, own" in offered(f"certmedic approve {config} ")
    assert "1\ncause expired, known" in offered(f"certmedic silence expire {config} ")
    assert offered("certmedic show --config /nowhere.toml ").strip() == ""


def test_a_secret_is_nowhere(service, hook, tmp_path):
    hook.mood = "500"
    dead = receivers.free_port()
    urls = [f"json://u:{SECRET}@127.0.0.1:{hook.port}/{SECRET}", f"json://127.0.0.1:{dead}/{SECRET}", f"no://{SECRET}"]
    service = service(
        *urls, notify=f'wall = false\nheartbeat = "http://127.0.0.1:{dead}/{SECRET}"\nheartbeat_every = "1m"'
    )
    service.certificate()
    service.start()
    until(lambda: len(hook.requests) >= 2)  # tried again
    until(lambda: "heartbeat is not taken" in service.log)
    argv = Path(f"/proc/{service.process.pid}/cmdline").read_bytes()
    told = [
        service.ask("test-notify", code=1),
        service.ask("check-config", code=1),
        service.ask("status"),
        service.ask("status", "--json"),
        service.ask("show", "1"),
        service.ask("show", "1", "--json"),
    ]
    service.kill()

    everything = service.log + argv.decode() + "".join(told)
    assert "not everyone can be told" in everything
    assert "HTTP 500" in told[2]
    assert SECRET not in everything
    files = [path for path in service.state.parent.rglob("*") if path.is_file()]
    assert service.state in files
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
    assert not [body for _, _, body in hook.requests if SECRET.encode() in body]


def test_what_needs_no_network_every_terminal_once_a_line_at_login_numbers_and_the_heartbeat(service, hook, tmp_path):
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
    assert re.search(r'^x509_cert_expired\{.*filename="server.crt".*\} 1.0$', numbers.read_text(), re.MULTILINE)
    (path, _, body) = hook.requests[0]
    assert (path, body.decode()) == ("/ping", f"{host}: 1 certificate, 1 expired")
    until(lambda: "every terminal: taken" in service.ask("show", "1"))
    assert re.search(r"^outbox +1 waiting, the oldest for \d+ (second|minute)s?$", service.ask("status"), re.MULTILINE)
    outbox = json.loads(service.ask("status", "--json"))["outbox"]
    age = datetime.now(UTC) - datetime.fromisoformat(outbox["oldest"])
    assert outbox["pending"] == 1
    assert 0 <= outbox["age_seconds"] <= age.total_seconds()
    service.kill()
    service.start()
    service.certificate(DAY * 300)
    until(lambda: not (run / "motd").exists())
    told = (tmp_path / "terminals").read_text()
    assert told.count(host) == 1  # opened, and nothing of "resolved"
    assert told.endswith("More: sudo certmedic show 1\n")


# ---------------------------------------------------------------- hours in seconds, with real receivers


class Reached(Played):
    """A played machine whose messages go out for real."""

    def __init__(self, *urls, tags=None, **played):
        super().__init__(**played)
        self.way = AppriseNotifier([], tags or {}, urls)

    def channels(self, severity, tag=""):
        return self.way.channels(severity, tag)

    def send_all(self, batch):
        return self.way.send_all(batch)


@pytest.fixture
def lab(tmp_path):
    labs = []

    def _lab(world, *, mode="notify", name="state", **notify):
        config = Config(
            mode=mode,
            notify=Notify(**{"group_for": timedelta(seconds=2), "remind_every": timedelta(hours=6), **notify}),
            remedy=RemedyPolicy(verify_for=timedelta(seconds=30)),
        )
        labs.append(Lab(world, tmp_path / name, config))
        return labs[-1]

    yield _lab
    for one in labs:
        one.store.close()


def sick():
    return member(peer_ends=NOW - DAY)


def test_a_day_without_network_then_each_message_once_in_order_and_no_stale_reminders(lab, hook):
    hook.mood = "reset"
    lab = lab(Reached(f"json://127.0.0.1:{hook.port}/", files=sick()))
    lab.step(REFUSED)
    for _ in range(60):  # the neighbour comes and goes in the first hour
        lab.step(*([REFUSING] if lab.position < 20 else []), seconds=60)
    for _ in range(19 * 12):
        lab.step(seconds=300)
    assert hook.requests  # it was tried, and nothing got through
    tries = len(hook.requests)
    assert tries < 400  # and not in vain every minute

    hook.mood, hook.requests = "ok", []
    for _ in range(20):
        lab.step(seconds=60)
    told = [(message["title"], kind) for message, kind in zip(hook.messages, kinds(hook), strict=True)]
    mine = [kind for title, kind in told if "etcd main" in title]
    neighbours = [kind for title, kind in told if "10.0.0.2" in title]
    assert mine == ["opened", "reminder"]  # the latest of three
    assert neighbours == ["opened", "resolved"]

    lab.world.files = member()
    for _ in range(20):
        lab.step(seconds=60)
    assert kinds(hook)[len(told) :] == ["resolved"]
    assert Counter(m["state"] for m in lab.store.messages()) == {"sent": 5, "superseded": 2}
    assert lab.store.channels()[0]["waiting"] == 0


def test_what_is_given_up_after_a_day_leaves_a_trace_and_its_end_is_not_told_where_its_beginning_never_was(lab, hook):
    dead = receivers.free_port()
    lab = lab(Reached(f"json://127.0.0.1:{dead}/", f"json://127.0.0.1:{hook.port}/", files=sick()))
    lab.step(REFUSED)
    for _ in range(30 * 6):
        lab.step(seconds=600)
    (expired,) = [m for m in lab.store.messages() if m["state"] == "expired" and m["kind"] == "opened"]
    assert expired["attempts"] > 50
    assert expired["error"]
    assert any(event["what"] == "given up" and str(dead) in event["said"] for event in lab.store.events(1))
    assert [f for f in lab.world.journal if f["CERTMEDIC_EVENT"] == "undelivered" and str(dead) in f["MESSAGE"]]

    lab.world.files = member()
    for _ in range(20):
        lab.step(seconds=60)
    ends = {m["label"]: m["state"] for m in lab.store.messages() if m["kind"] == "resolved"}
    (label,) = ends
    assert str(hook.port) in label
    assert (kinds(hook)[0], kinds(hook)[-1]) == ("opened", "resolved")
    assert set(kinds(hook)[1:-1]) == {"reminder"}


def test_a_channel_that_sleeps_and_lies_delays_no_other(lab, hook, other_hook):
    hook.mood = "slow"
    urls = [f"json://127.0.0.1:{hook.port}/?rto=1&cto=1", f"json://127.0.0.1:{other_hook.port}/"]
    lab = lab(Reached(*urls, files=sick()))
    lab.step(REFUSED)
    for _ in range(4):
        lab.step()
    assert kinds(other_hook) == ["opened"]
    assert {m["label"].split(" ")[0]: m["state"] for m in lab.store.messages()} == {
        f"json://127.0.0.1:{hook.port}": "pending",
        f"json://127.0.0.1:{other_hook.port}": "sent",
    }


def test_a_flood_of_a_hundred_broken_files_and_a_hundred_neighbours_in_a_minute_is_two_messages(lab, hook):
    many = tuple(
        stored(PEERS_CA.leaf(f"etcd-{n}", not_before=NOW - 400 * DAY, not_after=NOW - DAY), f"{VOLUME}/peers/{n}.crt")
        for n in range(100)
    )
    lab = lab(Reached(f"json://127.0.0.1:{hook.port}/", files=(*member(peer_ends=NOW - DAY), *many)))
    for second in range(60):
        lab.step(*[REFUSED.replace("10.0.0.2", f"10.0.1.{n}") for n in range(second, second + 20)])
        lab.step(*[REFUSING.replace("10.0.0.2", f"10.0.1.{n}") for n in range(second, second + 20)], seconds=0)

    assert sorted(kinds(hook)) == ["opened", "opened"]
    assert len(lab.incidents()) == 2
    (mine,) = [m for m in hook.messages if "etcd main" in m["title"]]
    assert "and 99 more" in mine["message"]
    assert len(mine["title"]) + len(mine["message"]) < 2000


def test_a_hundred_incidents_in_a_minute_are_each_told_once_even_with_a_kill_in_between(lab, hook):
    groups = [f"g{n}" for n in range(100)]
    leaf = PEERS_CA.leaf("etcd-a", not_before=NOW - 400 * DAY, not_after=NOW - DAY)
    files = tuple(stored(leaf, f"/mnt/{group}/me.crt", group=group) for group in groups)
    lab = lab(Reached(f"json://127.0.0.1:{hook.port}/", files=files))
    for second in range(10):
        lab.step()
        if second == 5:
            lab.kill()

    assert len(lab.incidents()) == 100
    counts = Counter(message["title"] for message in hook.messages)
    assert set(counts.values()) == {1}
    assert len(counts) == 100


# ---------------------------------------------------------------- whom


def test_routes_send_by_severity_cause_plane_and_event_and_the_end_goes_where_the_beginning_went(lab, tmp_path):
    hooks = {name: receivers.Hook() for name in ("oncall", "team", "etcd", "archive")}
    config = tmp_path / "apprise.conf"
    config.write_text("".join(f"{name}=json://127.0.0.1:{one.port}/\n" for name, one in hooks.items()))
    world = Reached(files=sick())
    world.way = AppriseNotifier([str(config)], TAGS)
    routes = (
        Route(tag="archive", event="acted"),
        Route(tag="etcd", severity="warning", cause="expired"),
        Route(tag="team", plane="kubeadm"),
    )
    lab = lab(world, mode="remedy", route=routes)
    try:
        for _ in range(5):
            lab.step(REFUSED)
        lab.go(30)
        lab.step(REFUSING)
        lab.go(10)
        assert {name: kinds(one) for name, one in hooks.items()} == {
            "oncall": ["opened", "resolved"],
            "archive": ["acted"],
            "etcd": ["opened"],
            "team": [],
        }
    finally:
        for one in hooks.values():
            one.close()


def test_test_notify_tries_one_tag_and_says_what_is_wrong_with_the_files(service, hook, other_hook):
    service = service(
        f"oncall=json://127.0.0.1:{hook.port}/", f"team=json://127.0.0.1:{other_hook.port}/", "bogus://nothing"
    )
    said = service.ask("test-notify", "--tag", "team", code=1)
    assert (len(hook.requests), len(other_hook.requests)) == (0, 1)
    assert "apprise.conf: " in said
    assert "no channel carries the tag 'nobody'" in service.ask("test-notify", "--tag", "nobody", code=1)
    service.more = '[[notify.route]]\ncause = "expired"\ntag = "etdc"'
    service.configure(f"oncall=json://127.0.0.1:{hook.port}/")
    assert "notify.route: no channel carries the tag 'etdc'" in service.ask("check-config", code=1)
    service.more = ""
    service.configure(f"oncall=json://127.0.0.1:{hook.port}/")
    assert "sent" in service.ask("test-notify")
    assert "good: " in service.ask("check-config")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[notify.route]]\nsverity = "critical"\ntag = "x"', "route 1: sverity: no such key; did you mean severity?"),
        ('[[notify.route]]\nseverity = "info"\ntag = "x"', "found 'info'; allowed: critical, warning"),
        ('[[notify.route]]\ncause = "expired"', "route 1: tag: allowed: one word"),
        ('[notify]\nroute = ["x"]', "tables, each begun by [[notify.route]]"),
        ('[notify]\nheartbeat_every = "10s"', 'allowed: "1m" or longer'),
        (
            '[notify]\nmaintenance = ["Sunday night"]',
            "notify.maintenance: found ['Sunday night']; allowed: days, hours",
        ),
        ('[notify]\nmaintenance = "Sun 02:00-04:00 UTC"', "allowed: a list of"),
        ('[metrics]\ntextfile = "/x/y.txt"', "ends in .prom"),
        ('[metrics]\ntextfil = "/x/y.prom"', "did you mean metrics.textfile?"),
    ],
)
def test_what_is_wrong_with_routes_and_numbers_is_said_with_what_is_allowed(tmp_path, text, said):
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(Exception, match=re.escape(said)):
        load(path)


@pytest.mark.parametrize("url", [f"ftp://{SECRET}/", f"{SECRET}", "http:///x"])
def test_a_heartbeat_that_is_no_web_address_is_refused_without_being_shown(tmp_path, url):
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


# ---------------------------------------------------------------- silences


def hush(lab, *, hours=2.0, **what):
    """Begin a silence in the lab's time."""
    asked = {"cause": "", "file": "", "plane": "", "author": "alice", "comment": "known", "starts_at": lab.now} | what
    with lab.store.transaction():
        return lab.store.silence(Silence(id=0, ends_at=lab.now + timedelta(hours=hours), **asked))


@pytest.mark.parametrize(
    ("what", "quiet"),
    [
        ({"cause": "expired"}, True),
        ({"plane": "kops"}, True),
        ({"file": "*/peers/me.crt"}, True),
        ({"cause": "expired", "plane": "kops", "file": f"{VOLUME}/*"}, True),
        ({}, True),
        ({"cause": "ca_expired"}, False),
        ({"plane": "kubeadm"}, False),
        ({"file": "*/server.crt"}, False),
        ({"cause": "expired", "plane": "kubeadm"}, False),
        ({"starts_at": NOW + timedelta(hours=1)}, False),
    ],
)
def test_a_silence_covers_what_meets_all_its_conditions(lab, what, quiet):
    lab = lab(Played(files=sick()))
    hush(lab, **what)
    for _ in range(10):
        lab.step(REFUSED)
    assert lab.world.kinds() == ([] if quiet else ["opened"])
    assert any(event["what"] == "silenced" for event in lab.store.events(1)) is quiet


def test_a_glob_that_one_of_two_files_meets_does_not_hide_the_other(lab):
    lab = lab(Played(files=member(peer_ends=NOW - DAY, server_ends=NOW - DAY)))
    hush(lab, file="*/peers/me.crt")
    for _ in range(10):
        lab.step(REFUSED)
    assert lab.world.kinds() == ["opened"]


def test_a_silenced_incident_is_cured_and_resolved_without_a_word(lab):
    lab = lab(Played(files=sick()), mode="remedy")
    hush(lab, cause="expired")
    for _ in range(5):
        lab.step(REFUSED)
    lab.go(30)
    assert len(lab.world.restarts) == 1
    assert [i.state for i in lab.incidents()] == ["resolved"]
    assert lab.world.sent == []
    assert lab.store.messages() == []
    said = [event["said"] for event in lab.store.events(1) if event["what"] == "silenced"]
    assert said == ["by alice until 2026-11-24 17:40:00 UTC: known (silence 1)"]
    assert {f["CERTMEDIC_EVENT"] for f in lab.world.journal} >= {"opened", "intent", "acted", "resolved"}


def test_when_a_silence_ends_what_still_lasts_is_told_and_nothing_of_before(lab):
    lab = lab(Played(files=sick()))
    hush(lab, hours=7, cause="expired")
    for _ in range(8 * 12):
        lab.step(seconds=300)
    assert lab.world.kinds() == ["opened"]


def test_a_cure_that_failed_under_a_silence_is_told_when_it_ends(lab):
    lab = lab(Played(files=sick(), renews=False), mode="remedy")
    hush(lab, hours=0.1, cause="expired")
    for _ in range(120):
        lab.step(REFUSED)
    assert [i.state for i in lab.incidents()] == ["escalated"]
    assert lab.world.sent == []
    for _ in range(30):
        lab.step(seconds=30)
    assert lab.world.kinds() == ["escalated"]


def test_what_was_told_before_a_silence_is_told_to_be_over_and_not_remembered_meanwhile(lab):
    lab = lab(Played(files=sick()))
    for _ in range(5):
        lab.step(REFUSED)
    hush(lab, hours=20)
    for _ in range(13):
        lab.step(seconds=3600)
    lab.world.files = member()
    lab.go(30)
    assert lab.world.kinds() == ["opened", "resolved"]


# ---------------------------------------------------------------- maintenance windows

SUNDAY = datetime(2026, 11, 29, 2, 0, tzinfo=UTC)
EVERY_SUNDAY = (window.parse("Sun 02:00-04:00 UTC"),)


def test_within_a_maintenance_window_nothing_is_said_and_what_lasts_is_told_at_its_end(lab):
    lab = lab(Played(files=member(peer_ends=SUNDAY - DAY)), maintenance=EVERY_SUNDAY)
    lab.now = SUNDAY + timedelta(minutes=5)
    for _ in range(11):
        lab.step(REFUSED, seconds=600)
    assert lab.world.sent == []
    assert [i.state for i in lab.incidents()] == ["open"]
    said = [event["said"] for event in lab.store.events(1) if event["what"] == "silenced"]
    assert said == ["maintenance window Sun 02:00-04:00 UTC, until 2026-11-29 04:00:00 UTC"]
    for _ in range(3):
        lab.step(seconds=600)
    assert lab.world.kinds() == ["opened"]


def test_what_breaks_and_is_cured_within_a_maintenance_window_is_recorded_and_nobody_is_called(lab):
    lab = lab(Played(files=member(peer_ends=SUNDAY - DAY)), mode="remedy", maintenance=EVERY_SUNDAY)
    lab.now = SUNDAY + timedelta(minutes=5)
    lab.kill()
    for _ in range(5):
        lab.step(REFUSED)
    lab.go(30)
    assert len(lab.world.restarts) == 1
    assert [i.state for i in lab.incidents()] == ["resolved"]
    assert lab.store.messages() == []


def test_what_was_told_before_a_maintenance_window_is_told_to_be_over_within_it(lab):
    lab = lab(Played(files=member(peer_ends=SUNDAY - 3 * DAY)), maintenance=EVERY_SUNDAY)
    lab.now = SUNDAY - timedelta(minutes=5)
    for _ in range(5):
        lab.step(REFUSED)
    assert lab.world.kinds() == ["opened"]
    lab.step(seconds=600)
    lab.world.files = tuple(replace(one) for one in member())
    lab.go(30)
    assert lab.world.kinds() == ["opened", "resolved"]


def test_the_commands_and_the_line_at_login_show_a_maintenance_window(service, hook, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    always = 'wall = false\nmaintenance = ["00:00-12:00 UTC", "12:00-00:00 UTC"]'
    service = service(f"json://127.0.0.1:{hook.port}/", notify=always, environ={"RUNTIME_DIRECTORY": str(run)})
    service.certificate()
    service.start()
    until(lambda: "watching" in service.log)
    until(lambda: json.loads(service.ask("incidents", "--json"))["incidents"])
    until(lambda: "silenced" in service.ask("show", "1").partition("story")[2])
    assert re.search(r"silenced +maintenance window (00:00-12|12:00-00):00 UTC, until ", service.ask("show", "1"))
    assert "maintenance window" in service.ask("status")
    (window,) = json.loads(service.ask("status", "--json"))["maintenance"]
    assert window["window"] in ("00:00-12:00 UTC", "12:00-00:00 UTC")
    assert "open, silenced" in service.ask("incidents")
    until(lambda: "silenced, maintenance window, until" in (run / "motd").read_text())
    assert service.deliveries() == []
    assert hook.requests == []


# ---------------------------------------------------------------- signs of life


@pytest.fixture
def pulse(lab, hook, tmp_path, monkeypatch):
    """A pulse with a heartbeat to `hook`, and turns at chosen ticks."""
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    config = tmp_path / "c.toml"
    config.write_text(f'[notify]\nheartbeat = "http://127.0.0.1:{hook.port}/{SECRET}"\nheartbeat_every = "5m"\n')
    config.chmod(0o640)
    lab = lab(Played(files=member()))
    lab.pulse = Pulse(config=load(config), store=lab.store, world=lab.watcher.world, required={"journal"})
    lab.step()

    def turns(*ticks):
        for tick in ticks:
            lab.pulse.turn(lab.watcher, lab.now, tick)
            thread = lab.pulse.heartbeat._thread
            if thread is not None:
                thread.join(30)

    lab.turns = turns
    return lab


def test_a_heartbeat_comes_at_its_interval_and_says_what_is_watched(pulse, hook):
    pulse.turns(0, 1, 299, 300, 301, 600)
    assert len(hook.requests) == 3
    assert hook.requests[0][2].decode() == (
        f"master-a: 4 certificates; next expiry 2027-09-20 15:40:00 UTC: {VOLUME}/peers/me.crt"
    )


def test_there_is_no_heartbeat_while_what_must_be_read_is_not(pulse, hook):
    pulse.watcher.readers.blind["journal"] = "gone"
    pulse.turns(0, 300, 600)
    assert hook.requests == []
    pulse.watcher.readers.blind = {"docker": "gone"}  # nobody needs it
    pulse.turns(601)
    assert len(hook.requests) == 1


def test_a_heartbeat_that_fails_is_logged_once_counted_and_its_return_is_told(pulse, hook):
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


def test_a_heartbeat_to_one_that_drips_holds_up_nothing_and_is_not_begun_twice(hook):
    hook.mood = "drip"
    beat = heartbeat.Heartbeat(f"http://127.0.0.1:{hook.port}/")
    before = datetime.now(UTC)
    for _ in range(5):
        beat.beat("x")
    assert datetime.now(UTC) - before < timedelta(seconds=5)
    assert {beat.result() for _ in range(4)} == {"no answer in time"}
    until(lambda: hook.requests)
    assert len(hook.requests) == 1


def test_a_service_that_takes_no_post_is_asked(monkeypatch):
    hook = receivers.Hook()
    handler = hook.server.RequestHandlerClass
    handler.do_GET = handler.do_POST
    answer = hook.answer

    def only_get(request):
        hook.mood = "405" if request.command == "POST" else "ok"
        answer(request)

    hook.answer = only_get
    beat, said = heartbeat.Heartbeat(f"http://127.0.0.1:{hook.port}/"), []
    beat.beat("x")
    until(lambda: said.append(beat.result()) or said[-1] is not None)
    hook.close()
    assert said[-1] == ""
    assert len(hook.requests) == 2


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no-such-name.invalid"])
def test_why_a_heartbeat_failed_is_said_without_its_address(address):
    beat, said = heartbeat.Heartbeat(f"http://{address}/{SECRET}"), []
    beat.beat("x")
    until(lambda: said.append(beat.result()) or said[-1] is not None)
    assert said[-1]
    assert SECRET not in said[-1]
    assert address not in said[-1]


def test_the_watchdog_is_fed_four_times_an_interval_and_not_each_turn(pulse, tmp_path, monkeypatch):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(path)
        systemd.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        monkeypatch.setenv("WATCHDOG_USEC", "20000000")
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))

        def heard():
            count = 0
            with contextlib.suppress(BlockingIOError):
                while systemd.recv(100):
                    count += 1
            return count

        for tick in range(200):
            pulse.pulse.turn(pulse.watcher, pulse.now, tick / 10)
        assert heard() == 4
        pulse.watcher.readers.blind["journal"] = "gone"
        pulse.turns(30, 40, 50)
        assert heard() == 0


def test_the_numbers_have_the_names_that_dashboards_know_and_our_own(lab, tmp_path):
    from certmedic.edge import metrics  # noqa: PLC0415 - heavy

    world = Played(files=sick())
    lab = lab(world)
    world.dead = {"good", "other"}
    for _ in range(10):
        lab.step(REFUSED)
    lab.step(seconds=50)
    config = replace(Config(), metrics=replace(Config().metrics, textfile=tmp_path / "c.prom"))
    pulse = Pulse(config=config, store=lab.store, world=lab.watcher.world, required=())
    pulse.turn(lab.watcher, lab.now, 0.0)
    text = (tmp_path / "c.prom").read_text()
    peer = sick()[0].certificate
    labels = (
        f'embedded_key="",embedded_kind="",filename="me.crt",filepath="{peer.path}",issuer_CN="etcd-peers-ca-main"'
        f',serial_number="{int(peer.serial, 16)}",subject_CN="etcd-a"'
    )
    seen = lab.watcher.inventory.stored[0].certificate
    labels = labels.replace(str(int(peer.serial, 16)), str(int(seen.serial, 16)))
    for sample in (
        f"x509_cert_not_after{{{labels}}} {seen.not_after.timestamp()}",
        f"x509_cert_not_before{{{labels}}} {seen.not_before.timestamp()}",
        f"x509_cert_expired{{{labels}}} 1.0",
        f'x509_cert_error{{filename="me.crt",filepath="{peer.path}"}} 0.0',
        "certmedic_sightings_total 10.0",
        'certmedic_incidents_open{cause="expired",severity="critical"} 1.0',
        "certmedic_outbox_waiting 2.0",
        'certmedic_acts{state="verified"} 0.0',
    ):
        assert any(float_alike(sample, told) for told in text.splitlines()), (sample, text)
    assert float(re.search(r"^certmedic_outbox_oldest_seconds (.*)$", text, re.MULTILINE)[1]) > 50
    assert metrics.exposition(metrics.Numbers(at=NOW, version="1", mode="notify", facts=None))


def float_alike(wanted, told):
    """Whether two samples are the same, however their numbers are written."""
    (a, x), (b, y) = wanted.rsplit(" ", 1), told.rsplit(" ", 1)
    with contextlib.suppress(ValueError):
        return sorted(re.split(r"[{},]", a)) == sorted(re.split(r"[{},]", b)) and float(x) == float(y)
    return False


def test_a_folder_that_cannot_be_written_is_complained_of_once_and_holds_up_nothing(lab, tmp_path, caplog):
    lab = lab(Played(files=member()))
    lab.step()
    config = replace(Config(), metrics=replace(Config().metrics, textfile=tmp_path / "none" / "c.prom"))
    pulse = Pulse(config=config, store=lab.store, world=lab.watcher.world, required=())
    for tick in (0.0, 60.0, 120.0):
        pulse.turn(lab.watcher, lab.now, tick)
    assert [r.getMessage().split(":")[0] for r in caplog.records] == ["metrics.textfile"]


def test_the_wall_says_why_it_could_not(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert local.wall("x") == "wall: No such file or directory"
    monkeypatch.setattr(local, "DEADLINE", 0.2)
    (tmp_path / "wall").write_text("#!/bin/sh\nexec /bin/sleep 30\n")
    (tmp_path / "wall").chmod(0o755)
    assert local.wall("x") == "wall: not done within 0.2 s"
    (tmp_path / "wall").write_text("#!/bin/sh\nexit 3\n")
    assert local.wall("x") == "wall: exit status 3"


def test_only_what_is_critical_is_written_on_the_wall_and_once_whether_it_works_or_not(lab):
    told = []
    lab = lab(Played(files=sick()))
    lab.watcher.teller.world = replace(
        lab.watcher.world, wall=lambda text: told.append(text) or ("" if len(told) > 1 else "wall: nobody")
    )
    for _ in range(60):
        lab.step(REFUSED, REFUSING)
    assert len(told) == 1
    assert told[0].startswith("master-a: the certificate of etcd main has expired.")
    walls = [(m["kind"], m["state"], m["error"]) for m in lab.store.messages() if m["label"] == "every terminal"]
    assert walls == [("opened", "expired", "wall: nobody")]


def test_the_line_at_login_forbids_a_restart_that_could_cost_the_quorum(lab, tmp_path, monkeypatch):
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    lab = lab(Played(files=sick()), mode="remedy")
    for _ in range(10):
        lab.step(REFUSED, REFUSING)
    pulse = Pulse(config=Config(), store=lab.store, world=lab.watcher.world, required=())
    pulse.turn(lab.watcher, lab.now, 0.0)
    assert (tmp_path / "motd").read_text().splitlines() == [
        "certmedic: 10.0.0.2: certificate expired: look there, not here (sudo certmedic show 2)",
        "certmedic: etcd main: certificate expired: do NOT restart it now (sudo certmedic show 1)",
    ]


def test_the_line_at_login_names_at_most_five_and_hides_what_strangers_wrote(lab, tmp_path, monkeypatch):
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    groups = [f"g{n}" for n in range(7)]
    leaf = PEERS_CA.leaf("etcd-a", not_before=NOW - 400 * DAY, not_after=NOW - DAY)
    lab = lab(Played(files=tuple(stored(leaf, f"/mnt/{g}/me.crt", group=f"\x1b[31m{g}") for g in groups)))
    lab.go(5)
    pulse = Pulse(config=Config(), store=lab.store, world=lab.watcher.world, required=())
    pulse.turn(lab.watcher, lab.now, 0.0)
    lines = (tmp_path / "motd").read_text().splitlines()
    assert len(lines) == 6
    assert lines[-1] == "certmedic: and 2 more (sudo certmedic incidents --open)"
    assert "\x1b" not in "".join(lines)
    hush(lab)
    pulse.turn(lab.watcher, lab.now, 2.0)
    assert "silenced by alice until" in (tmp_path / "motd").read_text()
