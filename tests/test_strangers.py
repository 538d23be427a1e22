"""Lines of strangers are counted within one budget and listed, and have no other effect."""

from datetime import timedelta

import pytest

from certmedic.core.model import Severity, Trust
from certmedic.edge.store.strangers import MOST_ROWS
from certmedic.strangers import BYTES_A_SECOND, LINES_A_SECOND, who
from labs.played import REFUSED, REFUSING, Played, sick
from labs.values import DAY, NOW, entry, member


class Watched(Played):
    """A simulated machine that counts its probes."""

    looks = 0

    def gather(self, **asked):
        self.looks += 1
        return super().gather(**asked)

    def learn(self, origin):
        raise AssertionError(f"learned from {origin}")


def stranger(text, number=0, **origin):
    return entry(text.format(40000 + number), trust=Trust.STRANGER, **({"uid": 1000} | origin))


def test_lines_of_strangers_open_no_incident_and_start_no_probe(lab):
    lab = lab(world=Watched(files=member()))
    lab.step()
    looks = lab.world.looks
    for second in range(5):
        lab.loop.step([stranger(REFUSING, n) for n in range(20)], NOW + timedelta(seconds=second + 2))

    assert lab.incidents() == []
    assert lab.world.looks == looks
    assert lab.loop.sightings == 0
    (row,) = lab.store.strangers()
    assert (row["who"], row["symptom"], row["count"]) == ("uid 1000", "expired", 100)


def test_lines_beyond_the_budget_are_counted_with_one_journal_entry(lab):
    lab = lab(member())
    lab.step()
    for second in range(3):
        lab.loop.step([stranger(REFUSED, n) for n in range(LINES_A_SECOND + 10)], NOW + timedelta(seconds=second + 2))

    assert lab.loop.strangers.over_budget == 30
    assert sum(row["count"] for row in lab.store.strangers()) == 3 * LINES_A_SECOND
    assert [fields["CERTMEDIC_EVENT"] for fields in lab.world.journal].count("strangers") == 1


def test_budget_also_counts_bytes(lab):
    lab = lab(member())
    lab.loop.step([stranger(REFUSED + "x" * (BYTES_A_SECOND // 4), n) for n in range(10)], NOW)
    assert lab.loop.strangers.over_budget == 7


def test_flood_of_lines_of_strangers_does_not_delay_a_trusted_line(lab):
    lab = lab(sick(), mode="notify")
    flood = [stranger(f"x{n}: {REFUSING}", n, program=f"etcd-{n}") for n in range(1000)]
    lab.loop.step([*flood, entry(REFUSED.format(40001))], NOW + timedelta(seconds=1))
    assert [incident.diagnosis.severity for incident in lab.incidents()] == [Severity.CRITICAL]


def test_rows_of_strangers_are_limited_and_the_oldest_are_deleted(lab):
    lab = lab(member())
    with lab.store.transaction():
        for number in range(MOST_ROWS + 5):
            seen = NOW + timedelta(seconds=number)
            lab.store.stranger(f"uid {number}", "expired", "x", times=1, first=seen, last=seen)
        lab.store.prune_strangers()
    rows = lab.store.strangers()
    assert len(rows) == MOST_ROWS
    assert {"uid 0", "uid 4"}.isdisjoint(row["who"] for row in rows)


@pytest.mark.parametrize(
    ("origin", "name"),
    [
        ({"namespace": "default", "pod": "web", "container": "k8s_x", "uid": 0}, "pod default/web"),
        ({"container": "web"}, "container web"),
        ({"path": "/var/log/web.log"}, "file /var/log/web.log"),
        ({"unit": "prom.service", "uid": 998}, "unit prom.service (uid 998)"),
        ({"uid": 1000, "program": "etcd"}, "uid 1000"),  # a program's name is the stranger's choice
        ({}, "unknown"),
        ({"pod": "a\x1b[31m", "namespace": "b"}, "pod b/a [31m"),
    ],
)
def test_stranger_is_named_by_fields_that_it_cannot_choose(origin, name):
    assert who(entry("x", trust=Trust.STRANGER, **origin).origin) == name


def test_copies_by_a_stranger_do_not_deduplicate_a_trusted_line(lab):
    lab = lab(sick(), mode="notify")
    line = '2026-11-24 15:40:01.1 W | embed: rejected connection from "10.0.0.2:41001" (error "remote error: tls: bad certificate")'
    for stream in ("file:/tmp/a", "journal", "pod:/x"):
        lab.loop.step([stranger(line) for _ in range(5)], NOW + timedelta(seconds=1))
        lab.loop.step([entry(line, stream=stream, trust=Trust.CLUSTER)], NOW + timedelta(seconds=1))
    before = lab.loop.sightings
    lab.loop.step([entry(line, stream="journal")], NOW + timedelta(seconds=2))
    assert lab.loop.sightings == before + 1


def test_lines_of_other_pods_do_not_open_the_gate_fresh(lab):
    lab = lab(sick())
    lab.step()
    for second in range(30):
        at = NOW + timedelta(seconds=second + 2)
        lab.loop.step([entry(REFUSED.format(40000 + second), at=at, trust=Trust.CLUSTER)], at)
    assert lab.world.restarts == []
    (known,) = (incident for incident in lab.incidents() if incident.diagnosis.cause == "expired")
    assert known.system_seen is None
    assert "fresh" in [str(gate.name) for gate in known.decision.gates if not gate.passed]


def test_unproven_fault_does_not_close_an_expiry_warning(lab):
    lab = lab(member(peer_ends=NOW + 5 * DAY), mode="notify")
    for second in range(5):
        at = NOW + timedelta(seconds=second)
        lab.loop.step([entry(REFUSED.format(40000 + second), at=at, trust=Trust.CLUSTER)], at)
    assert [incident.state for incident in lab.incidents() if incident.diagnosis.cause == "expires_soon"] == ["open"]
