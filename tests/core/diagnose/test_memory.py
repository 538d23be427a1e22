"""A line about a certificate that no file has: which program of this machine still uses it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from certmedic.core import diagnose as doctor
from certmedic.core import symptoms, verdict
from certmedic.core.model import Cause, Confidence, Facts, Fold
from labs.held import CA, CA_FILE, CONF, LEAF, OF, old, program, scheduler
from labs.values import DAY, NOW, entry, facts, member, stored

ENDED = NOW - DAY


def line(text: str, **origin) -> Fold:
    """Return the fold of one line, parsed as the agent does."""
    sighting = symptoms.parse(entry(text, **origin))
    assert sighting is not None, text
    return Fold(sighting=sighting, count=1, first_seen=NOW, last_seen=NOW)


def refused(serial: str = "7385935559219004232", ends: datetime = ENDED, *, program: str = "kube-apiserver") -> Fold:
    """Return a line of a server about a client's certificate, which names no address."""
    return line(
        'E1124 15:40:00.000000       1 authentication.go:63] "Unable to authenticate the request" err="[x509: certificate has'
        f" expired or is not yet valid: current time {NOW:%Y-%m-%dT%H:%M:%SZ} is after {ends:%Y-%m-%dT%H:%M:%SZ}, verifying"
        f' certificate SN={serial}, SKID=, AKID= failed: x509: certificate has expired or is not yet valid]"',
        pod=f"{program}-a",
        container=program,
    )


def judged(fold: Fold, here: Facts):
    return doctor.diagnose(fold, here)


MANAGER = stored(LEAF, "/etc/kubernetes/controller-manager.conf", "controller-manager-client", **OF)
BOTH = (program(), program("kube-controller-manager", pid=8))


def test_serial_of_a_file_here_proves_whose_it_is():
    leaf = CA.leaf("x", not_before=NOW - 9 * DAY, not_after=ENDED, server=False)
    file = stored(leaf, CONF, "scheduler-client", **OF)
    diagnosis = judged(refused(str(int(file.certificate.serial, 16))), facts((file,)))

    assert (diagnosis.cause, diagnosis.suspect, diagnosis.confidence) == (Cause.EXPIRED, "own", Confidence.PROVEN)
    assert any("the serial in the line" in sentence for sentence in diagnosis.evidence)


def test_serial_of_a_good_file_explains_nothing():
    serial = str(int(scheduler().certificate.serial, 16))
    assert judged(refused(serial), facts((scheduler(),))).suspect == "outside"


@pytest.mark.parametrize(
    ("serial", "at", "holders"),
    [
        ("7385935559219004232", NOW - timedelta(seconds=1), ("kube-scheduler",)),
        ("7385935559219004232", NOW, ()),  # it was still there when the line was written
        ("9" * 19, NOW - timedelta(seconds=1), ()),
    ],
)
def test_serial_proves_the_holder_that_started_as_its_file_was_renewed(serial, at, holders):
    here = facts((scheduler(),), programs=(program(started=at - timedelta(seconds=1)),), replaced=(old(at=at),))
    diagnosis = judged(refused(serial), here)
    assert diagnosis.holders == holders
    if holders:
        assert (diagnosis.cause, diagnosis.suspect, diagnosis.confidence) == (Cause.STALE_IN_MEMORY, "own", "proven")
        for started, is_over in ((at, False), (NOW + DAY, True)):
            again = replace(here, programs=(program(started=started - timedelta(seconds=2)),))
            assert verdict.is_over(diagnosis, again)[0] is is_over


def test_date_of_a_file_here_and_no_address_means_this_machine():
    leaf = CA.leaf("x", not_before=NOW - 9 * DAY, not_after=ENDED, server=False)
    diagnosis = judged(refused("9" * 18), facts((stored(leaf, CONF, "scheduler-client", **OF),)))
    assert (diagnosis.suspect, diagnosis.certificates[0].path) == ("own", CONF)


def test_old_certificate_leads_to_the_program_that_holds_it():
    here = facts((scheduler(), MANAGER), programs=BOTH, replaced=(old(at=NOW),))
    diagnosis = judged(refused(), here)

    assert (diagnosis.cause, diagnosis.suspect, diagnosis.confidence, diagnosis.severity) == (
        Cause.STALE_IN_MEMORY,
        "own",
        "proven",
        "critical",
    )
    assert diagnosis.holders == ("kube-scheduler",)
    assert "kube-apiserver" not in diagnosis.remedy.command
    assert "kube-controller-manager" not in diagnosis.remedy.command
    assert any("held that certificate until" in sentence for sentence in diagnosis.evidence)


