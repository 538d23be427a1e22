"""Metrics as text: names, labels, values, and that strangers get no series."""

from dataclasses import replace
from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from certmedic.core.decision import Policy
from certmedic.core.incident import ActState
from certmedic.core.model import Cause, FileFault, Place, RemedyKind, Revocations, Served, Suspect, Trust
from certmedic.edge.metrics import Exposition, Numbers
from certmedic.edge.metrics.certificates import MOST
from labs import pki
from labs.exposed import act, incident
from labs.values import DAY, NOW, VOLUME, facts, member, stored

PLANS = Policy(mode="remedy", restart=("etcd-manager",), cooldown=timedelta(0), per_day=2, plan_ahead=7 * DAY)
PEER, PEERS_CA, SERVER, _ = member(peer_ends=NOW - DAY)


def series(numbers, exposition=None):
    """Return (name, labels) -> value of every sample."""
    text = (exposition or Exposition()).render(numbers).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def numbers(files=(PEER, PEERS_CA, SERVER), **more):
    known = {name: more.pop(name) for name in ("faults", "served", "revocations") if name in more}
    return Numbers(**{"at": NOW, "version": "1", "mode": "notify", "facts": facts(tuple(files), **known), **more})


def labels_of(samples, name):
    return [dict(labels) for (known_name, labels) in samples if known_name == name]


def value(samples, name, **labels):
    values = [
        v for (n, known_labels), v in samples.items() if n == name and labels.items() <= dict(known_labels).items()
    ]
    assert len(values) == 1, (name, labels, values)
    return values[0]


def test_certificate_has_the_names_and_labels_of_the_exporter():
    admin = replace(
        PEER.certificate,
        path="/etc/kubernetes/admin.conf",
        subject="CN=kubernetes-admin,OU=b,O=system:masters,L=x,ST=y,C=DE",
        issuer="CN=kubernetes,O=k8s",
        serial="ff",
        embedded_kind="user",
        embedded_key="alice",
    )
    samples = series(numbers([replace(PEER, certificate=admin)]))
    labels = {
        "filename": "admin.conf",
        "filepath": "/etc/kubernetes/admin.conf",
        "serial_number": "255",
        "embedded_kind": "user",
        "embedded_key": "alice",
        "subject_CN": "kubernetes-admin",
        "subject_O": "system:masters",
        "subject_OU": "b",
        "subject_L": "x",
        "subject_ST": "y",
        "subject_C": "DE",
        "issuer_CN": "kubernetes",
        "issuer_O": "k8s",
    }
    moments = {
        "x509_cert_not_after": PEER.certificate.not_after.timestamp(),
        "x509_cert_not_before": PEER.certificate.not_before.timestamp(),
        "x509_cert_expired": 1.0,
        "x509_cert_error": 0.0,
    }
    assert {name: samples[name, frozenset(labels.items())] for name in moments} == moments


def test_info_names_plane_group_use_renewer_cure_and_holder():
    samples = series(numbers(policy=PLANS))
    assert labels_of(samples, "certmedic_certificate_info")[0] == {
        "filepath": PEER.certificate.path,
        "serial_number": str(int(PEER.certificate.serial, 16)),
        "plane": "kops",
        "group": "main",
        "use": "peer",
        "renewer": "etcd-manager",
        "cure": "restart",
        "holder": "etcd",
        "by_itself": "yes",
    }
    assert {labels["by_itself"] for labels in labels_of(series(numbers()), "certmedic_certificate_info")} == {"no"}


def test_every_series_names_the_cluster_if_it_is_known():
    assert all(dict(labels)["cluster"] == "prod" for _, labels in series(numbers(cluster="prod")))
    assert not any("cluster" in dict(labels) for _, labels in series(numbers()))


def test_files_of_strangers_are_counted_and_give_no_label():
    foreign = replace(
        SERVER,
        trust=Trust.STRANGER,
        certificate=replace(SERVER.certificate, path="/home/mallory/x.crt", subject="CN=mallory", subject_cn="mallory"),
    )
    fault = FileFault(path="/home/mallory/y.crt", reason="empty", detail="mallory", trust=Trust.STRANGER)
    listening = Served(address="10.0.0.1", port=2380, certificate=foreign.certificate, trust=Trust.STRANGER)
    text = Exposition().render(numbers([PEER, foreign], faults=(fault,), served=(listening,))).decode()
    assert "mallory" not in text
    assert "certmedic_served_not_after{" not in text
    assert 'certmedic_certificates{trust="stranger"} 1.0' in text
    assert 'x509_source_errors_total{reason="read_failed",source_kind="file",source_name="certificates"} 0.0' in text


