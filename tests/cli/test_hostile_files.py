"""One hostile certificate on a master's disk beside a truly expired one: each command ends well and reports the true item."""

import json
import os
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from certmedic.cli import main
from certmedic.core import planes, verdict
from certmedic.edge.facts.machine import Machine
from labs import pki

DAY = timedelta(days=1)
NOW = datetime.now(UTC).replace(microsecond=0)
ENDLESS = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)  # what RFC 5280 writes for "no end"
FIRST_LONG = datetime(
    2050, 1, 1, tzinfo=UTC
)  # from this year on a certificate writes four digits, which can be replaced
REFUSED = 'rejected connection from "10.0.0.2:41000" (error "remote error: tls: bad certificate", ServerName "etcd-a")'
PEER = "master-vol-1/pki/etcd-cluster-token-etcd/peers/me.crt"
HOSTILE = {  # what is wrong -> how the certificate is issued, which bytes of it are replaced, by which, and its volume
    "no end": ({"not_after": ENDLESS}, b"", b"", b"vol-2"),
    "ends in year 1": ({"not_after": FIRST_LONG}, b"20500101000000Z", b"00010101000000Z", b"vol-2"),
    "begins in year 1": ({"not_before": FIRST_LONG, "not_after": ENDLESS}, b"20500101", b"00010101", b"vol-2"),
    "begins at the end": ({"not_before": ENDLESS, "not_after": ENDLESS}, b"", b"", b"vol-2"),
    "moves the cursor": ({"cn": "\x1b]0;owned\x07\x1b[31m\u202e"}, b"", b"", b"vol-2"),
    "name is no text": ({"cn": "QQQQQQ"}, b"QQQQQQ", b"\xff\xed\xa0\x80\xc0\x0a", b"vol-2"),
    "path is no text": ({}, b"", b"", b"vol-\xff\x1b]0;owned\x07\xe2\x80\xae"),
}


@pytest.fixture(params=HOSTILE.values(), ids=HOSTILE)
def root(request, tmp_path):
    """The files of a master whose peer certificate expired, and a volume of the group events with a hostile item."""
    issued, before, after, volume = request.param
    peers, clients = pki.authority("etcd-peers-ca-main"), pki.authority("etcd-clients-ca")
    expired = peers.leaf("etcd-a", dns=("etcd-a",), not_after=NOW - timedelta(hours=1))
    pki.kops_volume(tmp_path / "mnt/master-vol-1", peers_ca=peers, clients_ca=clients, peer=expired)
    hostile = peers.leaf(**{"cn": "etcd-events-a", "dns": ("etcd-events-a",), **issued})
    second = tmp_path / "mnt" / os.fsdecode(b"master-" + volume)
    token = pki.kops_volume(second, group="events", peers_ca=peers, clients_ca=clients, peer=hostile)
    der = hostile.der.replace(before, after) if before else hostile.der
    assert bool(before) == (der != hostile.der)
    (token / "peers/me.crt").write_text(ssl.DER_cert_to_PEM_cert(der))
    (tmp_path / "etcd.log").write_text(f"{REFUSED}\n" * 3)
    return tmp_path


def test_survey_reports_the_expired_file(root):
    machine = Machine(globs=[f"{root}{item}" for item in planes.patterns(("kops",))], root=str(root), live=False)
    facts = machine.gather(now=NOW)

    diagnoses = verdict.survey(facts, warn_within=30 * DAY)

    assert [d.cause for d in diagnoses if d.certificates[0].path.endswith(PEER)] == ["expired"]
    assert all(f"{c.subject}{c.path}".isprintable() for c in (item.certificate for item in facts.stored))


@pytest.mark.parametrize(
    "words",
    [
        ("simulate", "--at", (NOW + 30 * DAY).isoformat()),
        ("simulate", "--at", "9999-12-31T23:59:59Z"),
        ("diagnose", "etcd.log"),
        ("certs",),
    ],
    ids=lambda words: " ".join(words[:1] + words[2:])[:13],
)
def test_command_reports_the_expired_file(root, words, monkeypatch):
    monkeypatch.chdir(root)

    done = CliRunner().invoke(main, [*words, "--root", str(root), "--json"])

    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    reply = json.loads(done.stdout)
    if words[0] == "certs":
        causes = [item["status"] for item in reply["certificates"] if item["path"].endswith(PEER)]
    else:
        diagnoses = (
            reply["diagnoses"] if words[0] == "diagnose" else [moment["diagnosis"] for moment in reply["moments"]]
        )
        causes = [item["cause"] for item in diagnoses if item["certificates"][0]["path"].endswith(PEER)]
    assert set(causes) == {"expired"}, reply
    shown = CliRunner().invoke(main, [*words, "--root", str(root)])  # for people
    assert shown.exception is None or isinstance(shown.exception, SystemExit), shown.exc_info
    assert "\x1b]" not in shown.output
    assert "\u202e" not in shown.output