API = "/etc/kubernetes/pki/apiserver.crt"


@pytest.mark.parametrize(
    ("minutes", "path"),
    [(1, API), (5, "")],  # kube-apiserver reads a renewed file within a minute
)
def test_line_about_a_file_renewed_a_moment_ago_is_of_the_expiry_that_was_cured(minutes, path):
    names = {"dns": ("kmaster",), "ips": ("10.0.0.1",)}
    before, now = (
        stored(CA.leaf("kube-apiserver", not_before=NOW - 9 * DAY, not_after=ends, **names), API, "apiserver", **OF)
        for ends in (ENDED, NOW + DAY)
    )
    (expired,) = verdict.survey(facts((before,)), warn_within=timedelta())
    text = f"x509: certificate has expired or is not yet valid: current time 2026-11-24T15:40:00Z is after {ENDED:%Y-%m-%dT%H:%M:%SZ}"
    fold = line(
        f'E1124 15:40:00.000000 1 reflector.go:138] Failed to watch: Get "https://10.0.0.1:6443/api": {text}',
        pod="kube-scheduler-a",
        container="kube-scheduler",
    )
    memory = old(path=API, at=NOW - timedelta(minutes=minutes), serial="", fingerprint="")
    diagnosis = judged(fold, facts((now,), programs=BOTH, replaced=(memory,)))

    assert (diagnosis.key == expired.key) is bool(path)
    assert [leaf.path for leaf in diagnosis.certificates] == [path] * bool(path)
    if path:
        assert verdict.is_over(diagnosis, facts((now,)))[0]


def test_without_memory_all_clients_that_started_before_their_renewal_are_named():
    diagnosis = judged(refused(), facts((scheduler(), MANAGER), programs=BOTH))
    assert (diagnosis.cause, diagnosis.confidence) == (Cause.STALE_IN_MEMORY, "likely")
    assert set(diagnosis.holders) == {"kube-scheduler", "kube-controller-manager"}


@pytest.mark.parametrize(
    "here",
    [
        facts((scheduler(),), programs=(program(started=NOW),), replaced=(old(at=NOW),)),  # restarted by now
        facts((scheduler(),), programs=(program(started=NOW),)),
        facts((), programs=BOTH),
        facts((replace(scheduler(), modified=NOW - 300 * DAY),)),  # saved logs, and a file of long ago
    ],
)
def test_client_that_nobody_here_can_be_is_outside(here):
    diagnosis = judged(refused(), here)
    assert (diagnosis.suspect, diagnosis.severity) == ("outside", "info")
    assert any("serial 7385935559219004232" in sentence for sentence in diagnosis.evidence)


@pytest.mark.parametrize("program", ["kube-scheduler", "kube-controller-manager"])
def test_only_clients_of_the_program_that_refused_can_hold_the_old_certificate(program):
    here = facts((scheduler(), MANAGER), programs=BOTH)
    diagnosis = judged(refused(program=program), here)

    assert judged(refused(), here).cause is Cause.STALE_IN_MEMORY
    assert (diagnosis.cause, diagnosis.suspect, diagnosis.holders) == (Cause.EXPIRED, "outside", ())
    assert "restart" not in diagnosis.remedy.command


def test_saved_logs_go_by_the_time_of_the_files():
    assert judged(refused(), facts((scheduler(),))).holders == ("kube-scheduler",)


CALL = 'E1124 15:40:00.000000       1 x.go:1] Get "https://{}/api/v1/limitranges": x509: certificate has expired or is not yet valid: current time 2026-11-24T15:40:00Z is after {:%Y-%m-%dT%H:%M:%SZ}'


@pytest.mark.parametrize(
    ("started", "confidence"),
    [(ENDED - timedelta(days=365) + timedelta(hours=1), "proven"), (ENDED - 400 * DAY, "likely"), (None, "likely")],
)
def test_api_server_that_calls_itself_holds_a_certificate_that_no_file_has(started, confidence):
    api = stored(LEAF, "/etc/kubernetes/pki/apiserver.crt", "apiserver", ports=(6443,), **OF)
    running = (program("kube-apiserver", started=started),) if started else ()
    fold = line(CALL.format("[::1]:6443", ENDED), container="kube-apiserver", pod="kube-apiserver-a")
    diagnosis = judged(fold, facts((api,), programs=running))

    assert (diagnosis.cause, diagnosis.confidence, diagnosis.certificates) == (Cause.STALE_IN_MEMORY, confidence, ())
    assert diagnosis.holders == ("kube-apiserver",)
    assert "kube-apiserver.yaml" in diagnosis.remedy.command
    assert "renew" not in diagnosis.remedy.command


