"""The agent's end of the reader: a reader that is killed, hangs or sends nonsense loses no line and brings none twice."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from certmedic.core.model import LogEntry, SourceDown, SourceStatus, SourceUp
from certmedic.edge import link, wire
from certmedic.edge.inbox import Inbox
from certmedic.edge.link import Ends, Link, child
from certmedic.edge.os import spawn
from certmedic.edge.source import UnseenError
from certmedic.edge.wire import Connection, Watching, Welcome
from labs import AGENT, ROOT
from labs.reading import settle
from labs.waiting import until

LINE = "http: TLS handshake error from 10.0.0.9:{}: remote error: tls: bad certificate\n"


class Linked:
    """A link with its inbox, and the items that came."""

    def __init__(self, connect, watching, positions=None):
        self.items, self.positions = [], dict(positions or {})
        self.box, self.stop = Inbox(), threading.Event()
        self.link = Link(connect, watching, self.positions, self.box, self.stop)
        self.link.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.link.join()

    def all(self, kind):
        came = self.box.drain(0.05)
        settle(self.positions, came)
        self.items += came
        return [item for item in self.items if isinstance(item, kind)]

    def numbers(self):
        return [int(entry.text.split(":")[2]) for entry in self.all(LogEntry)]

    def wait_for_files(self):
        """Wait until the log is open: earlier lines of a log that was never read are left out."""
        until(lambda: any(status.source == "files" for status in self.all(SourceStatus)))

    def reader(self):
        """Return the pid of the reader that reported last."""
        until(lambda: [item for item in self.all(SourceStatus) if item.source == link.NAME])
        last = [item for item in self.all(SourceStatus) if item.source == link.NAME][-1]
        return int(last.position.removeprefix("process "))


class Log:
    """A log file that grows by numbered lines."""

    def __init__(self, path):
        self.path, self.written = path, 0
        path.touch()

    def write(self, count):
        with self.path.open("a") as file:
            file.write("".join(LINE.format(self.written + n) for n in range(count)))
        self.written += count


@pytest.fixture
def log(tmp_path):
    return Log(tmp_path / "etcd.log")


def watching(log):
    return Watching(files=(str(log.path),))


def running(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def answering(pid):
    """Return the pid of the process that answers the questions for a reader."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def states(pid):
    """Return the states of the threads of a process, as the kernel shows them."""
    stats = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    return {stat.rpartition(")")[2].split()[0] for stat in stats}


@pytest.mark.slow
def test_lines_come_once_although_the_reader_is_killed_again_and_again(log, monkeypatch):
    monkeypatch.setattr(link, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(link, "LONGEST_PAUSE", 0.2)
    with Linked(child, watching(log)) as linked:
        linked.wait_for_files()
        for _ in range(5):
            reader = linked.reader()
            log.write(300)
            os.kill(reader, signal.SIGKILL)
            log.write(10)
            until(lambda killed=reader: linked.reader() != killed)
        until(lambda: len(linked.numbers()) >= log.written)

    assert sorted(linked.numbers()) == list(range(log.written))


@pytest.mark.slow
def test_agent_that_starts_again_reads_on_at_its_stored_positions(log):
    with Linked(child, watching(log)) as first:
        first.wait_for_files()
        log.write(5)
        until(lambda: len(first.numbers()) >= 5)
    log.write(5)
    with Linked(child, watching(log), first.positions) as second:
        until(lambda: len(second.numbers()) >= 5)

    assert second.numbers() == [5, 6, 7, 8, 9]


@pytest.mark.slow
def test_hung_reader_is_reported_and_replaced(log, monkeypatch):
    monkeypatch.setattr(link, "SILENCE", 1.0)
    monkeypatch.setattr(link, "FIRST_PAUSE", 0.05)
    with Linked(child, watching(log)) as linked:
        linked.wait_for_files()
        hung = linked.reader()
        os.kill(hung, signal.SIGSTOP)
        log.write(7)
        until(lambda: linked.all(SourceDown))
        monkeypatch.setattr(link, "SILENCE", 30.0)  # a busy machine may be slow, too
        until(lambda: len(linked.numbers()) >= 7)
        until(lambda: linked.all(SourceUp))
        until(lambda: not running(hung))

    downs = [(down.source, down.reason) for down in linked.all(SourceDown)]
    assert downs[:2] == [
        ("files", "the reader process has been silent for 1 s"),
        ("certificates", "the reader process has been silent for 1 s"),
    ]
    assert sorted(linked.numbers()) == list(range(7))


@pytest.mark.slow
def test_reader_ends_with_the_agent(log):
    with Linked(child, watching(log)) as linked:
        reader = linked.reader()
    until(lambda: not running(reader))


@pytest.fixture
def answered():
    """Return a function that makes connections to a reader that sends these frames and then ends."""
    with contextlib.ExitStack() as kept:

        def readers(*frames):
            def connect():
                ours, theirs = socket.socketpair()
                questions, its_questions = socket.socketpair()
                for end in (theirs, its_questions):  # so that the agent's greeting is taken
                    kept.enter_context(end)
                for frame in frames:
                    Connection(theirs).send(frame)
                theirs.shutdown(socket.SHUT_WR)
                return Ends(entries=Connection(ours), questions=Connection(questions))

            return connect

        yield readers


WELCOME = wire.dump(Welcome(pid=1, there=("files",)))


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([{"version": 7}], "version 7"),
        ([[]], "nonsense"),
        ([WELCOME, "x"], "make no sense"),
        ([WELCOME, [["entry"]]], "make no sense"),
        ([WELCOME], "ended"),
    ],
)
def test_reader_that_sends_nonsense_is_a_blind_source(frames, reason, answered):
    with Linked(answered(*frames), Watching(files=("/var/log/x",))) as linked:
        until(lambda: linked.all(SourceDown))

    down = linked.all(SourceDown)[0]
    assert (down.source, reason in down.reason) == ("files", True)


