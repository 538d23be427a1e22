"""The same line from several sources counts once, however far a source lags behind."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from certmedic.core import echo, symptoms
from labs.values import NOW, entry

REJECTION = (
    'rejected connection from "10.0.0.2:{port}" (error "remote error: tls: bad certificate", ServerName "etcd-a")'
)
PLAIN = "2026-11-24 15:32:44.123456 I | embed: " + REJECTION
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
def test_line_with_a_timestamp_has_the_same_words_in_every_source_and_envelope(line):
    text = line.format(port=41234)
    original = words(text)

    assert words(text, at=NOW + timedelta(hours=3), stream="file:/var/log/etcd.log") == original
    assert words(f"Nov 24 15:32:45 master-a etcd[812]: {text}", at=NOW + timedelta(hours=3)) == original
    assert (
        words(f"2026-11-24T15:32:45.000123+00:00 master-a etcd[812]: {text}", at=NOW + timedelta(hours=3)) == original
    )
    assert words(line.format(port=41235)) == original  # the caller's port is normalised, and the line counts again
    assert words(text.replace("15:32:44", "15:32:45").replace("1795534364", "1795534365")) != original


def test_line_without_a_timestamp_takes_the_time_of_its_source():
    original = words(REJECTION.format(port=41234))

    assert words(REJECTION.format(port=41234), at=NOW + timedelta(milliseconds=1)) == original
    assert words(REJECTION.format(port=41234), at=NOW + timedelta(seconds=2)) != original


def test_date_of_a_certificate_is_not_read_as_the_timestamp_of_the_line():
    text = "x509: certificate has expired or is not yet valid: current time 2026-11-24T15:40:00Z is after 2026-11-19T15:30:41Z"

    assert words(text) != words(text, at=NOW + timedelta(seconds=2))


def test_number_of_a_line_is_the_same_in_every_run():
    assert echo.number("a") == 2340832890917691671
    assert 0 <= echo.number("\udcff") < 1 << 63


OTHER_SOURCES = ("journal", "file:/var/log/etcd.log", "file:/var/log/syslog")


@given(
    written=some.lists(
        some.tuples(
            some.sampled_from(["docker:a", "docker:b", "pod:c"]),  # the container that logged the line
            some.sampled_from("xyz"),  # its text and time
            some.sets(some.sampled_from(OTHER_SOURCES)),  # the other sources that carry it
        ),
        max_size=30,
    ),
    order=some.randoms(use_true_random=False),
)
def test_each_line_counts_once_in_any_order_of_its_sources(written, order):
    queues = {}
    for container, what, sources in written:
        for stream in (container, *sorted(sources)):
            queues.setdefault(stream, []).append(what)
    brought, counted = {}, {}
    while queues:
        stream = order.choice(sorted(queues))  # any source may lag behind by any time
        what = queues[stream].pop(0)
        if not queues[stream]:
            del queues[stream]
        if echo.new_arrivals(brought.setdefault(what, {}), stream):
            counted[what] = counted.get(what, 0) + 1

    assert counted == {
        what: sum(logged == what for _, logged, _ in written) for what in {logged for _, logged, _ in written}
    }


def written(text, now=NOW):
    sighting = symptoms.parse(entry(text))
    assert sighting is not None, text
    return echo.written_at(sighting, now)


@pytest.mark.parametrize("line", [PLAIN, KLOG, ZAP, ZAP_EPOCH, LOGRUS, STANDARD])
def test_time_of_writing_is_read_from_each_log_format(line):
    assert written(line.format(port=41234)) == datetime(2026, 11, 24, 15, 32, 44, tzinfo=UTC)


def test_time_of_writing_of_syslog_is_in_the_year_before_if_it_is_ahead_of_now():
    line = "Nov 24 15:32:44 master-a etcd[7]: " + REJECTION.format(port=41234)
    assert written(line) == datetime(2026, 11, 24, 15, 32, 44, tzinfo=UTC)
    assert written(line, datetime(2026, 3, 1, tzinfo=UTC)) == datetime(2025, 11, 24, 15, 32, 44, tzinfo=UTC)


@pytest.mark.parametrize(
    ("line", "stated"),
    [
        (REJECTION, "no second at all"),
        (PLAIN.replace("2026-11-24 ", ""), "no day"),
        (PLAIN.replace("-11-24", "-13-24"), "no month of the year"),
        (KLOG.replace("I1124", "I1324"), "no month of the year"),
        (KLOG.replace("I1124", "X1124"), "no level of klog"),
    ],
)
def test_line_without_a_full_date_has_no_time_of_writing(line, stated):
    assert written(line.format(port=41234)) is None, stated


@pytest.mark.parametrize(
    ("now", "year"),
    [
        (datetime(2026, 11, 24, 15, 40, tzinfo=UTC), 2026),
        (datetime(2027, 1, 1, tzinfo=UTC), 2026),  # the new year began after the line
        (datetime(2026, 11, 23, 15, 32, 44, tzinfo=UTC), 2025),
        (datetime(2026, 11, 23, 15, 32, 45, tzinfo=UTC), 2026),  # the clock may be a day behind
    ],
)
def test_klog_line_gets_the_latest_year_that_is_not_in_the_future(now, year):
    assert written(KLOG.format(port=41234), now) == datetime(year, 11, 24, 15, 32, 44, tzinfo=UTC)


@pytest.mark.parametrize(("before", "second"), [(0, "15:32:44"), (33, "15:32:44"), (34, "")])
def test_time_of_day_is_searched_in_the_first_40_characters(before, second):
    """The line does not contain the message verbatim, so the message does not limit the search."""
    assert echo._second("x" * before + " 15:32:44 rest", "something else")[-8:] == second


def test_message_is_found_in_its_line_by_its_first_24_characters():
    """A shorter prefix would match the program's name, which comes before the later time of day."""
    message = "connection lost " * 3
    assert echo._second(f"15:32:44 connector: 15:32:45 {message}", message)[-8:] == "15:32:45"


@pytest.mark.parametrize(
    ("streams", "echoes"),
    [
        (["docker:a", "docker:b"], [False, False]),  # two programs logged it
        (["docker:a", "pod:b"], [False, False]),
        (["docker:a", "journal"], [False, True]),
        (["journal", "file:/x", "file:/y"], [False, True, True]),
        (["journal", "journal", "file:/x", "file:/x", "file:/x"], [False, False, True, True, False]),
    ],
)
def test_line_is_a_duplicate_while_another_source_has_brought_more_copies(streams, echoes):
    brought = {}
    assert [not echo.new_arrivals(brought, stream) for stream in streams] == echoes


ARRIVALS = some.lists(
    some.tuples(some.sampled_from(("docker:a", "journal", "file:/x")), some.integers(1, 4)), max_size=12
)


@given(ARRIVALS)
def test_arrivals_that_are_taken_together_count_as_one_by_one(arrivals):
    together, one_by_one = {}, {}
    for stream, times in arrivals:
        singles = [echo.new_arrivals(one_by_one, stream) for _ in range(times)]
        assert echo.new_arrivals(together, stream, times) == sum(singles)
    assert together == one_by_one