@pytest.mark.parametrize(
    ("started", "cause"), [(NOW - DAY, Cause.STALE_IN_MEMORY), (NOW + DAY, Cause.UNKNOWN_AUTHORITY)]
)
def test_program_with_the_ca_of_yesterday_needs_the_restart_itself(started, cause):
    text = (
        'E1124 15:40:00.000000     1 reflector.go:138] Failed to list *v1.Secret: Get "https://10.0.0.9:6443/x":'
        ' x509: certificate signed by unknown authority (possibly because of "crypto/rsa: verification error" while trying'
        ' to verify candidate authority certificate "kube-ca")'
    )
    kubelet = stored(LEAF, "/var/lib/kubelet/pki/kubelet-client-current.pem", "kubelet-client", ca_path=CA_FILE, **OF)
    here = facts((kubelet, stored(CA, CA_FILE, "ca", **OF)), programs=(program("kubelet", started=started),))
    diagnosis = judged(line(text, unit="kubelet"), here)

    assert diagnosis.cause is cause
    if cause is Cause.STALE_IN_MEMORY:
        assert (diagnosis.suspect, diagnosis.remedy.command) == ("own", "sudo systemctl restart kubelet")
        assert "kube-apiserver" not in diagnosis.remedy.why


def test_etcd_of_kops_with_the_ca_of_yesterday_needs_a_restart_of_etcd_manager():
    text = (
        'embed: rejected connection from "10.0.0.2:41000" (error "tls: failed to verify client certificate: x509: certificate'
        ' signed by unknown authority", ServerName "etcd-a")'
    )
    here = facts(member(), programs=(program("etcd", started=NOW - DAY),))
    diagnosis = judged(line(text), here)

    assert (diagnosis.cause, diagnosis.suspect) == (Cause.STALE_IN_MEMORY, "own")
    assert diagnosis.remedy.command.startswith("sudo docker stop ")
    assert "Restart etcd-manager" in diagnosis.remedy.why


@pytest.mark.parametrize(
    ("origin", "cause"),
    [
        ({"unit": "kubelet"}, Cause.STALE_IN_MEMORY),
        ({"program": "my-agent"}, Cause.UNKNOWN_AUTHORITY),
        ({}, Cause.UNKNOWN_AUTHORITY),
    ],
)
def test_ca_of_yesterday_is_sought_only_in_the_program_that_logged_the_line(origin, cause):
    text = 'Get "https://10.0.0.9:6443/x": x509: certificate signed by unknown authority'
    kubelet = stored(LEAF, "/var/lib/kubelet/pki/kubelet-client-current.pem", "kubelet-client", ca_path=CA_FILE, **OF)
    here = facts((kubelet, stored(CA, CA_FILE, "ca", **OF)), programs=(program("kubelet"),))
    diagnosis = judged(line(text, **origin), here)

    assert diagnosis.cause is cause
    assert diagnosis.holders == (("kubelet",) if cause is Cause.STALE_IN_MEMORY else ())
    assert ("systemctl restart kubelet" in diagnosis.remedy.command) is (cause is Cause.STALE_IN_MEMORY)


TO_ETCD = (
    "W1124 15:40:00.000000       1 clientconn.go:1223] grpc: addrConn.createTransport failed to connect to"
    ' {https://127.0.0.1:2379  <nil> 0 <nil>}. Err :connection error: desc = "transport: authentication handshake'
    ' failed: x509: certificate signed by unknown authority". Reconnecting...'
)
TO_KUBELET = 'Get "https://10.0.0.1:10250/containerLogs": x509: certificate signed by unknown authority'


@pytest.mark.parametrize(("text", "is_old"), [(TO_ETCD, True), (TO_KUBELET, False)])
def test_api_server_with_etcds_ca_of_yesterday_needs_a_restart(text, is_old):
    path = "/etc/kubernetes/pki/etcd/ca.crt"
    client = stored(LEAF, "/etc/kubernetes/pki/apiserver-etcd-client.crt", "apiserver-etcd-client", ca_path=path, **OF)
    here = facts((client, stored(CA, path, "ca", **OF)), programs=(program("kube-apiserver"),))
    diagnosis = judged(line(text, pod="kube-apiserver-a", container="kube-apiserver"), here)

    assert (diagnosis.cause is Cause.STALE_IN_MEMORY) is is_old
    if is_old:
        assert diagnosis.holders == ("kube-apiserver",)
        assert "kube-apiserver.yaml" in diagnosis.remedy.command
        assert diagnosis.certificates[0].path == path