def test_outage_is_reported_once_while_the_reader_cannot_be_started(monkeypatch):
    monkeypatch.setattr(link, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(link, "LONGEST_PAUSE", 0.02)
    tries = []

    def connect():
        tries.append(1)
        raise FileNotFoundError(2, "No such file or directory")

    with Linked(connect, Watching(journal=True)) as linked:
        until(lambda: len(tries) > 5)

    assert [(down.source, down.reason) for down in linked.all(SourceDown)] == [
        ("journal", "the reader process cannot be started: No such file or directory"),
        ("certificates", "the reader process cannot be started: No such file or directory"),
    ]


def test_sources_that_exist_are_those_of_the_reader_or_those_that_must_exist(answered):
    wanted = Watching(journal=True, docker=None, pods="/var/log/pods")
    with Linked(answered(wire.dump(Welcome(pid=1, there=("journal", "docker")))), wanted) as linked:
        assert linked.link.there() == ("journal", "docker")
    with Linked(answered(), wanted) as linked:
        assert linked.link.there() == ("journal", "certificates")


@pytest.mark.slow
def test_full_inbox_makes_the_reader_wait_and_loses_nothing(log):
    with Linked(child, watching(log)) as linked:
        linked.wait_for_files()
        log.write(5000)
        time.sleep(0.5)
        until(lambda: len(linked.numbers()) >= 5000)
    assert linked.numbers() == list(range(5000))


@pytest.mark.slow
def test_question_waits_for_the_reader_that_replaces_a_killed_one(log, monkeypatch):
    monkeypatch.setattr(link, "FIRST_PAUSE", 0.05)
    with Linked(child, watching(log)) as linked:
        assert linked.link.ask("exist", [[str(log.path), "/none"]]) == [str(log.path)]
        os.kill(linked.reader(), signal.SIGKILL)
        assert linked.link.ask("exist", [[str(log.path)]]) == [str(log.path)]
        with pytest.raises(UnseenError, match="could not look: KeyError"):
            linked.link.ask("reboot", [])


def test_question_to_a_reader_that_never_comes_is_given_up(monkeypatch):
    monkeypatch.setattr(link, "PATIENCE", 0.3)

    def connect():
        raise OSError(0, "no")

    with Linked(connect, Watching()) as linked, pytest.raises(UnseenError, match="is not there"):
        linked.link.ask("pods", [])


ACTIVATED = "import os, sys; os.dup2(int(sys.argv.pop()), 3); from certmedic.reader.serve import main; main()"


@pytest.mark.slow
def test_reader_that_systemd_starts_serves_the_connections_that_come(log, tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
        door.bind(str(tmp_path / "socket"))
        door.listen()
        monkeypatch.setenv(spawn.VARIABLE, str(tmp_path / "socket"))
        command = [sys.executable, "-P", "-c", ACTIVATED, str(door.fileno())]
        environment = {**os.environ, "PYTHONPATH": str(AGENT)}
        with subprocess.Popen(command, pass_fds=[door.fileno()], env=environment) as process:
            with Linked(link.starter(), watching(log)) as linked:
                linked.wait_for_files()
                log.write(3)
                until(lambda: len(linked.numbers()) >= 3)
                assert linked.link.ask("exist", [[str(log.path)]]) == [str(log.path)]
            assert process.wait(20) == 0


def test_missing_socket_is_reported_with_the_command_that_starts_it(tmp_path, monkeypatch):
    monkeypatch.setenv(spawn.VARIABLE, str(tmp_path / "none"))
    with pytest.raises(OSError, match=r"sudo systemctl start certmedic-reader\.socket"):
        link.starter()()


@pytest.mark.slow
def test_reader_that_leaves_a_question_open_is_replaced(log, monkeypatch):
    monkeypatch.setattr(link, "ANSWER", 3.0)
    monkeypatch.setattr(link, "PATIENCE", 90.0)
    with Linked(child, watching(log)) as linked:
        first = linked.reader()
        answers = answering(first)
        os.kill(answers, signal.SIGSTOP)
        until(lambda: states(answers) == {"T"})
        assert linked.link.ask("exist", [[str(log.path)]]) == [str(log.path)]
        until(lambda: states(first) <= {"Z"})
        assert not running(answers)
        assert linked.all(SourceDown)[0].reason == "the reader process does not answer questions"


def test_reader_that_has_begun_is_taken_first_and_another_is_started_after_it(monkeypatch):
    pairs = [socket.socketpair() for _ in range(4)]
    first, second = (spawn.Begun(pairs[at][0], pairs[at + 1][0]) for at in (0, 2))
    started = []
    monkeypatch.setattr(spawn, "reader", lambda: started.append(1) or second)
    connect = link.starter(first)
    ends = [connect(), connect()]
    assert started == [1]
    pairs[0][1].send(b"\0\0\0\2{}")
    assert ends[0].entries.receive(5.0) == {}
    for each in ends:
        assert each.close() == ""
    for _, other in pairs:
        other.close()


def test_each_reader_asks_glibc_for_its_fast_search():
    begun = spawn.child()
    try:
        environ = Path(f"/proc/{begun.process.pid}/environ").read_bytes().decode().split("\0")
    finally:
        begun.entries.close()
        begun.questions.close()
        begun.process.wait(20)
    assert f"GLIBC_TUNABLES={spawn.GLIBC_TUNABLES}" in environ
    assert f"Environment=GLIBC_TUNABLES={spawn.GLIBC_TUNABLES}" in (
        ROOT / "systemd/certmedic-reader.service"
    ).read_text().split("\n")
