"""CAs of one name: sentence apart by key id, and the member that has another one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from certmedic.core import certificates, issuers
from certmedic.core.examine import examine
from certmedic.core.model import Cause, Member, Place
from labs import pki
from labs.values import DAY, NOW, facts, stored

OLD, NEW = (pki.authority("etcd-ca", not_before=NOW - DAY) for _ in range(2))


def serves(ca: pki.Authority):
    return certificates.parse(ca.leaf("x").cert_pem, "")[0]


def member(name: str, ca: pki.Authority | None, group: str = "main") -> Member:
    leaf = serves(ca) if ca is not None else None
    return Member(name=name, group=group, address=name, port=2380, serves=leaf, is_self=name == "a")


def of(*members: Member):
    return facts((), members=members)


@pytest.mark.parametrize(
    ("members", "odd"),
    [
        ((member("a", OLD), member("b", NEW), member("c", NEW)), "a"),
        ((member("a", NEW), member("b", NEW), member("c", OLD)), "c"),
        ((member("a", NEW), member("b", NEW), member("c", NEW)), ""),
        ((member("a", OLD), member("b", NEW)), ""),
        ((member("a", OLD), member("b", NEW), member("c", None)), ""),
        ((member("a", OLD), member("b", NEW), member("c", NEW, "events")), ""),
        ((member("a", OLD), member("b", NEW), member("c", NEW), member("d", OLD)), ""),
    ],
)
def test_member_of_another_ca_is_the_odd_one_out(members, odd):
    sentence = issuers.odd_one_out(of(*members), "main")
    assert sentence.startswith(f"{odd} is the odd one out" if odd else "")
    assert bool(sentence) is bool(odd)
    if odd:
        assert serves(OLD).authority_key_id[:16] in sentence
        assert serves(NEW).authority_key_id[:16] in sentence


def test_cas_of_one_name_are_told_apart_by_key_id():
    path, ca_path = "/etc/etcd/tls/server.crt", "/etc/etcd/tls/ca.crt"
    place = Place(plane="etcd", group="", use="server", renewer="operator", ca_path=ca_path)
    leaf = replace(stored(NEW.leaf("x"), path), place=place)
    finding = examine(leaf, facts((leaf, stored(OLD, ca_path, "ca"))))
    assert finding is not None
    assert finding.cause is Cause.UNKNOWN_AUTHORITY
    assert f"both CAs are named etcd-ca, but its key id is {serves(NEW).authority_key_id[:16]}" in finding.evidence


def test_ca_of_another_name_needs_no_key_id():
    assert issuers.apart(serves(NEW), [certificates.parse(pki.authority("other").pem, "")[0]]) == ""
    assert issuers.apart(serves(NEW), [certificates.parse(NEW.pem, "")[0]]) == ""
