"""The parse cache returns what `parse` returns, in a fraction of the time."""

from __future__ import annotations

import random
import re
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certmedic.core import echo, symptoms
from certmedic.core.model import LogEntry, Origin, Sighting
from certmedic.core.symptoms import cache
from certmedic.core.symptoms.report import NoReport, Parts, Report

NOW = datetime(2026, 11, 24, 15, 32, 49, tzinfo=UTC)
SAMPLES = [sample for rule in symptoms.RULES for sample in rule.samples]
# Envelopes of a message; {at} is the time, {port} is the caller's port.
ENVELOPES = (
    "{line}",
    "{at:%Y-%m-%d %H:%M:%S.%f} I | {line}",
    "E{at:%m%d %H:%M:%S.%f}       1 log.go:198] {line}",
    '{{"level":"warn","ts":"{at:%Y-%m-%dT%H:%M:%S}.123Z","caller":"embed/config.go:1","msg":"rejected connection","remote-addr":"10.0.0.2:{port}","error":{quoted}}}',
    '{{"level":"warn","ts":{unix}.25,"msg":"rejected connection","remote-addr":"10.0.0.2:{port}","error":{quoted}}}',
    'time="{at:%Y-%m-%dT%H:%M:%SZ}" level=error msg={quoted}',
    "{at:%b %d %H:%M:%S} master-a etcd[{pid}]: {line}",
    "[ 1234.567{port}] etcd[{pid}]: {line}",
    "http: TLS handshake error from 10.0.0.2:{port}: {line}",
    "10.0.0.9:{port} {line} 10.0.0.1:{port}",
    'Get "https://10.0.0.1:{port}/api": {line}: current time {at:%Y-%m-%dT%H:%M:%SZ} is after 2026-11-19T15:30:41Z',
)
PORTS = st.sampled_from((2379, 6443, 10250, 40000, 40001, 59999)) | st.integers(1, 65535)
TIMES = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)) | st.just(NOW.replace(tzinfo=None))  # noqa: DTZ001 - programs write times without a zone


def entry(text: str, *, at: datetime = NOW, stream: str = "t", **origin: object) -> LogEntry:
    return LogEntry(stream=stream, position="1", time=at, text=text, origin=Origin(**origin))


def wrapped(envelope: str, line: str, at: datetime, port: int, pid: int = 4711) -> str:
    line = re.sub(r":\d{4,5}\b", f":{port}", line)
    line = re.sub(r"(current time )\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", rf"\g<1>{at:%Y-%m-%dT%H:%M:%S}Z", line)
    quoted = '"' + line.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return envelope.format(line=line, quoted=quoted, at=at, port=port, pid=pid, unix=1_700_000_000 + port)


def same(parse_cache: symptoms.ParseCache, line: LogEntry) -> None:
    cached, parsed = parse_cache.parse(line), symptoms.parse(line)
    assert cached == parsed
    if cached is not None and parsed is not None:
        assert list(cached.fields.items()) == list(parsed.fields.items())
        assert cached.fold == parsed.fold
        assert cached.entry is line
    counted_as_parsed(parse_cache.find(line), line, parsed)


def counted_as_parsed(reported: tuple[Report, Parts] | None, line: LogEntry, parsed: Sighting | None) -> None:
    """Assert that a line is counted, without its sighting, as the parsed one would be."""
    assert (reported is None) is (parsed is None)
    if reported is not None and parsed is not None:
        report, parts = reported
        assert report.fold(parts) == parsed.fold
        assert report.words(line, parts) == echo.words(parsed)
        assert report.remote(parts) == parsed.fields.get("remote_addr", "")


@pytest.mark.parametrize("envelope", ENVELOPES)
def test_every_sample_is_cached_and_equals_what_parse_returns(envelope):
    parse_cache, dice = symptoms.ParseCache(), random.Random(1)  # noqa: S311 - the same lines each time
    for sample in SAMPLES:
        for _ in range(5):
            at = NOW + timedelta(seconds=dice.randrange(10**7), microseconds=dice.randrange(10**6))
            same(
                parse_cache,
                entry(wrapped(envelope, sample, at, dice.randrange(10_000, 65_536), dice.randrange(1000, 9999))),
            )
    assert [key for key, known in parse_cache._known.items() if known is NoReport.UNSTEADY] == []


@given(
    st.lists(
        st.tuples(st.sampled_from(ENVELOPES), st.sampled_from(SAMPLES), TIMES, PORTS, st.integers(1, 4194304)),
        min_size=1,
        max_size=6,
    )
)
@settings(max_examples=2 * settings.default.max_examples, deadline=None)
def test_any_ports_times_and_pids_equal_what_parse_returns(lines):
    parse_cache = symptoms.ParseCache()
    for _ in range(3):  # first seen, then learnt, then cached
        for envelope, sample, at, port, pid in lines:
            same(parse_cache, entry(wrapped(envelope, sample, at, port, pid)))
    for envelope, sample, at, port, pid in lines:
        same(
            parse_cache, entry(wrapped(envelope, sample, at + timedelta(days=1, seconds=1), port % 65535 + 1, pid + 1))
        )


