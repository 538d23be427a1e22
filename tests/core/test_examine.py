"""The faults of a stored certificate: its dates, chain, key and usages, and whether it is in use at all."""

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest

from certmedic.core import certificates
from certmedic.core.examine import (
    candidates,
    chain,
    displaced,
    examine,
    healthy,
    lacking_usages,
    names_of,
    replaced,
    rivalled,
)
from certmedic.core.model import Cause, Confidence, FileFault, Served, Trust
from certmedic.core.text import stamp
from certmedic.core.verdict import survey
from labs import pki
from labs.values import CLIENTS_CA, DAY, NOW, PEERS_CA, VOLUME, facts, member, stored

SECOND = timedelta(seconds=1)
ME = f"{VOLUME}/peers/me.crt"
CA_FILE = f"{VOLUME}/peers/ca.crt"
OLD_VOLUME = "/mnt/master-vol-02/pki/etcd-cluster-token-etcd"


def serving(certificate, port=2380, *, trust=Trust.SYSTEM):
    return Served(address="127.0.0.1", port=port, certificate=certificate, trust=trust)


def read(authority, path="ca"):
    return certificates.parse_der(authority.der, path)


@pytest.mark.parametrize(
    ("begins", "ends", "synchronised", "cause"),
    [
        (NOW - DAY, NOW - SECOND, None, Cause.EXPIRED),
        (NOW - DAY, NOW, None, None),
        (NOW, NOW + DAY, None, None),
        (NOW + SECOND, NOW + DAY, None, Cause.NOT_YET_VALID),
        (NOW + SECOND, NOW + DAY, True, Cause.NOT_YET_VALID),
        (NOW + SECOND, NOW + DAY, False, Cause.CLOCK),
    ],
)
def test_dates_of_a_leaf_at_their_boundaries(begins, ends, synchronised, cause):
    files = member(peer=PEERS_CA.leaf("etcd-a", not_before=begins, not_after=ends))
    finding = examine(files[0], facts(files, clock_synchronised=synchronised))
    assert (finding and finding.cause) == cause
    assert cause is not Cause.CLOCK or finding.evidence.endswith("and this machine's clock is not synchronised")


def test_unverifiable_signature_is_possibly_but_not_provably_unknown_authority():
    leaf = PEERS_CA.leaf("etcd-a", not_before=NOW - DAY, not_after=NOW + DAY)
    known, unknown = bytes.fromhex("06082a8648ce3d040302"), bytes.fromhex("06082a8648ce3d04037f")
    files = member(peer=SimpleNamespace(der=leaf.der.replace(known, unknown)))
    finding = examine(files[0], facts(files))
    assert (finding.cause, finding.confidence) == (Cause.UNKNOWN_AUTHORITY, Confidence.POSSIBLE)
    assert finding.evidence.startswith(f"{ME}: its kind of signature cannot be verified here")


def links_below(root, count):
    """Return a chain of `count` intermediate authorities below `root`, and a leaf of the last authority."""
    issuer, below = root, []
    for number in range(count):
        issuer = pki.authority(f"link-{number}", not_before=NOW - DAY, issuer=issuer)
        below.append(read(issuer, "leaf"))
    return below, certificates.parse_der(issuer.leaf("leaf", not_before=NOW - DAY).der, "leaf")


@pytest.mark.parametrize(("count", "length"), [(0, 1), (1, 2), (8, 9), (9, 0)])
def test_chain_of_at_most_eight_links_is_followed(count, length):
    root = pki.authority("root", not_before=NOW - DAY)
    sent, leaf = links_below(root, count)
    assert len(chain(leaf, [read(root)], list(reversed(sent)))) == length


def test_chain_that_expires_last_is_chosen():
    key = pki.new_key()
    old = read(pki.authority("ca", key=key, not_before=NOW - 9 * DAY, not_after=NOW - DAY))
    new = read(pki.authority("ca", key=key, not_before=NOW - 9 * DAY, not_after=NOW + DAY))
    leaf = certificates.parse_der(pki.authority("ca", key=key, not_before=NOW - 9 * DAY).leaf("leaf").der)
    assert chain(leaf, [old, new], []) == chain(leaf, [new, old], []) == [new]


def test_at_most_eight_authorities_of_the_same_name_are_tried():
    leaf = read(PEERS_CA.leaf("leaf", not_before=NOW - DAY))
    cas = [replace(read(PEERS_CA), fingerprint=str(number)) for number in range(9)]
    assert candidates(replace(leaf, authority_key_id=""), cas) == candidates(leaf, cas) == cas[:8]


def test_authority_with_the_key_identifier_of_the_leaf_is_tried_first():
    leaf = read(PEERS_CA.leaf("leaf", not_before=NOW - DAY))
    right, other = read(PEERS_CA), read(pki.authority("etcd-peers-ca-main"))
    nameless = replace(right, subject_key_id="")
    assert candidates(leaf, [other, nameless, right]) == [right, nameless, other]
    assert candidates(leaf, [read(CLIENTS_CA)]) == []


