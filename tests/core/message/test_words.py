"""The short names of a diagnosis and its certificate."""

import re
from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from certmedic.core.message.words import brief, clause, machine, owner, program, role, soon, thread, whose
from certmedic.core.model import Cause, Suspect
from certmedic.core.text import minute
from certmedic.core.verdict import survey
from labs.values import DAY, NOW, facts, member

SECOND = timedelta(seconds=1)


def diagnosis(**changes):
    (expired,) = survey(facts(member(peer_ends=NOW - DAY)), warn_within=timedelta())
    return replace(expired, **changes)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({}, "etcd main"),
        ({"source": "journal"}, "the journal"),
        ({"source": "docker"}, "docker"),
        ({"suspect": Suspect.PEER, "neighbours": ("10.0.0.2", "10.0.0.3")}, "10.0.0.2"),
        ({"suspect": Suspect.PEER}, "a neighbour"),
        ({"group": ""}, "etcd"),
        ({"group": "", "certificates": ()}, "kops"),
        ({"group": "", "plane": "", "certificates": ()}, "a program on this machine"),
    ],
)
def test_owner_of_a_diagnosis_has_a_name(change, name):
    assert whose(diagnosis(**change)) == name


@pytest.mark.parametrize(
    ("moment", "text"),
    [(NOW + SECOND, "expires in 1 second"), (NOW, "expires now"), (NOW - SECOND, "expires now")],
)
def test_expiry_warning_at_the_second_of_expiry(moment, text):
    forecast = diagnosis(cause=Cause.EXPIRES_SOON, since=moment)
    assert soon(moment, NOW) == text
    assert brief(forecast, NOW) == f"certificate {text}"
    assert clause(forecast, NOW) == f"the etcd peer certificate of group main {text}, on 2026-11-24 15:{moment:%M} UTC"


def test_expiry_warning_without_a_date_says_soon():
    forecast = diagnosis(cause=Cause.EXPIRES_SOON, since=None)
    assert clause(forecast, NOW) == "the etcd peer certificate of group main expires soon"
    assert brief(forecast, NOW) == "certificate expires soon"


def test_warning_that_is_over_says_that_the_certificate_was_to_expire():
    forecast = diagnosis(cause=Cause.EXPIRES_SOON, since=NOW + DAY)
    assert brief(forecast, NOW, is_over=True) == "certificate was to expire"
    peer = "the etcd peer certificate of group main"
    assert clause(forecast, NOW, is_over=True) == f"{peer} was to expire on 2026-11-25 15:40 UTC"


@pytest.mark.parametrize("cause", Cause)
def test_number_of_the_verb_follows_that_of_the_certificates(cause):
    (leaf,) = diagnosis().certificates
    several = diagnosis(cause=cause, certificates=(leaf, replace(leaf, path="/opt/x.crt")), group="main", since=None)
    assert not re.match(r"2 certificates of etcd main (is|was|has|does|\w+s)\b", clause(several, NOW))


def test_certificate_with_an_owner_in_its_name_has_no_article():
    leaf = replace(diagnosis().certificates[0], path="/etc/kubernetes/pki/front-proxy-client.crt")
    assert clause(diagnosis(group="", certificates=(leaf,)), NOW).startswith("kube-apiserver's client certificate for")


@pytest.mark.parametrize(
    ("path", "name", "purpose"),
    [
        ("/etc/kubernetes/pki/etcd/peer.crt", "etcd", "etcd peer certificate"),
        ("/etc/kubernetes/pki/apiserver.crt", "kube-apiserver", "serving certificate of kube-apiserver"),
        ("/etc/kubernetes/pki/ca.crt", "the CA etcd-a", "CA etcd-a"),
        ("/opt/x.crt", "etcd-a", "CN etcd-a"),
    ],
)
def test_certificate_is_named_by_its_role(path, name, purpose):
    leaf = replace(diagnosis().certificates[0], path=path)
    assert (owner(leaf), role(leaf)) == (name, purpose)


