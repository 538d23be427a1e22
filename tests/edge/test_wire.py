"""Frames and items between the agent and its reader: all of them arrive, and nonsense ends the connection."""

import json
import socket
import struct
from datetime import UTC, datetime

import pytest

from certmedic.core.model import LogEntry, Origin, Progress, SourceDown, SourceStatus, SourceUp, Trust
from certmedic.edge import wire
from certmedic.edge.wire import Connection, Hello, Watching, Welcome, WireError

ENTRY = LogEntry(
    stream="file:/var/log/\udcff.log",  # a file name may hold any bytes
    position='{"offset": 1}',
    time=datetime(2026, 11, 24, 15, 40, 1, 123456, UTC),
    text="remote error: tls: bad certificate \u2028 \x1b[31m",
    origin=Origin(program="etcd", unit="etcd.service", pid=7, uid=0, namespace="kube-system", trust=Trust.SYSTEM),
)
ITEMS = [
    ENTRY,
    Progress(stream="journal", position="s=1"),
    Progress(stream="docker:c1", position=None),
    SourceDown(source="docker", reason="no daemon answers"),
    SourceUp(source="docker"),
    SourceStatus(source="pods", seen=3, matched=1, lag_seconds=0.5, position="2 files", detail="one was truncated"),
]


@pytest.fixture
def ends():
    here, there = socket.socketpair()
    with here, there:
        yield here, there


def test_items_arrive_as_they_were_sent(ends):
    Connection(ends[0]).send(wire.items_to(ITEMS))

    assert wire.items_of(Connection(ends[1]).receive(5)) == ITEMS


def test_greetings_arrive_as_they_were_sent(ends):
    hello = Hello(watching=Watching(docker=None, files=("/var/log/etcd*.log",)), positions={"journal": "s=1"}, pid=4)
    welcome = Welcome(pid=9, there=("journal",))
    Connection(ends[0]).send(wire.dump(hello))
    Connection(ends[0]).send(wire.dump(welcome))

    other = Connection(ends[1])
    assert wire.hello_of(other.receive(5)) == hello
    assert wire.welcome_of(other.receive(5)) == welcome


def test_frame_in_pieces_is_put_together(ends):
    data = b'["x"]'
    other = Connection(ends[1])
    for byte in struct.pack(">I", len(data)) + data[:-1]:
        ends[0].send(bytes([byte]))
        assert other.receive(0.01) is None
    ends[0].send(data[-1:])
    assert other.receive(5) == ["x"]


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">I", wire.MOST + 1),
        struct.pack(">I", 4) + b"{{{{",
        struct.pack(">I", 2) + b"\xff\xff",
        struct.pack(">I", 200_000) + 200_000 * b"[",
    ],
    ids=["too large", "no JSON", "no text", "nested too deeply"],
)
def test_bad_frame_is_refused(ends, data):
    ends[0].settimeout(5)
    ends[0].sendall(data)
    with pytest.raises(WireError, match="sent a frame"):
        Connection(ends[1]).receive(5)


def test_end_of_the_connection_is_an_error(ends):
    ends[0].close()
    with pytest.raises(WireError, match="has ended"):
        Connection(ends[1]).receive(5)
    with pytest.raises(WireError, match="takes nothing"):
        Connection(ends[1]).send([])


def test_frame_that_is_too_large_is_not_sent(ends):
    with pytest.raises(WireError, match="more than"):
        Connection(ends[0]).send("x" * wire.MOST)


GOOD = wire.items_to([ENTRY])[0]


@pytest.mark.parametrize(
    "frame",
    [
        None,
        {},
        [None],
        [[]],
        [["command", "reboot"]],
        [["up"]],
        [["up", 7]],
        [["status", "pods", 1.5, 0, 0.0, "", ""]],
        [["status", "pods", 1, 0, "x", "", ""]],
        [["progress", "journal", 1]],
        [["entry", *GOOD[1:5]]],
        [[*GOOD[:3], "yesterday", *GOOD[4:]]],
        [[*GOOD[:4], None, GOOD[5]]],
        [[*GOOD[:5], [*GOOD[5][:-1], "root"]]],
        [[*GOOD[:5], ["etcd", "etcd.service", "7", *GOOD[5][3:]]]],
        [[*GOOD[:5], GOOD[5][:-2]]],
        [[*GOOD[:5], None]],
    ],
    ids=lambda frame: json.dumps(frame)[:60],
)
def test_items_of_another_shape_are_refused(frame):
    with pytest.raises(WireError, match="make no sense"):
        wire.items_of(frame)


@pytest.mark.parametrize(
    "frame", [None, [], {}, {"version": 1, "pid": 1}, {"version": 1, "pid": 1, "there": 5}, "hello"]
)
def test_nonsense_instead_of_a_greeting_is_refused(frame):
    with pytest.raises(WireError, match="nonsense"):
        wire.welcome_of(frame)


def test_greeting_of_another_version_is_refused():
    with pytest.raises(WireError, match="version 2 of the protocol"):
        wire.hello_of({"version": 2})