@pytest.mark.parametrize(
    ("use", "server", "client", "lacking"),
    [
        ("peer", True, True, ""),
        ("peer", True, False, "client"),
        ("peer", False, True, "server"),
        ("server", False, True, "server"),
        ("server", True, False, ""),
        ("apiserver-etcd-client", True, False, "client"),
        ("kubelet", False, True, ""),
        ("peer", False, False, ""),  # a certificate without usages allows any
    ],
)
def test_usages_that_the_certificate_lacks_are_listed(use, server, client, lacking):
    leaf = PEERS_CA.leaf("x", not_before=NOW - DAY, server=server, client=client)
    assert lacking_usages(stored(leaf, "/x.crt", use)) == lacking


def test_names_of_a_certificate_are_listed_in_a_sentence():
    named, nameless = PEERS_CA.leaf("x", dns=("a", "b"), ips=("::1",)), PEERS_CA.leaf("x")
    assert names_of(read(named)) == "only a, b, ::1"
    assert names_of(read(nameless)) == "no name at all"


OTHER = member(peer_ends=NOW + 9 * DAY)[0].certificate
GONE = member(peer_ends=NOW - 9 * DAY)[0].certificate


@pytest.mark.parametrize(
    ("use", "served", "is_displaced"),
    [
        ("peer", (), False),
        ("peer", (serving(OTHER),), True),
        ("peer", (serving(OTHER, 4001),), False),
        ("peer", (serving(OTHER, trust=Trust.STRANGER),), False),
        ("peer", (serving(None),), False),
        ("peer", (serving(GONE),), False),  # expired and in no file: perhaps an older certificate of this file
        ("apiserver", (serving(OTHER),), False),
    ],
)
def test_file_is_displaced_if_its_port_serves_another_good_certificate(use, served, is_displaced):
    files = member(peer_ends=NOW - DAY)
    mine = replace(files[0], place=replace(files[0].place, use=use))
    assert bool(displaced(mine, facts(files, served=served))) is is_displaced
    shown = (*served, serving(mine.certificate))
    assert displaced(mine, facts(files, served=shown)) == ""


@pytest.mark.parametrize(("use", "is_displaced"), [("kubelet", True), ("apiserver", False)])
def test_file_behind_a_proxy_is_displaced_only_by_a_file_of_the_same_use(use, is_displaced):
    mine, other = (replace(file, place=replace(file.place, use="kubelet")) for file in (MINE, RIVAL))
    other = replace(other, place=replace(other.place, use=use))
    here = facts((mine, other), served=(serving(other.certificate),))
    assert bool(displaced(mine, here)) is is_displaced


def test_file_is_displaced_by_an_expired_certificate_of_another_file():
    mine, other = member(peer_ends=NOW - DAY)[0], stored(PEERS_CA, "/other.crt", "ca")
    expired = replace(other, certificate=replace(other.certificate, not_after=NOW - DAY))
    assert "serves another certificate" in displaced(
        mine, facts((mine, expired), served=(serving(expired.certificate),))
    )


def copies(*paths, **more):
    return tuple(replace(copy, certificate=replace(copy.certificate, path=path), **more) for copy, path in paths)


MINE, RIVAL = member(peer_ends=NOW - DAY)[0], member(peer_ends=NOW - 2 * DAY)[0]


@pytest.mark.parametrize(
    ("rivals", "served", "is_rivalled"),
    [
        ((), (), False),
        (copies((RIVAL, f"{OLD_VOLUME}/peers/me.crt")), (), True),
        (copies((RIVAL, f"{OLD_VOLUME}/peers/me.crt"), trust=Trust.STRANGER), (), False),
        (copies((RIVAL, "/mnt/copies/me.crt")), (), False),  # this copy is not at its place
        (copies((RIVAL, f"{OLD_VOLUME}/peers/me.crt")), (serving(MINE.certificate),), False),
        (
            copies((RIVAL, f"{OLD_VOLUME}/peers/me.crt")),
            (serving(MINE.certificate), serving(RIVAL.certificate)),
            True,
        ),
    ],
)
def test_second_expired_file_of_the_same_use_makes_the_used_file_uncertain(rivals, served, is_rivalled):
    assert bool(rivalled(MINE, facts((MINE, *rivals), served=served))) is is_rivalled
    foreign = replace(MINE, place=replace(MINE.place, renewer="kubeadm"))
    assert rivalled(foreign, facts((foreign, *rivals), served=served)) == ""


def test_file_with_its_ca_is_valid_as_long_as_its_leaf():
    leaf = CLIENTS_CA.leaf("system:kube-scheduler", not_after=NOW + DAY, server=False)
    both = [stored(made, "/etc/kubernetes/scheduler.conf", "client") for made in (CLIENTS_CA, leaf)]
    assert healthy(["/etc/kubernetes/scheduler.conf"], facts(both))[1].endswith(f"is valid until {stamp(NOW + DAY)}")


