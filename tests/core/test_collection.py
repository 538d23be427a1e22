"""Facts and failures that were packed on a master are read back as they were."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from certmedic.core import symptoms
from certmedic.core.collection import ABOUT, FACTS, FAILURES, Collected, collected_of, files_of
from certmedic.core.model import LogEntry
from certmedic.core.sightings import counted
from labs.values import facts, member

NOW = datetime(2026, 11, 24, tzinfo=UTC)
LINE = 'rejected connection from "10.0.0.2:41000" (error "remote error: tls: bad certificate", ServerName "etcd-a")'


def collected():
    sighting = symptoms.parse(LogEntry(stream="journal", position="1", time=NOW, text=LINE))
    return Collected(facts=facts(member()), folds=(counted(None, sighting, NOW),))


def test_facts_and_failures_come_back():
    held = collected()
    packed = files_of(held, {"host": "a"}, {"status": {"password": "x"}}, {"etcd.log": "password=x\n"})

    assert collected_of(packed) == held
    assert packed["logs/etcd.log"] == b"password=(removed)\n"
    assert list(packed)[:3] == [ABOUT, FACTS, FAILURES]


def test_certificates_are_files_at_their_path():
    packed = files_of(collected(), {}, {}, {})
    paths = {f"certificates{stored.certificate.path}" for stored in collected().facts.stored}

    assert paths <= set(packed)
    assert all(packed[path].startswith(b"-----BEGIN CERTIFICATE-----\n") for path in paths)


def test_path_of_a_certificate_cannot_leave_its_folder():
    held = collected()
    for path, name in (("/../../x", "certificates/x"), ("/..", "certificates/unnamed")):
        stored = held.facts.stored[0]
        moved = replace(stored, certificate=replace(stored.certificate, path=path))
        assert name in files_of(replace(held, facts=replace(held.facts, stored=(moved,))), {}, {}, {})


@pytest.mark.parametrize("name", [ABOUT, FACTS, FAILURES])
@pytest.mark.parametrize("content", [None, b"", b"[]", b"null", b'{"schema": 2}', b"\xff"])
def test_nonsense_is_refused(name, content):
    packed = {file: data for file, data in files_of(collected(), {}, {}, {}).items() if file != name}
    packed |= {} if content is None else {name: content}
    if (name, content) == (FAILURES, b"[]"):
        assert collected_of(packed).folds == ()
        return
    with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
        collected_of(packed)