def test_several_owners_are_named_by_their_plane():
    leaf = diagnosis().certificates[0]
    paths = [f"/etc/kubernetes/pki/{name}.crt" for name in ("apiserver", "etcd/peer", "ca")]
    leaves = tuple(replace(leaf, path=path) for path in paths)
    assert whose(diagnosis(group="", plane="kubeadm", certificates=leaves)) == "kubeadm"
    assert whose(diagnosis(group="", plane="kubeadm", certificates=leaves[:2])) == "kube-apiserver and etcd"
    assert clause(diagnosis(group="", plane="kubeadm", certificates=leaves), NOW).startswith(
        "3 certificates of kubeadm"
    )


def test_forecast_and_expiry_of_one_certificate_are_one_thread():
    forecast, expired = diagnosis(cause=Cause.EXPIRES_SOON), diagnosis()
    assert thread(forecast, 1, "a") == thread(expired, 2, "a") != thread(expired, 2, "b")
    other = diagnosis(cause=Cause.NAME_MISMATCH)
    assert thread(other, 1, "a") != thread(other, 2, "a")


def test_fault_of_a_ca_and_of_a_future_certificate_have_their_date():
    leaf = replace(diagnosis().certificates[0], not_before=NOW + DAY)
    assert clause(diagnosis(cause=Cause.CA_EXPIRED, since=NOW - DAY), NOW).startswith(
        "the CA behind etcd main expired 1 day"
    )
    authority = replace(diagnosis().certificates[0], path="/etc/kubernetes/pki/ca.crt", subject_cn="kubernetes")
    ended = diagnosis(cause=Cause.CA_EXPIRED, since=NOW - DAY, group="", certificates=(replace(authority, is_ca=True),))
    assert clause(ended, NOW).startswith("the CA kubernetes expired 1 day")
    assert f"{whose(ended)}: {brief(ended, NOW)}" == "the CA kubernetes: certificate expired"
    assert clause(replace(ended, cause=Cause.EXPIRES_SOON, since=NOW + DAY), NOW).startswith(
        "the CA kubernetes expires"
    )
    of_etcd = replace(authority, path="/mnt/master-vol-01/pki/etcd-cluster-token-etcd/peers/ca.crt", is_ca=True)
    near = diagnosis(cause=Cause.EXPIRES_SOON, since=NOW + DAY, certificates=(of_etcd,))
    assert clause(near, NOW).startswith("the CA behind etcd main expires in 1 day")
    assert brief(near, NOW) == "CA certificate expires in 1 day"
    future = diagnosis(cause=Cause.NOT_YET_VALID, certificates=(leaf,))
    assert clause(future, NOW) == "the etcd peer certificate of group main is valid only from 2026-11-25 15:40 UTC"
    assert program(replace(future, certificates=())) == "it"


@pytest.mark.parametrize(
    ("cluster", "host", "name"),
    [("", "a", "a"), ("prod", "a", "prod a"), ("prod", "", "prod"), ("x" * 9, "y" * 9, "xxxx… yyyy…")],
)
def test_machine_is_named_after_its_cluster(cluster, host, name):
    assert machine(cluster, host, 5) == name


def test_member_is_called_by_its_name():
    other = diagnosis(suspect=Suspect.PEER, neighbours=("10.0.0.2",), whom="etcd-b at 10.0.0.2")
    assert whose(other) == "etcd-b at 10.0.0.2"
    assert clause(other, NOW).startswith("the certificate of etcd-b at 10.0.0.2 expired 1 day ago")


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        (None, "2026-11-24 15:40 UTC"),
        ("Europe/Berlin", "2026-11-24 15:40 UTC / 16:40 CET"),
        ("Asia/Tokyo", "2026-11-24 15:40 UTC / 2026-11-25 00:40 JST"),
        ("America/Sao_Paulo", "2026-11-24 15:40 UTC / 12:40 UTC-0300"),
    ],
)
def test_date_is_in_utc_and_in_the_configured_zone(zone, text):
    assert minute(NOW, ZoneInfo(zone) if zone else None) == text
    assert clause(diagnosis(since=NOW), NOW, ZoneInfo(zone) if zone else None).endswith(f"expired just now, on {text}")