def test_faulty_file_is_an_error_that_is_counted_once_an_inventory():
    exposition = Exposition()
    faults = (
        FileFault(path="/etc/etcd/a.crt", reason="empty", detail="", trust=Trust.SYSTEM),
        FileFault(path="/etc/etcd/b.p12", reason="password", detail="", trust=Trust.SYSTEM),
    )
    for at in (NOW, NOW, NOW + DAY):
        samples = series(Numbers(at=NOW, version="1", mode="notify", facts=facts((), faults=faults, at=at)), exposition)
    assert value(samples, "x509_source_errors_total", reason="no_certificate_found") == 2
    assert value(samples, "x509_source_errors_total", reason="bad_passphrase") == 2
    assert value(samples, "x509_pkcs12_passphrase_failures_total", source_name="certificates") == 2
    assert value(samples, "x509_cert_error", filepath="/etc/etcd/a.crt", filename="a.crt") == 1


def test_agent_without_faults_has_one_error_series_so_that_agents_can_be_counted():
    samples = series(numbers())
    assert len(labels_of(samples, "x509_source_errors_total")) == 1
    assert value(samples, "x509_source_up", source_kind="file", source_name="certificates") == 1
    assert value(samples, "x509_source_bundles", source_kind="file") == 3
    assert value(samples, "x509_cert_collision_dropped_total", source_kind="file") == 0


def crl(**more):
    usual = {"path": "/etc/etcd/crl.pem", "issuer": "CN=ca,O=k8s", "number": 7, "this_update": NOW - DAY}
    return Revocations(**{**usual, "next_update": NOW - timedelta(seconds=1), "trust": Trust.SYSTEM, **more})


def test_lists_of_revoked_certificates_have_the_names_of_the_exporter():
    lists = (crl(), crl(), crl(path="/x.pem", number=None, next_update=None), crl(path="/home/x", trust=Trust.STRANGER))
    samples = series(numbers(revocations=lists))
    labels = {"filename": "crl.pem", "filepath": "/etc/etcd/crl.pem", "issuer_CN": "ca", "issuer_O": "k8s"}
    labels["crl_number"] = "7"
    assert samples["x509_crl_next_update", frozenset(labels.items())] == NOW.timestamp() - 1
    assert samples["x509_crl_this_update", frozenset(labels.items())] == (NOW - DAY).timestamp()
    assert samples["x509_crl_number", frozenset(labels.items())] == 7
    assert samples["x509_crl_stale", frozenset(labels.items())] == 1
    assert [row["filepath"] for row in labels_of(samples, "x509_crl_stale")] == ["/etc/etcd/crl.pem"]
    assert value(samples, "x509_crl_this_update", filepath="/x.pem") == (NOW - DAY).timestamp()


def test_source_is_down_while_the_inventory_is_old():
    hung = Numbers(at=NOW, version="1", mode="notify", facts=facts(at=NOW - timedelta(minutes=31)))
    assert value(series(hung), "x509_source_up", source_kind="file") == 0


def test_certificates_with_equal_labels_get_a_discriminator_and_a_copy_none():
    twin = replace(PEER, certificate=replace(PEER.certificate, fingerprint="abcdef0123", index=1))
    samples = series(numbers([PEER, twin, replace(PEER)]))
    both = labels_of(samples, "x509_cert_not_after")
    assert sorted(labels.get("discriminator", "") for labels in both) == ["", "abcdef01"]
    assert value(samples, "x509_cert_collision_total") == 1
    assert value(samples, "x509_cert_collision_dropped_total") == 0


def test_only_the_certificates_that_expire_first_have_series_if_there_are_too_many():
    late = member(peer_ends=NOW + 900 * DAY)[0]
    many = [replace(late, certificate=replace(late.certificate, path=f"/opt/{n}.crt")) for n in range(MOST)]
    samples = series(numbers([*many, PEER]))
    assert len(labels_of(samples, "x509_cert_not_after")) == MOST
    assert value(samples, "x509_cert_expired", filepath=PEER.certificate.path) == 1
    assert value(samples, "certmedic_certificates_without_series") == 1
    assert value(samples, "certmedic_certificates", trust="system") == MOST + 1


def serving(stored_, *, port=2380, address="127.0.0.1", trust=Trust.SYSTEM):
    return Served(address=address, port=port, certificate=stored_.certificate, trust=trust)


