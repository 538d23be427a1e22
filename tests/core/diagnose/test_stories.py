"""Public reports, rebuilt from their files and lines: the verdict and the message that each should give first."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from certmedic.core import diagnose as doctor
from certmedic.core import planes, symptoms, verdict
from certmedic.core.message import compose
from certmedic.core.model import Cause, Diagnosis, Facts, Fold, MessageKind, Program, Stored, Trust
from labs import pki
from labs.values import entry, facts, stored

YEAR = timedelta(days=365)


def when(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def at(path: str, ends: datetime, *, ca=None, modified: datetime | None = None, **more) -> Stored:
    """Return a file at its place in the layout of its plane."""
    signer = ca or pki.authority("kubernetes", not_before=ends - 9 * YEAR)
    leaf = signer.leaf("x", not_before=ends - YEAR, not_after=ends, **more)
    file = stored(leaf, path)
    return replace(file, place=planes.place(path), modified=modified or ends - YEAR)


def judged(text: str, here: Facts, **origin):
    sighting = symptoms.parse(entry(text, **origin))
    assert sighting is not None
    return doctor.diagnose(Fold(sighting=sighting, count=1, first_seen=here.at, last_seen=here.at), here)


def running(name: str, started: str, pid: int = 1) -> Program:
    return Program(name=name, pid=pid, started_at=when(started), trust=Trust.SYSTEM)


def says(diagnosis: Diagnosis, here: Facts, *sentences: str) -> bool:
    """Whether the first message holds these sentences, the first of them in its title."""
    message = compose(MessageKind.OPENED, diagnosis, incident=1, host="a", now=here.at)
    assert sentences[0] in message.title
    return all(sentence in f"{message.title} {message.plain}" for sentence in sentences)


API_SERVER = {"pod": "kube-apiserver-a", "container": "kube-apiserver"}


def test_clients_of_the_api_hold_old_certificates_although_all_is_renewed():
    renewed = {"ends": when("2024-05-14T05:49:22"), "modified": when("2023-05-14T06:10:00"), "server": False}
    files = [at(f"/etc/kubernetes/{name}.conf", **renewed) for name in ("scheduler", "controller-manager", "admin")]
    here = facts(
        tuple(files),
        at=when("2023-05-15T10:00:00"),
        programs=(
            running("kube-scheduler", "2022-05-14T05:50:00"),
            running("kube-controller-manager", "2022-05-14T05:50:00", 2),
            running("kube-apiserver", "2023-05-14T06:20:00", 3),
        ),
    )
    text = (
        'E0515 10:00:00.000000       1 authentication.go:63] "Unable to authenticate the request" err="[x509: certificate has expired'
        " or is not yet valid: current time 2023-05-15T10:00:00Z is after 2023-05-14T05:49:22Z, verifying certificate"
        " SN=7385935559219004232, SKID=, AKID=2D:CB failed: x509: certificate has expired or is not yet valid: current time"
        ' 2023-05-15T10:00:00Z is after 2023-05-14T05:49:22Z]"'
    )
    first = judged(text, here, **API_SERVER)
    assert (first.cause, first.suspect) == (Cause.STALE_IN_MEMORY, "own")
    assert set(first.holders) == {"kube-scheduler", "kube-controller-manager"}
    assert "kube-apiserver" not in first.remedy.command
    both = "kube-scheduler and kube-controller-manager"
    assert says(first, here, "old certificate still in memory", f"Restart {both} (command below): that fixes it.")


def test_api_server_refuses_its_certificate_for_calls_to_itself():
    api = at("/etc/kubernetes/pki/apiserver.crt", when("2024-01-01T00:00:00"))
    here = facts((api,), at=when("2023-06-10T00:00:00"), programs=(running("kube-apiserver", "2022-04-10T19:38:43"),))
    text = (
        'E0610 00:00:00.000000       1 x.go:1] Get "https://[::1]:6443/api/v1/namespaces/cattle-system/limitranges": x509: certificate'
        " has expired or is not yet valid: current time 2023-06-10T00:00:00Z is after 2023-04-10T19:38:43Z"
    )
    first = judged(text, here, **API_SERVER)
    assert (first.cause, first.confidence, first.holders) == (Cause.STALE_IN_MEMORY, "proven", ("kube-apiserver",))
    assert "renew" not in first.remedy.command
    assert says(
        first, here, "kube-apiserver: old certificate still in memory: restart kube-apiserver", "admission fails"
    )


CURRENT = "/var/lib/kubelet/pki/kubelet-client-current.pem"


@pytest.mark.parametrize(
    ("current", "breaks", "command", "no_command"),
    [
        ("2024-09-12T09:18:55", "the node goes NotReady", "init phase kubeconfig kubelet", "sed"),
        ("2025-09-12T09:18:55", "The next start of the kubelet fails", "sed", "kubeadm"),
    ],
)
def test_kubelet_conf_with_an_expired_certificate_depends_on_the_rotated_one(current, breaks, command, no_command):
    ended = when("2024-09-12T09:18:55")
    files = (at("/etc/kubernetes/kubelet.conf", ended, server=False), at(CURRENT, when(current), server=False))
    here = facts(files, at=when("2024-10-01T00:00:00"))
    (first,) = verdict.survey(here, warn_within=timedelta())
    assert "/etc/kubernetes/kubelet.conf" in [leaf.path for leaf in first.certificates]
    assert command in first.remedy.command
    assert no_command not in first.remedy.command
    assert "certs renew" not in first.remedy.command
    assert says(first, here, "kubelet: ", "expired 18 days ago, on 2024-09-12 09:18 UTC", breaks, command)


@pytest.mark.parametrize(
    ("program", "ca_path", "leaf_path", "command"),
    [
        ("etcd", "/etc/etcd/tls/ca.crt", "/etc/etcd/tls/server.crt", "sudo systemctl restart etcd"),
        ("kubelet", "/etc/kubernetes/pki/ca.crt", CURRENT, "sudo systemctl restart kubelet"),
    ],
)
def test_program_with_the_ca_of_yesterday_is_restarted_itself(program, ca_path, leaf_path, command):
    now = when("2025-06-01T12:00:00")
    old, new = (pki.authority("Autobase CA", not_before=now - YEAR) for _ in range(2))
    changed = now - timedelta(hours=1)
    ca = replace(stored(new, ca_path), place=planes.place(ca_path), modified=changed)
    leaf = at(leaf_path, now + YEAR, ca=new, modified=changed)
    here = facts((ca, leaf), at=now, programs=(running(program, "2025-05-01T00:00:00"),))
    text = (
        '{"level":"warn","ts":"2025-06-01T12:00:00.000Z","caller":"rafthttp/probing_status.go:68","msg":"prober detected unhealthy'
        ' status","round-tripper-name":"ROUND_TRIPPER_SNAPSHOT","remote-peer-id":"819c332cb7e87349","rtt":"0s","error":"x509:'
        ' certificate signed by unknown authority (possibly because of \\"crypto/rsa: verification error\\" while trying to verify'
        ' candidate authority certificate \\"Autobase CA\\")"}'
        if program == "etcd"
        else 'E0601 12:00:00.000000     1 reflector.go:138] Failed to list *v1.Secret: Get "https://10.9.9.9:6443/x": x509: certificate'
        ' signed by unknown authority (possibly because of "crypto/rsa: verification error" while trying to verify candidate'
        ' authority certificate "Autobase CA")'
    )
    first = judged(text, here, unit=program)
    assert (first.cause, first.suspect, first.remedy.command) == (Cause.STALE_IN_MEMORY, "own", command)
    assert old.pem != new.pem
    assert says(first, here, f"{program}: old certificate still in memory: restart {program}", f"Restart {program} (")


def test_client_of_etcd_with_a_date_of_no_file_is_named_and_stands_outside():
    now = when("2022-12-05T07:34:30")
    ca = pki.authority("etcd", not_before=now - YEAR)
    files = (
        at("/etc/etcd/tls/server.crt", now + YEAR, ca=ca, dns=("etcd-client.garden.svc",)),
        at("/etc/kubernetes/pki/apiserver-etcd-client.crt", now + YEAR, ca=ca, server=False),
    )
    text = (
        '{"level":"warn","ts":"2022-12-05T07:34:30.123Z","caller":"embed/config_logging.go:169","msg":"rejected connection",'
        '"remote-addr":"10.1.179.130:51402","server-name":"etcd-client.garden.svc","error":"tls: failed to verify client certificate:'
        ' x509: certificate has expired or is not yet valid: current time 2022-12-05T07:34:30Z is after 2022-12-03T06:11:00Z"}'
    )
    here = facts(files, at=now)
    first = judged(text, here, unit="etcd")
    assert (first.suspect, first.severity, first.neighbours) == ("outside", "info", ("10.1.179.130",))
    assert any("no file here has that date" in sentence for sentence in first.evidence)
    assert first.remedy.command == ""
    assert says(first, here, "10.1.179.130: certificate expired: fix it there", "Nothing to do on this machine")


def test_listener_of_rke2_that_nobody_renews_is_told_from_its_fresh_files():
    now = when("2025-06-04T07:48:00")
    ca = pki.authority("rke2-server-ca", not_before=now - 5 * YEAR)
    path = "/var/lib/rancher/rke2/server/tls/dynamic-cert.json"
    files = (
        at(path, when("2025-02-04T21:27:54"), ca=ca),
        at(path.replace("dynamic-cert.json", "client-admin.crt"), now + YEAR, ca=ca),
    )
    here = facts(files, at=now)
    (first,) = verdict.survey(here, warn_within=timedelta())
    assert [leaf.path for leaf in first.certificates] == [path]
    assert "dynamic-cert.json" in first.remedy.command
    assert "rke2-server" in first.remedy.command
    assert says(first, here, "certificate expired", "supervisor expired 119 days ago", "Nodes cannot join", path)


def test_gateway_of_etcd_that_calls_itself_is_harmless():
    now = when("2025-06-04T07:48:00")
    ca = pki.authority("etcd", not_before=now - YEAR)
    path = "/etc/etcd/tls/server.crt"
    here = facts((at(path, now + YEAR, ca=ca, client=False, dns=("a",)),), at=now)
    refused = (
        '{"level":"warn","ts":"2025-06-04T07:48:00.1Z","caller":"embed/config_logging.go:169","msg":"rejected connection",'
        '"remote-addr":"127.0.0.1:51402","server-name":"","error":"tls: failed to verify client certificate: x509: certificate'
        ' specifies an incompatible key usage"}'
    )
    gateway = (
        '{"level":"warn","ts":"2025-06-04T07:48:00.1Z","caller":"grpclog/grpclog.go:60","msg":"grpc: addrConn.createTransport failed'
        ' to connect to {127.0.0.1:2379  <nil> 0 <nil>}. Err: connection error: desc = \\"transport: authentication handshake'
        ' failed: remote error: tls: bad certificate\\". Reconnecting..."}'
    )
    assert judged(refused, here, unit="etcd") is None
    second = judged(gateway, here, unit="etcd")
    assert second is None or (second.severity, "renew" in second.remedy.command) == ("info", False)


@pytest.mark.parametrize(
    ("age", "sentence"),
    [
        (timedelta(hours=1), "behind by more than 1 hour, which ends by itself when it passes 2025-06-04 06:48:00 UTC"),
        (YEAR, "ahead by more than 365 days"),
    ],
)
def test_alert_45_on_a_valid_certificate_means_a_clock_and_never_a_renewal(age, sentence):
    now = when("2025-06-04T07:48:00")
    ca = pki.authority("etcd", not_before=now - 2 * YEAR)
    leaf = ca.leaf("x", not_before=now - age, not_after=now + YEAR, dns=("a",))
    path = "/etc/etcd/tls/server.crt"
    file = replace(stored(leaf, path), place=planes.place(path))
    text = (
        '{"level":"warn","ts":"2025-06-04T07:48:00.1Z","caller":"embed/config_logging.go:169","msg":"rejected connection",'
        '"remote-addr":"10.0.0.7:40000","server-name":"a","error":"remote error: tls: expired certificate"}'
    )
    here = facts((file,), at=now, clock_synchronised=True)
    first = judged(text, here, unit="etcd")
    assert (first.cause, first.severity) == (Cause.CLOCK, "info")
    assert "this machine's clock is synchronised (NTP): the other clock is wrong" in first.evidence
    assert says(first, here, "check the clocks, renew nothing", "the clock of 10.0.0.7 seems wrong")
    assert any(sentence in each for each in first.evidence)
    assert "Renew nothing" in first.remedy.why


@pytest.mark.parametrize(
    ("starts", "sentence"), [("2025-06-04T08:18:00", "behind by at least"), ("2025-06-04T07:00:00", "is over")]
)
def test_certificate_that_is_not_yet_valid_shows_how_far_a_clock_is_behind(starts, sentence):
    text = (
        '{"level":"warn","ts":"2025-06-04T07:48:00.1Z","caller":"embed/config_logging.go:169","msg":"rejected connection",'
        '"remote-addr":"10.0.0.7:40000","server-name":"","error":"tls: failed to verify client certificate: x509: certificate has'
        f' expired or is not yet valid: current time 2025-06-04T07:48:00Z is before {starts}Z"}}'
    )
    here = facts((), at=when("2025-06-04T07:48:00"), clock_synchronised=False)
    first = judged(text, here, unit="etcd")
    assert first.cause is Cause.NOT_YET_VALID
    assert "this machine's clock is not synchronised (NTP): look at it first" in first.evidence
    assert says(first, here, "10.0.0.7: certificate not valid yet: check the clocks, renew nothing", "timedatectl")
    assert any(sentence in each for each in first.evidence)
