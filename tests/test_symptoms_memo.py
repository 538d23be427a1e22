"""A memory in front of `parse` must never be seen in what comes out, but in how long it takes."""

from __future__ import annotations

import random
import re
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certmedic.core import symptoms
from certmedic.core.model import LogEntry, Origin, Sighting
from certmedic.core.symptoms import cache

NOW = datetime(2026, 11, 24, 15, 32, 49, tzinfo=UTC)
SAMPLES = [sample for rule in symptoms.RULES for sample in rule.samples]
# What programs put around a message; {at} is when, {port} whose.
DRESSES = (
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
TIMES = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)) | st.just(NOW.replace(tzinfo=None))  # noqa: DTZ001 - written without a zone, as programs do


def entry(text: str, *, at: datetime = NOW, stream: str = "t", **origin: object) -> LogEntry:
    return LogEntry(stream=stream, position="1", time=at, text=text, origin=Origin(**origin))


def dressed(dress: str, line: str, at: datetime, port: int, pid: int = 4711) -> str:
    line = re.sub(r":\d{4,5}\b", f":{port}", line)
    line = re.sub(r"(current time )\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", rf"\g<1>{at:%Y-%m-%dT%H:%M:%S}Z", line)
    quoted = '"' + line.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return dress.format(line=line, quoted=quoted, at=at, port=port, pid=pid, unix=1_700_000_000 + port)


def same(memory: symptoms.Memo, one: LogEntry) -> None:
    remembered, parsed = memory.parse(one), symptoms.parse(one)
    assert remembered == parsed
    if remembered is not None and parsed is not None:
        assert list(remembered.fields.items()) == list(parsed.fields.items())
        assert remembered.fold == parsed.fold
        assert remembered.entry is one


@pytest.mark.parametrize("dress", DRESSES)
def test_every_sample_is_remembered_and_told_as_if_it_was_not(dress):
    memory, dice = symptoms.ParseCache(), random.Random(1)  # noqa: S311 - the same lines each time
    for sample in SAMPLES:
        for _ in range(5):
            at = NOW + timedelta(seconds=dice.randrange(10**7), microseconds=dice.randrange(10**6))
            same(memory, entry(dressed(dress, sample, at, dice.randrange(10_000, 65_536), dice.randrange(1000, 9999))))
    assert [key for key, known in memory._known.items() if known is None] == []


@given(
    st.lists(
        st.tuples(st.sampled_from(DRESSES), st.sampled_from(SAMPLES), TIMES, PORTS, st.integers(1, 4194304)),
        min_size=1,
        max_size=6,
    )
)
@settings(max_examples=200, deadline=None)
def test_whatever_ports_times_and_pids_lines_bear_each_is_told_as_parsed(lines):
    memory = symptoms.ParseCache()
    for _ in range(3):  # met, learnt, remembered
        for dress, sample, at, port, pid in lines:
            same(memory, entry(dressed(dress, sample, at, port, pid)))
    for dress, sample, at, port, pid in lines:
        same(memory, entry(dressed(dress, sample, at + timedelta(days=1, seconds=1), port % 65535 + 1, pid + 1)))


@given(st.text(max_size=60), st.text(max_size=60), st.integers(10_000, 65_534))
@settings(deadline=None)
def test_strange_text_is_told_as_parsed(before, behind, port):
    memory = symptoms.ParseCache()
    for number in (port, port, port + 1):
        same(memory, entry(f"{before}10.0.0.2:{number}: remote error: tls: bad certificate{{0}}%s{behind}"))


def test_who_wrote_a_line_makes_a_difference():
    memory = symptoms.ParseCache()
    text = "remote error: tls: bad certificate"
    for program in ("etcd", "kubelet", "etcd", "kubelet", "etcd", "kubelet"):
        same(memory, entry(text, program=program))


def test_two_parts_that_are_equal_once_are_not_taken_to_be_equal_always():
    # An error is told behind the message unless the message holds it.
    line = '{{"msg":"dial 10.0.0.2:{}: remote error: tls: bad certificate","error":"10.0.0.2:{}: remote error: tls: bad certificate"}}'
    for different, equal in ((0, 1), (1, 0)):
        memory = symptoms.ParseCache()
        for port in range(40000, 40012):
            same(memory, entry(line.format(port, port + (equal if port % 4 < 2 else different))))


def test_dates_of_a_certificate_and_ports_of_services_are_no_variable_parts():
    for one, other in (
        ("2026-11-19T15:30:41Z", "2026-11-20T15:30:41Z"),
        ("https://127.0.0.1:2379", "https://127.0.0.1:6443"),
    ):
        line = 'Get "https://127.0.0.1:2379/x": x509: certificate has expired or is not yet valid: current time 2026-11-24T15:40:00Z is after 2026-11-19T15:30:41Z'
        memory = symptoms.ParseCache()
        for text in (line, line, line, line.replace(one, other), line.replace(one, other), line):
            same(memory, entry(text, program="kube-apiserver"))


def test_what_a_verdict_hangs_on_is_never_taken_for_a_variable_part():
    line = "x509: certificate has expired or is not yet valid: current time 2026-11-24T15:40:00Z is after 2026-11-{}T15:30:41.25Z"
    memory = symptoms.ParseCache()
    for day in (19, 19, 19, 20, 21):
        same(memory, entry(line.format(day)))


def test_lines_of_which_nothing_is_said_and_lines_too_long_are_told_as_parsed():
    memory = symptoms.ParseCache()
    for text in ("unknown flag from 10.0.0.2:40000", "x" * cache.LONGEST + " remote error: tls: bad certificate"):
        for _ in range(4):
            same(memory, entry(text))


def test_what_strangers_make_up_does_not_fill_the_memory():
    memory = symptoms.ParseCache()
    for number in range(3 * cache.MOST):
        for _ in range(2):
            memory.parse(entry(f"{'x' * (number % 700)}: name {number}: remote error: tls: bad certificate"))
    kept = (memory._shapes, memory._known, memory._met)
    assert max(map(len, kept)) <= cache.MOST


def test_a_storm_costs_a_fraction():
    line = 'rejected connection from "10.0.0.2:{}" (error "remote error: tls: bad certificate", ServerName "etcd-a")'
    entries = [entry(line.format(30000 + number)) for number in range(2000)]

    def cost(parse) -> float:
        began = time.process_time()
        for one in entries:
            assert isinstance(parse(one), Sighting)
        return time.process_time() - began

    memory = symptoms.ParseCache()
    assert min(cost(memory.parse) for _ in range(3)) < min(cost(symptoms.parse) for _ in range(3)) / 2