@given(st.text(max_size=60), st.text(max_size=60), st.integers(10_000, 65_534))
@settings(deadline=None)
def test_strange_text_equals_what_parse_returns(before, behind, port):
    parse_cache = symptoms.ParseCache()
    for number in (port, port, port + 1):
        same(parse_cache, entry(f"{before}10.0.0.2:{number}: remote error: tls: bad certificate{{0}}%s{behind}"))


def test_line_with_lone_surrogates_equals_what_parse_returns():
    parse_cache = symptoms.ParseCache()
    for text in ("remote error: tls: bad certificate \ud800", "remote error: tls: bad certificate \udfff"):
        for _ in range(4):
            line = entry(text, path="/var/log/\udcff.log")
            cached = parse_cache.parse(line)
            assert cached == symptoms.parse(line)
            assert cached is not None
            cached.entry.text.encode()
            cached.entry.origin.path.encode()


def test_lines_of_two_origins_are_cached_apart():
    parse_cache = symptoms.ParseCache()
    text = "remote error: tls: bad certificate"
    for program in ("etcd", "kubelet", "etcd", "kubelet", "etcd", "kubelet"):
        same(parse_cache, entry(text, program=program))


def test_variable_parts_that_were_equal_may_differ_later():
    # The parser appends the error unless the message contains it.
    line = '{{"msg":"dial 10.0.0.2:{}: remote error: tls: bad certificate","error":"10.0.0.2:{}: remote error: tls: bad certificate"}}'
    for different, equal in ((0, 1), (1, 0)):
        parse_cache = symptoms.ParseCache()
        for port in range(40000, 40012):
            same(parse_cache, entry(line.format(port, port + (equal if port % 4 < 2 else different))))


def test_cache_does_not_ignore_certificate_dates_and_service_ports():
    for before, after in (
        ("2026-11-19T15:30:41Z", "2026-11-20T15:30:41Z"),
        ("https://127.0.0.1:2379", "https://127.0.0.1:6443"),
    ):
        line = 'Get "https://127.0.0.1:2379/x": x509: certificate has expired or is not yet valid: current time 2026-11-24T15:40:00Z is after 2026-11-19T15:30:41Z'
        parse_cache = symptoms.ParseCache()
        for text in (line, line, line, line.replace(before, after), line.replace(before, after), line):
            same(parse_cache, entry(text, program="kube-apiserver"))


def test_cache_does_not_ignore_a_date_that_decides_the_symptom():
    line = "x509: certificate has expired or is not yet valid: current time 2026-11-24T15:40:00Z is after 2026-11-{}T15:30:41.25Z"
    parse_cache = symptoms.ParseCache()
    for day in (19, 19, 19, 20, 21):
        same(parse_cache, entry(line.format(day)))


def test_lines_without_sighting_and_long_lines_equal_what_parse_returns():
    parse_cache = symptoms.ParseCache()
    for text in ("unknown flag from 10.0.0.2:40000", "x" * cache.LONGEST + " remote error: tls: bad certificate"):
        for _ in range(4):
            same(parse_cache, entry(text))


def test_invented_lines_do_not_grow_the_cache_beyond_its_limit():
    parse_cache = symptoms.ParseCache()
    for number in range(3 * cache.MOST):
        for _ in range(2):
            parse_cache.parse(entry(f"{'x' * (number % 700)}: name {number}: remote error: tls: bad certificate"))
    kept = (parse_cache._shapes, parse_cache._known, parse_cache._met)
    assert max(map(len, kept)) <= cache.MOST


@pytest.mark.parametrize(
    ("later", "is_kept"), [(timedelta(minutes=59), True), (cache.KEPT_FOR, False), (-timedelta(hours=2), False)]
)
def test_cache_is_emptied_once_an_hour_and_after_the_clock_was_set_back(later, is_kept):
    parse_cache = symptoms.ParseCache()
    parse_cache.empty(NOW)
    for _ in range(3):
        parse_cache.parse(entry("remote error: tls: bad certificate"))
    parse_cache.empty(NOW + later)
    assert bool(parse_cache._shapes and parse_cache._known) is is_kept
    assert isinstance(parse_cache.parse(entry("remote error: tls: bad certificate")), Sighting)


def test_cache_halves_the_cost_of_a_storm():
    line = 'rejected connection from "10.0.0.2:{}" (error "remote error: tls: bad certificate", ServerName "etcd-a")'
    entries = [entry(line.format(30000 + number)) for number in range(2000)]

    def cost(parse) -> float:
        began = time.process_time()
        for line_entry in entries:
            assert isinstance(parse(line_entry), Sighting)
        return time.process_time() - began

    parse_cache = symptoms.ParseCache()
    assert min(cost(parse_cache.parse) for _ in range(3)) < min(cost(symptoms.parse) for _ in range(3)) / 2
