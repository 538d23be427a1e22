"""One line by several roads is one line, whichever road is behind, and by how much."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from certmedic.core import echo, symptoms
from labs.values import NOW, entry

SAID = 'rejected connection from "10.0.0.2:{port}" (error "remote error: tls: bad certificate", ServerName "etcd-a")'
PLAIN = "2026-11-24 15:32:44.123456 I | embed: " + SAID
KLOG = "I1124 15:32:44.123456       1 log.go:198] http: TLS handshake error from 10.0.0.7:{port}: remote error: tls: bad certificate"
ZAP = '{{"level":"warn","ts":"2026-11-24T15:32:44.123Z","caller":"embed/config.go:10","msg":"rejected connection","remote-addr":"10.0.0.2:{port}","error":"remote error: tls: bad certificate"}}'
ZAP_EPOCH = ZAP.replace('"2026-11-24T15:32:44.123Z"', "1795534364.123456")
LOGRUS = (
    '{{"level":"error","msg":"remote error: tls: bad certificate, from 10.0.0.2:{port}","time":"2026-11-24T15:32:44Z"}}'
)
STANDARD = "2026/11/24 15:32:44 http: TLS handshake error from 10.0.0.7:{port}: remote error: tls: bad certificate"


def words(text, *, at=NOW, stream="journal"):
    sighting = symptoms.parse(entry(text, at=at, stream=stream))
    assert sighting is not None, text
    return echo.words(sighting)


@pytest.mark.parametrize("line", [PLAIN, KLOG, ZAP, ZAP_EPOCH, LOGRUS, STANDARD])
def test_a_line_that_tells_its_time_is_known_again_whenever_it_is_read_and_whatever_is_around_it(line):
    text = line.format(port=41234)
    told = words(text)

    assert words(text, at=NOW + timedelta(hours=3), stream="file:/var/log/etcd.log") == told
    assert words(f"Nov 24 15:32:45 master-a etcd[812]: {text}", at=NOW + timedelta(hours=3)) == told
    assert words(f"2026-11-24T15:32:45.000123+00:00 master-a etcd[812]: {text}", at=NOW + timedelta(hours=3)) == told
    assert words(line.format(port=41235)) == told  # of another caller's port: it is counted
    assert words(text.replace("15:32:44", "15:32:45").replace("1795534364", "1795534365")) != told


def test_a_line_that_tells_no_time_has_that_of_its_source():
    told = words(SAID.format(port=41234))

    assert words(SAID.format(port=41234), at=NOW + timedelta(milliseconds=1)) == told
    assert words(SAID.format(port=41234), at=NOW + timedelta(seconds=2)) != told


def test_what_a_line_says_of_a_certificate_is_not_taken_for_its_own_time():
    text = "x509: certificate has expired or is not yet valid: current time 2026-11-24T15:40:00Z is after 2026-11-19T15:30:41Z"

    assert words(text) != words(text, at=NOW + timedelta(seconds=2))


def test_the_number_of_a_line_is_the_same_in_every_run():
    assert echo.number("a") == 2340832890917691671
    assert 0 <= echo.number("\udcff") < 1 << 63


ROADS = ("journal", "file:/var/log/etcd.log", "file:/var/log/syslog")


@given(
    written=some.lists(
        some.tuples(
            some.sampled_from(["docker:a", "docker:b", "pod:c"]),  # whose container said it
            some.sampled_from("xyz"),  # what and when
            some.sets(some.sampled_from(ROADS)),  # where it lies besides
        ),
        max_size=30,
    ),
    order=some.randoms(use_true_random=False),
)
def test_each_line_is_counted_once_in_whatever_order_the_roads_bring_them(written, order):
    queues = {}
    for container, what, roads in written:
        for stream in (container, *sorted(roads)):
            queues.setdefault(stream, []).append(what)
    brought, counted = {}, {}
    while queues:
        stream = order.choice(sorted(queues))  # any of them may be behind by any time
        what = queues[stream].pop(0)
        if not queues[stream]:
            del queues[stream]
        if not echo.is_echo(brought.setdefault(what, {}), stream):
            counted[what] = counted.get(what, 0) + 1

    assert counted == {what: sum(one == what for _, one, _ in written) for what in {one for _, one, _ in written}}


def written(text, now=NOW):
    sighting = symptoms.parse(entry(text))
    assert sighting is not None, text
    return echo.written_at(sighting, now)


@pytest.mark.parametrize("line", [PLAIN, KLOG, ZAP, ZAP_EPOCH, LOGRUS, STANDARD])
def test_second_that_a_line_was_written(line):
    assert written(line.format(port=41234)) == datetime(2026, 11, 24, 15, 32, 44, tzinfo=UTC)


@pytest.mark.parametrize(
    ("line", "stated"),
    [
        (SAID, "no second at all"),
        (PLAIN.replace("2026-11-24 ", ""), "no day"),
        (PLAIN.replace("-11-24", "-13-24"), "no month of the year"),
        (KLOG.replace("I1124", "I1324"), "no month of the year"),
        (KLOG.replace("I1124", "X1124"), "no level of klog"),
    ],
)
def test_line_that_states_no_day_was_written_at_no_known_time(line, stated):
    assert written(line.format(port=41234)) is None, stated


@pytest.mark.parametrize(
    ("now", "year"),
    [
        (datetime(2026, 11, 24, 15, 40, tzinfo=UTC), 2026),
        (datetime(2027, 1, 1, tzinfo=UTC), 2026),  # the year turned since
        (datetime(2026, 11, 23, 15, 32, 44, tzinfo=UTC), 2025),
        (datetime(2026, 11, 23, 15, 32, 45, tzinfo=UTC), 2026),  # a clock that is up to a day behind
    ],
)
def test_klog_tells_no_year(now, year):
    assert written(KLOG.format(port=41234), now) == datetime(year, 11, 24, 15, 32, 44, tzinfo=UTC)


@pytest.mark.parametrize(("before", "second"), [(0, "15:32:44"), (33, "15:32:44"), (34, "")])
def test_time_of_day_is_looked_for_in_the_first_40_characters(before, second):
    """The message does not stand in the line word by word, so nothing else tells where the time of day may be."""
    assert echo._second("x" * before + " 15:32:44 rest", "something else")[-8:] == second


def test_message_is_found_in_its_line_by_its_first_24_characters():
    """A shorter beginning would be found in the name of the program, before the later time of day."""
    message = "connection lost " * 3
    assert echo._second(f"15:32:44 connector: 15:32:45 {message}", message)[-8:] == "15:32:45"


@pytest.mark.parametrize(
    ("streams", "echoes"),
    [
        (["docker:a", "docker:b"], [False, False]),  # two programs said it
        (["docker:a", "pod:b"], [False, False]),
        (["docker:a", "journal"], [False, True]),
        (["journal", "file:/x", "file:/y"], [False, True, True]),
        (["journal", "journal", "file:/x", "file:/x", "file:/x"], [False, False, True, True, False]),
    ],
)
def test_line_is_an_echo_if_another_source_has_brought_it_as_often(streams, echoes):
    brought = {}
    assert [echo.is_echo(brought, stream) for stream in streams] == echoes