def test_missing_or_unreadable_file_is_not_healthy():
    fault = FileFault(path="/x.crt", reason="unreadable", detail="Permission denied")
    assert healthy(["/x.crt"], facts()) == (False, "/x.crt does not exist")
    assert healthy(["/x.crt"], facts(faults=(fault,))) == (False, "/x.crt: unreadable: Permission denied")


def test_files_are_healthy_if_each_is_good():
    assert healthy([], facts()) == (True, "")
    is_good, why = healthy([ME, CA_FILE], facts())
    assert (is_good, why.count(" is valid until ")) == (True, 2)
    is_good, why = healthy([CA_FILE, ME], facts(member(peer_ends=NOW - SECOND)))
    assert (is_good, why) == (False, f"{ME}: expired 2026-11-24 15:39:59 UTC")


def test_kubeconfig_that_lost_its_client_certificate_is_not_as_good_as_its_ca():
    ca = member()[1]
    bare = replace(ca, certificate=replace(ca.certificate, path="/kubelet.conf", embedded_kind="cluster"))
    assert healthy(["/kubelet.conf"], facts((bare,))) == (True, "/kubelet.conf holds no client certificate any more")


@pytest.mark.parametrize(("ends", "is_good"), [(NOW - SECOND, False), (NOW, True)])
def test_file_is_not_healthy_while_an_expired_certificate_is_served_for_it(ends, is_good):
    shown = member(peer_ends=ends)[0].certificate
    assert healthy([ME], facts(served=(serving(shown),)))[0] is is_good
    assert healthy([ME], facts(served=(serving(shown, 9999), serving(shown, trust=Trust.STRANGER))))[0] is True


@pytest.mark.parametrize(("number", "end"), [(3, "/2.crt is valid until"), (4, "; 2 more files are valid too")])
def test_many_healthy_files_are_counted(number, end):
    leaf = member()[0]
    files = tuple(
        replace(leaf, certificate=replace(leaf.certificate, path=f"/{n}.crt"), place=replace(leaf.place, ports=()))
        for n in range(number)
    )
    good, why = healthy([f"/{n}.crt" for n in range(number)], facts((*files, *member()[1:])))
    assert good
    assert end in why


OLD_CA = pki.authority("etcd-peers-ca-main", not_before=NOW - 400 * DAY, not_after=NOW - DAY)
NEW_CA = pki.authority("etcd-peers-ca-main", not_before=NOW - DAY, key=OLD_CA.key)
STRANGE_CA = pki.authority("etcd-peers-ca-main", not_before=NOW - DAY)


def sent_along(first, second, *, embedded=""):
    """Return the file of a leaf and its expired CA, with one CA in the CA file, or the CA file with two CAs."""
    if second is None:
        leaf = stored(OLD_CA.leaf("etcd-a", not_after=NOW + DAY), ME, ca_path=CA_FILE)
        beside = stored(OLD_CA, ME, "ca", index=1)
        beside = replace(beside, certificate=replace(beside.certificate, embedded_kind=embedded))
        return facts((leaf, beside, stored(first, CA_FILE, "ca"))), beside
    both = tuple(stored(ca, CA_FILE, "ca", index=number) for number, ca in enumerate((first, second)))
    return facts(both), next(each for each in both if each.certificate.not_after < NOW)


@pytest.mark.parametrize(
    ("first", "second", "embedded", "is_replaced"),
    [
        (NEW_CA, None, "", True),  # k3s keeps the old CA in the files of its leaves
        (STRANGE_CA, None, "", False),
        (OLD_CA, None, "", False),
        (NEW_CA, None, "cluster", False),  # the client of a kubeconfig knows that copy alone
        (NEW_CA, OLD_CA, "", True),  # kops keeps both in a keyset
        (OLD_CA, NEW_CA, "", True),
        (OLD_CA, STRANGE_CA, "", False),
    ],
)
def test_expired_copy_of_a_ca_that_was_signed_again_is_no_fault(first, second, embedded, is_replaced):
    here, copy = sent_along(first, second, embedded=embedded)
    assert replaced(copy, here) is is_replaced
    assert (examine(copy, here) is None) is is_replaced


def test_copy_of_a_ca_that_was_signed_again_is_not_forecast():
    ending = pki.authority("etcd-peers-ca-main", not_before=NOW - 400 * DAY, not_after=NOW + DAY, key=OLD_CA.key)
    for files in ((ending, NEW_CA), (NEW_CA, ending)):
        both = tuple(stored(ca, CA_FILE, "ca", index=number) for number, ca in enumerate(files))
        assert survey(facts(both), warn_within=2 * DAY) == ()
    assert len(survey(facts((stored(ending, CA_FILE, "ca"),)), warn_within=2 * DAY)) == 1


@pytest.mark.parametrize("order", [(OLD_CA, NEW_CA), (NEW_CA, OLD_CA)])
def test_end_of_an_incident_names_the_date_of_the_ca_that_counts(order):
    both = tuple(stored(ca, CA_FILE, "ca", index=number) for number, ca in enumerate(order))
    good, why = healthy([CA_FILE], facts(both))
    assert (good, why) == (True, f"{CA_FILE} is valid until {stamp(read(NEW_CA).not_after)}")
