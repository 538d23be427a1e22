"""How the agent asks etcd for the lease: its endpoints, its certificates, and what the lease does to a turn."""

from dataclasses import replace
from datetime import timedelta

import pytest

from certmedic.core.decision.quorum import with_lease
from certmedic.core.lease import Access, access
from certmedic.core.model import Gate, Lease, Member, Served, Trust
from labs import pki
from labs.values import CLIENTS_CA, DAY, NOW, VOLUME, facts, member, stored

API = "/etc/kubernetes/pki/kube-apiserver/etcd-client.crt"
SECOND = timedelta(seconds=1)


def api_client(ca=CLIENTS_CA, ends=NOW + DAY):
    leaf = ca.leaf("kube-apiserver", not_before=NOW - 300 * DAY, not_after=ends, server=False)
    return stored(leaf, API, "apiserver-etcd-client", group="", renewer="nodeup")


def other(name, ends, *, is_self=False):
    shown = member(server_ends=ends)[2].certificate
    return Member(
        name=name,
        group="main",
        address=name,
        port=2380,
        serves=shown,
        serves_clients=shown,
        clients=(name, 4001),
        is_self=is_self,
        verified=True,
    )


def served(files):
    return tuple(
        Served(address="127.0.0.1", port=4001, certificate=s.certificate, trust=Trust.SYSTEM)
        for s in files
        if s.place.use == "server"
    )


def test_own_endpoint_and_the_apiservers_certificate_come_first():
    files = (*member(), api_client())
    others = (other("b", NOW + DAY), other("a", NOW + DAY, is_self=True), other("c", NOW - DAY))

    reached = access(facts(files, served=served(files), members=others), "main")

    assert reached == Access(
        holder="a",
        endpoints=(("127.0.0.1", 4001), ("a", 4001), ("b", 4001)),
        credentials=(
            (API, API.replace(".crt", ".key")),
            (f"{VOLUME}/clients/server.crt", f"{VOLUME}/clients/server.key"),
        ),
        ca_path=f"{VOLUME}/clients/ca.crt",
    )


@pytest.mark.parametrize(
    "client",
    [
        api_client(ends=NOW - SECOND),
        api_client(pki.authority("etcd-clients-ca", not_before=NOW - 400 * DAY)),
        replace(api_client(), key_matches=False),
    ],
)
def test_certificate_that_etcd_would_reject_is_not_presented(client):
    files = (*member(server_ends=NOW - DAY), client)

    reached = access(facts(files, served=served(files)), "main")

    assert (reached.endpoints, reached.credentials, reached.holder) == ((), (), "master-a")


def test_no_endpoint_of_another_group_is_used():
    assert access(facts((*member(), api_client())), "events") == Access(holder="master-a")


def test_lease_closes_a_turn_and_never_opens_it():
    mine, not_mine = (Gate(name="turn", passed=passed, why="why") for passed in (True, False))
    for lease, passed in ((None, True), ("ours", True), ("none", True), ("theirs", False)):
        answer = lease and Lease(state=lease, why="said")
        assert with_lease(mine, answer).passed is passed
        assert "said" in with_lease(mine, answer).why or lease is None
        assert with_lease(not_mine, answer) == not_mine


def member_at(name, **more):
    return replace(other(name, NOW + DAY), **more)


@pytest.mark.parametrize(
    ("change", "is_asked"),
    [
        ({}, True),
        ({"verified": False}, False),
        ({"clients": None}, False),
        ({"serves_clients": None}, False),
        ({"group": "events"}, False),
    ],
)
def test_other_member_is_asked_only_if_it_is_verified_and_serves_a_certificate(change, is_asked):
    members = (other("a", NOW - DAY, is_self=True), member_at("b", **change))
    assert access(facts(member(), members=members), "main").endpoints == ((("b", 4001),) if is_asked else ())


def shown_from(begins, ends):
    leaf = CLIENTS_CA.leaf("etcd-b", not_before=begins, not_after=ends)
    return stored(leaf, "/b.crt", "server").certificate


@pytest.mark.parametrize(
    ("begins", "ends", "is_asked"),
    [
        (NOW, NOW + DAY, True),
        (NOW + SECOND, NOW + DAY, False),
        (NOW - DAY, NOW, True),
        (NOW - DAY, NOW - SECOND, False),
    ],
)
def test_endpoint_is_used_only_within_the_dates_of_its_certificate(begins, ends, is_asked):
    members = (member_at("b", serves_clients=shown_from(begins, ends)),)
    assert bool(access(facts(member(), members=members), "main").endpoints) is is_asked


def credential(leaf=None, path=API, use="apiserver-etcd-client", **more):
    leaf = leaf or CLIENTS_CA.leaf("client", not_before=NOW - DAY, not_after=NOW + DAY, server=False)
    return stored(leaf, path, use, group="", renewer="nodeup", **more)


@pytest.mark.parametrize(
    ("client", "is_accepted"),
    [
        (credential(), True),
        (credential(CLIENTS_CA.leaf("c", not_before=NOW - DAY, not_after=NOW)), True),
        (credential(CLIENTS_CA.leaf("c", not_before=NOW, not_after=NOW + DAY)), True),
        (credential(CLIENTS_CA.leaf("c", not_before=NOW + SECOND, not_after=NOW + DAY)), False),
        (credential(CLIENTS_CA.leaf("c", not_before=NOW - DAY, server=False, client=False)), True),
        (credential(CLIENTS_CA.leaf("c", not_before=NOW - DAY, client=False)), False),
        (credential(use="kubelet"), False),
        (credential(CLIENTS_CA), False),
        (credential(path="/a/kubeconfig"), False),  # no convention gives the path of its key
        (credential(key_matches=True), True),
        (credential(key_matches=False), False),
        (credential(trust=Trust.STRANGER), False),
    ],
)
def test_only_a_client_certificate_that_etcd_accepts_is_used(client, is_accepted):
    files = (*member(server_ends=NOW - DAY), client)
    paths = [path for path, _ in access(facts(files), "main").credentials]
    assert (client.certificate.path in paths) is is_accepted


def test_most_likely_credentials_come_first():
    uses = ("peer", "server", "client", "apiserver-etcd-client")
    files = (*member(server_ends=NOW - DAY), *(credential(path=f"/{use}.crt", use=use) for use in uses))
    order = [path for path, _ in access(facts(files), "main").credentials]
    assert order == ["/apiserver-etcd-client.crt", "/client.crt", "/server.crt", "/peer.crt"]
