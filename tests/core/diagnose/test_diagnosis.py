"""How much a line counts: by the trust of its origin, and by whether a stranger can provoke it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from certmedic.core import diagnose as doctor
from certmedic.core.model import (
    Cause,
    Fold,
    RejectedBy,
    Role,
    Served,
    Sighting,
    Suspect,
    Symptom,
    Trust,
)
from labs.values import (
    DAY,
    NOW,
    PEERS_CA,
    VOLUME,
    container,
    entry,
    facts,
    member,
    stored,
)

ENDED = NOW - 5 * DAY
ME, SERVER = f"{VOLUME}/peers/me.crt", f"{VOLUME}/clients/server.crt"


def seen(
    symptom,
    rejected_by,
    role,
    *,
    program="etcd",
    remote="10.0.0.2:41000",
    not_after=None,
    message="the line",
    origin=None,
    **fields,
):
    if remote:
        fields["remote_addr"] = remote
    sighting = Sighting(
        entry=entry(message, **(origin or {})),
        rule="test",
        symptom=symptom,
        rejected_by=rejected_by,
        suspect=Suspect.OWN if rejected_by is RejectedBy.REMOTE else Suspect.PEER,
        role=role,
        program=program,
        message=message,
        meaning="",
        fields=fields,
        not_after=not_after,
    )
    return Fold(sighting=sighting, count=3, first_seen=NOW, last_seen=NOW)


def refused(symptom=Symptom.BAD_CERTIFICATE_ALERT, role=Role.SERVER, **more):
    """Return a fold in which a remote program rejected our certificate."""
    return seen(symptom, RejectedBy.REMOTE, role, **more)


def refusing(symptom=Symptom.EXPIRED, role=Role.SERVER, **more):
    """Return a fold in which the logging program rejected a remote certificate."""
    return seen(symptom, RejectedBy.LOCAL, role, **more)


def judged(fold, files=None, **more):
    return doctor.diagnose(fold, facts(files, **more))


def paths(diagnosis):
    return [certificate.path for certificate in diagnosis.certificates]


def own_file(rule, **fields):
    """Return a fold in which a program complains about one of its files."""
    fold = refusing(Symptom.OTHER, Role.UNKNOWN, remote="", message="open it: no", **fields)
    return replace(fold, sighting=replace(fold.sighting, suspect=Suspect.OWN, rule=rule))


STRANGER = {"trust": Trust.STRANGER, "namespace": "tenant", "pod": "etcd-manager-main-x"}


@pytest.mark.parametrize("rejected", [refused, refusing])
def test_line_of_a_stranger_is_recorded_as_information_without_a_remedy(rejected):
    diagnosis = judged(rejected(not_after=ENDED, remote="127.0.0.1:5000", origin=STRANGER), member(peer_ends=ENDED))

    assert (diagnosis.severity, diagnosis.suspect, diagnosis.trust) == ("info", "unknown", Trust.STRANGER)
    assert (diagnosis.certificates, diagnosis.remedy.command, diagnosis.neighbours) == ((), "", ())
    assert diagnosis.key == "stranger|pod tenant/etcd-manager-main-x"


def test_program_names_of_one_origin_share_one_key():
    names, files = [f"program-{number}" for number in range(400)], member()
    assert len({judged(refusing(program=name, origin=STRANGER), files).key for name in names}) == 1
    system = {"unit": "kubelet.service"}
    assert len({judged(refusing(program=name, origin=system), files).key for name in names}) == 1
    assert len({judged(refused(program=name, origin=system), ()).key for name in names}) == 1


@pytest.mark.parametrize("trust", [Trust.CLUSTER, Trust.STRANGER])
def test_files_and_listeners_of_strangers_are_no_evidence(trust):
    files = tuple(replace(file, trust=trust) for file in member(peer_ends=ENDED))
    old = stored(PEERS_CA.leaf("etcd-a", not_after=ENDED), ME)
    served = (Served(address="127.0.0.1", port=2380, certificate=old.certificate, trust=trust),)

    assert judged(refused(), files).cause is Cause.UNEXPLAINED
    assert judged(refused(), served=served).cause is Cause.DISTRUSTED


def test_failed_call_of_an_unknown_client_to_a_healthy_member_is_information():
    fold = refused(role=Role.SERVER, remote="10.9.9.9:5000", message="rejected connection on client endpoint")

    diagnosis = judged(fold)

    assert (diagnosis.cause, diagnosis.severity) == (Cause.DISTRUSTED, "info")


@pytest.mark.parametrize(
    ("more", "severity"),
    [
        ({}, "info"),
        ({"peers": frozenset({"10.0.0.2"})}, "critical"),
        ({"called": (("peer", "old-a.example"),)}, "critical"),
    ],
)
def test_missing_name_is_critical_only_if_a_member_calls_or_etcd_advertises_it(more, severity):
    diagnosis = judged(refused(server_name="old-a.example"), **more)

    assert (diagnosis.cause, diagnosis.severity) == (Cause.NAME_MISMATCH, severity)
    assert diagnosis.key.startswith("caller|") is (severity == "info")


@pytest.mark.parametrize(
    ("role", "more", "severity"),
    [
        (Role.SERVER, {}, "info"),
        (Role.SERVER, {"peers": frozenset({"10.0.0.2"})}, "warning"),
        (Role.CLIENT, {}, "warning"),
    ],
)
def test_expired_certificate_of_an_unknown_client_is_information(role, more, severity):
    assert judged(refusing(role=role, not_after=ENDED), **more).severity == severity


def test_only_rejection_by_a_member_counts_as_another_clock():
    files = member(peer_ends=ENDED)
    assert judged(refused(), files).neighbours == ()
    assert judged(refused(), files, peers=frozenset({"10.0.0.2"})).neighbours == ("10.0.0.2",)


def test_stale_etcd_manager_is_proven_by_its_own_line_or_by_its_age():
    origin = {"pod": "etcd-manager-main-ip-10-0-0-1", "container_id": "c1"}
    loopback = refusing(not_after=ENDED, remote="127.0.0.1:5000", origin=origin)
    assert judged(loopback).severity == "info"  # any local program can make this call
    aged = (container(started_at=ENDED - timedelta(days=730)),)
    assert (judged(loopback, containers=aged).cause, judged(loopback, containers=aged).severity) == (
        Cause.STALE_IN_MEMORY,
        "critical",
    )

    itself = refused(
        role=Role.CLIENT, program="etcd-manager", remote="", endpoint="https://127.0.0.1:4001", origin=origin
    )
    assert (judged(itself).cause, judged(itself).severity, judged(itself).remedy.helps) == (
        Cause.STALE_IN_MEMORY,
        "critical",
        "yes",
    )


def test_line_of_a_cluster_pod_is_a_warning_unless_a_file_proves_it():
    origin = {"trust": Trust.CLUSTER, "unit": "x"}
    fold = own_file("own-key-mismatch")
    fold = replace(fold, sighting=replace(fold.sighting, entry=entry("x", **origin)))
    assert judged(fold).severity == "warning"
    assert judged(refused(origin=origin), member(peer_ends=ENDED)).severity == "critical"


@pytest.mark.parametrize(
    ("origin", "name"),
    [
        ({"namespace": "kube-system", "pod": "x"}, "pod kube-system/x"),
        ({"pod": "x", "container": "c"}, "pod /x"),
        ({"container": "c", "path": "/p"}, "container c"),
        ({"path": "/var/log/x.log", "uid": 0}, "file /var/log/x.log"),
        ({"uid": 0}, "uid 0"),
        ({}, "journal"),
        ({"container": "c\n\u202ex"}, "container c x"),
    ],
)
def test_stranger_is_identified_by_fields_that_it_cannot_choose(origin, name):
    fold = refused(origin={"trust": Trust.STRANGER, **origin})
    assert judged(fold).key == f"stranger|{name}"


@pytest.mark.parametrize(
    ("called", "missing"),
    [
        ((), "10.0.0.1 or fd00::1"),  # no advertised name: clients use an address, but not loopback
        ((("server", "etcd-x.internal.example"),), "etcd-x.internal.example"),
        ((("server", "etcd-x.internal.example"), ("peer", "10.9.9.9")), "10.9.9.9"),
    ],
)
def test_caller_without_sni_uses_an_advertised_name_or_an_address(called, missing):
    here = frozenset({"127.0.0.1", "10.0.0.1", "fd00::1"})
    fold = refused(remote="10.0.0.2:41000", server_name="")
    looked = replace(facts(called=called, peers=frozenset({"10.0.0.2"})), addresses=here)
    diagnosis = doctor.diagnose(fold, looked)
    assert diagnosis.cause is Cause.NAME_MISMATCH
    assert any(f"{ME}: clients call {missing}, but it holds only" in line for line in diagnosis.evidence)


@pytest.mark.parametrize("peers", [(), ("10.0.0.2",)])
def test_line_without_sni_is_no_name_mismatch(peers):
    assert judged(refused(), peers=frozenset(peers)).cause is Cause.DISTRUSTED


@pytest.mark.parametrize(
    ("files", "cause"),
    [
        (member(server_ends=ENDED), Cause.EXPIRED),
        (tuple(replace(stored_, key_matches=False) for stored_ in member()), Cause.KEY_MISMATCH),
    ],
)
def test_certificate_that_a_program_calls_its_own_is_read_for_the_fault(files, cause):
    fold = refusing(Symptom.OTHER, Role.SERVER, remote="")
    diagnosis = judged(replace(fold, sighting=replace(fold.sighting, suspect=Suspect.OWN)), files)
    assert (diagnosis.cause, diagnosis.suspect) == (cause, "own")
    assert any("this machine refused its own certificate" in line for line in diagnosis.evidence)


@pytest.mark.parametrize(("listener", "path"), [("peer", ME), ("client", SERVER)])
def test_failed_listener_of_etcd_names_the_certificate_that_it_loads(listener, path):
    fold = own_file("own-key-mismatch")
    fold = replace(fold, sighting=replace(fold.sighting, message=f"creating {listener} listener failed"))
    assert paths(judged(fold)) == [path]


@pytest.mark.parametrize(("synchronised", "is_doubted"), [(False, True), (True, False), (None, False)])
def test_unsynchronised_clock_is_doubted_if_a_peers_certificate_is_not_yet_valid(synchronised, is_doubted):
    fold = refusing(Symptom.EXPIRED_OR_NOT_YET_VALID)
    fold = replace(fold, sighting=replace(fold.sighting, not_before=NOW + DAY))
    diagnosis = judged(fold, clock_synchronised=synchronised)
    assert (diagnosis.cause, diagnosis.suspect) == (Cause.NOT_YET_VALID, "peer")
    assert any("is not synchronised (NTP): look at it first" in line for line in diagnosis.evidence) is is_doubted
