"""Whether the other end of a connection is a member of the cluster, by the program that logged the line and by its port."""

from __future__ import annotations

import json

import pytest

from certmedic.core import diagnose as doctor
from certmedic.core import symptoms
from certmedic.core.model import Diagnosis, Fold
from labs.held import LEAF, OF
from labs.values import NOW, entry, facts, stored

ETCD = stored(LEAF, "/etc/kubernetes/pki/etcd/server.crt", "server", ports=(2399,), **OF)


def judged(text: str, **origin) -> Diagnosis:
    """Return the diagnosis of one line on a master that knows no peers."""
    sighting = symptoms.parse(entry(text, **origin))
    assert sighting is not None, text
    diagnosis = doctor.diagnose(Fold(sighting=sighting, count=1, first_seen=NOW, last_seen=NOW), facts((ETCD,)))
    assert diagnosis is not None, text
    return diagnosis


@pytest.mark.parametrize(
    ("endpoint", "suspect"),
    [
        ("10.0.0.2:2379", "peer"),
        ("10.0.0.2:2399", "peer"),  # the port of the etcd on this master
        ("10.0.0.9:8443", "outside"),  # a webhook
        ("10.0.0.9:10250", "outside"),  # a kubelet
        ("10.0.0.9:6443", "outside"),
    ],
)
def test_kube_apiserver_accuses_a_member_only_if_it_called_an_etcd(endpoint, suspect):
    text = (
        f'W1124 15:40:00.000000       1 logging.go:59] [core] [Channel #1 SubChannel #2] grpc: addrConn.createTransport failed to connect to {{Addr: "{endpoint}",'
        f' ServerName: "{endpoint}", }}. Err: connection error: desc = "transport: authentication handshake failed: x509: certificate'
        ' has expired or is not yet valid: current time 2026-11-24T15:40:00Z is after 2026-11-23T15:40:00Z"'
    )
    diagnosis = judged(text, pod="kube-apiserver-a", container="kube-apiserver")

    assert (diagnosis.suspect, diagnosis.neighbours) == (suspect, (endpoint,))


@pytest.mark.parametrize(
    ("text", "suspect"),
    [
        ("curl: (60) SSL certificate problem: certificate has expired", "outside"),
        ("Error: certificate has expired { code: 'CERT_HAS_EXPIRED' }", "outside"),
        (
            'rejected connection from "10.0.0.9:41000" (error "tls: failed to verify certificate: x509: certificate has expired or is not yet valid", ServerName "a")',
            "peer",
        ),
    ],
)
def test_line_of_no_known_program_speaks_of_a_member_only_if_it_names_the_other_end(text, suspect):
    assert judged(text).suspect == suspect


@pytest.mark.parametrize(("listener", "suspect"), [("client", "outside"), ("peer", "peer")])
def test_caller_that_etcd_refuses_on_its_client_endpoint_is_no_member(listener, suspect):
    text = json.dumps(
        {
            "level": "warn",
            "ts": "2026-11-24T15:40:00.000Z",
            "caller": "embed/config_logging.go:194",
            "msg": f"rejected connection on {listener} endpoint",
            "remote-addr": "10.0.0.9:41000",
            "server-name": "",
            "error": "tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time"
            " 2026-11-24T15:40:00Z is after 2026-11-23T15:40:00Z",
        }
    )
    diagnosis = judged(text, pod="etcd-a", container="etcd")

    assert (diagnosis.suspect, diagnosis.neighbours) == (suspect, ("10.0.0.9",))


@pytest.mark.parametrize("port", [443, 8443, 5432])
def test_web_service_that_an_unknown_program_called_is_no_member(port):
    text = f'Get "https://10.0.0.9:{port}/": x509: certificate has expired or is not yet valid: current time 2026-11-24T15:40:00Z is after 2026-11-23T15:40:00Z'
    assert judged(text).suspect == "outside"


def test_port_of_an_etcd_that_an_unknown_program_called_is_of_a_member():
    text = 'Get "https://10.0.0.9:2399/": x509: certificate has expired or is not yet valid: current time 2026-11-24T15:40:00Z is after 2026-11-23T15:40:00Z'
    assert judged(text).suspect == "peer"