def test_port_that_serves_another_certificate_than_its_file_is_seen():
    old = member(peer_ends=NOW + 5 * DAY)[0]
    samples = series(numbers(served=(serving(old), serving(SERVER, port=4001))))
    path = PEER.certificate.path
    assert value(samples, "certmedic_certificate_served", filepath=path, port="2380") == 0
    assert value(samples, "certmedic_certificate_served", filepath=SERVER.certificate.path, port="4001") == 1
    ends = old.certificate.not_after.timestamp()
    assert value(samples, "certmedic_served_not_after", address="127.0.0.1", port="2380") == ends
    assert value(samples, "certmedic_memory_not_after", address="127.0.0.1", port="2380", program="etcd") == ends
    assert len(labels_of(samples, "certmedic_memory_not_after")) == 1


@pytest.mark.parametrize("order", [1, -1])
def test_earlier_end_counts_if_clients_without_sni_are_served_another_certificate(order):
    old = member(peer_ends=NOW + 5 * DAY)[0]
    samples = series(numbers(served=(serving(old), serving(PEER))[::order]))
    assert value(samples, "certmedic_served_not_after", port="2380") == PEER.certificate.not_after.timestamp()
    assert value(samples, "certmedic_certificate_served", filepath=PEER.certificate.path) == 1


def test_certificate_that_no_listener_uses_is_marked():
    old = member()[0]
    beside = replace(
        old,
        certificate=replace(old.certificate, path=f"{VOLUME}/old.crt"),
        place=replace(old.place, renewer="operator"),
    )
    first = replace(PEER, place=beside.place)
    samples = series(numbers([first, beside], served=(serving(beside),)))
    assert value(samples, "certmedic_certificate_in_use", filepath=PEER.certificate.path) == 0
    assert value(samples, "certmedic_certificate_in_use", filepath=f"{VOLUME}/old.crt") == 1


def test_open_incidents_and_their_closed_gates_are_counted():
    unjudged = replace(incident(3, cause=Cause.UNEXPLAINED, suspect=Suspect.PEER), decision=None)
    samples = series(numbers(incidents=[incident(1), incident(2, opened_at=NOW - DAY), unjudged]))
    labels = {"severity": "critical", "cause": "expired", "suspect": "own", "plane": "kops", "group": "main"}
    assert samples["certmedic_incidents_open", frozenset(labels.items())] == 2
    since = samples["certmedic_incident_opened_timestamp_seconds", frozenset(labels.items())]
    assert since == (NOW - DAY).timestamp()
    assert value(samples, "certmedic_gate_closed", gate="mode") == 2
    assert value(samples, "certmedic_gate_closed", gate="breaker") == 0


def test_actions_are_counted_and_the_last_of_each_kind_is_dated():
    acts = [act(ActState.VERIFIED), act(ActState.VERIFIED, ended_at=NOW + DAY), act(ActState.FAILED, RemedyKind.RENEW)]
    samples = series(numbers(acts=acts, tripped=True))
    assert value(samples, "certmedic_breaker_tripped") == 1
    assert value(samples, "certmedic_acts", state="verified") == 2
    assert value(samples, "certmedic_acts", state="undoing") == 0
    last = "certmedic_last_act_timestamp_seconds"
    assert value(samples, last, remedy="restart", state="verified") == (NOW + DAY).timestamp()
    assert value(samples, last, remedy="renew", state="failed") == NOW.timestamp()


def test_agent_reports_itself_before_its_first_inventory():
    samples = series(numbers(facts=None, host="master-a"))
    assert value(samples, "certmedic_info", version="1", mode="notify", host="master-a") == 1
    assert value(samples, "certmedic_updated_timestamp_seconds") == NOW.timestamp()
    assert labels_of(samples, "x509_source_up") == []


def test_file_without_a_plane_has_empty_words():
    place = Place(plane="", group="", use="", renewer="unknown")
    own = replace(stored(PEER.certificate, "/opt/x.crt"), place=place)
    assert labels_of(series(numbers([own])), "certmedic_certificate_info")[0].keys() == {
        "filepath",
        "serial_number",
        "renewer",
        "cure",
        "by_itself",
    }


def test_old_copy_of_a_ca_that_was_signed_again_has_no_series():
    old = pki.authority("etcd-peers-ca-main", not_before=NOW - 400 * DAY, not_after=NOW - DAY)
    new = pki.authority("etcd-peers-ca-main", not_before=NOW - DAY, key=old.key)
    files = [stored(ca, "/ca.crt", "ca", index=number) for number, ca in enumerate((old, new))]
    assert len(labels_of(series(numbers(files)), "x509_cert_not_after")) == 1
    assert len(labels_of(series(numbers(files[:1])), "x509_cert_not_after")) == 1
