"""Lines as a master's programs write them: chatter of no interest, and failures of twenty kinds."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

START = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
EVERY = 2000  # lines to one failure: 0.05 %
LAST = "the last line of the input"  # is in the last failure, so that a reader knows that it is through

CHATTER = (
    'I{klog}       1 trace.go:236] Trace[{n}]: "Update" accept:application/json,client:10.0.3.{b},protocol:HTTP/2.0,resource:leases,verb:PUT (24-Nov-2026 15:32:45.012) (total time: {ms}ms):',
    'I{klog}    2107 kubelet.go:2459] "SyncLoop (PLEG): event for pod" pod="kube-system/coredns-{n}-x7k{b}" event={{"ID":"c0ffee{n}","Type":"ContainerStarted"}}',
    "{day} {clock} I | etcdserver: start to snapshot (applied: {n}, lastsnap: {n})",
    '{{"level":"info","ts":"{day}T{clock}Z","caller":"mvcc/kvstore_compaction.go:57","msg":"finished scheduled compaction","compact-revision":{n},"took":"{ms}.{b}ms"}}',
    '{{"level":"warn","ts":"{day}T{clock}Z","caller":"etcdserver/util.go:170","msg":"apply request took too long","took":"{ms}ms","expected-duration":"100ms","prefix":"read-only range ","request":"key:\\"/registry/pods/{n}\\" "}}',
    'time="{day}T{clock}Z" level=info msg="shim disconnected" id=9f{n}e{b}5ad namespace=k8s.io',
    "I{klog}       1 httplog.go:132] HTTP verb=GET URI=/api/v1/namespaces/default/endpoints/kubernetes?timeout={ms} latency={ms}.{b}ms userAgent=kube-probe/1.27 srcIP=10.0.3.{b}:{port} resp=200",
    "W{klog}       1 reflector.go:533] k8s.io/client-go/informers/factory.go:150: watch of *v1.ConfigMap ended with: too old resource version: {n} ({n})",
    "I{klog}       1 garbagecollector.go:501] Processing object: batch/v1, namespace: jobs, name: nightly-{n}, uid: 7d{n}a{b}",
    "{day} {clock} I | mvcc: store.index: compact {n}",
)
_AFTER = "certificate has expired or is not yet valid: current time {now}Z is after 2026-11-19T15:30:41Z"
_BEFORE = "certificate has expired or is not yet valid: current time {now}Z is before 2026-12-14T15:29:59Z"
_UNKNOWN = "certificate signed by unknown authority"
_NAME = "certificate is valid for 10.0.0.1, not 10.0.0.9"
_FAULTS = (_AFTER, _BEFORE, _UNKNOWN, _NAME)
_PROGRAMS = (
    (
        "etcd",
        '{day} {clock} I | embed: rejected connection from "10.0.0.2:{port}" (error "tls: failed to verify client certificate: x509: {fault}", ServerName "etcd-a")',
    ),
    (
        "kube-apiserver",
        'E{klog}       1 authentication.go:63] "Unable to authenticate the request" err="[x509: {fault}, verifying certificate SN=4711, SKID=, AKID=AB:CD failed: x509: {fault}]"',
    ),
    (
        "kubelet",
        'E{klog}    2107 reflector.go:148] k8s.io/client-go/informers/factory.go:150: Failed to watch *v1.Node: failed to list *v1.Node: Get "https://api.internal.example:6443/api/v1/nodes?limit=500&resourceVersion=0": tls: failed to verify certificate: x509: {fault}',
    ),
    (
        "kube-controller-manager",
        'E{klog}       1 leaderelection.go:330] error retrieving resource lock kube-system/kube-controller-manager: Get "https://127.0.0.1:443/apis/coordination.k8s.io/v1/leases/kube-controller-manager?timeout=5s": dial tcp 10.0.0.9:443 10.0.0.1:{port}: x509: {fault}',
    ),
    (
        "kube-scheduler",
        "I{klog}       1 log.go:198] http: TLS handshake error from 10.0.0.7:{port}: tls: failed to verify client certificate: x509: {fault}",
    ),
)
KINDS = tuple((program, text.replace("{fault}", fault)) for program, text in _PROGRAMS for fault in _FAULTS)


def written(template: str, at: datetime, dice: random.Random) -> str:
    """Return a line as it is written at a time."""
    clock = f"{at:%H:%M:%S.%f}"
    return template.format(
        klog=f"{at:%m%d} {clock}",
        day=f"{at:%Y-%m-%d}",
        clock=clock,
        now=f"{at:%Y-%m-%dT%H:%M:%S}",
        port=dice.randrange(32768, 61000),
        n=dice.randrange(10**6, 10**7),
        ms=dice.randrange(10, 900),
        b=dice.randrange(2, 250),
    )


def master(count: int, *, step: timedelta = timedelta(milliseconds=5)) -> Iterator[tuple[datetime, str, str]]:
    """Yield `count` lines of a master with time and program: one in `EVERY` is a failure, the last among them."""
    dice = random.Random(7)  # noqa: S311 - the same inputs each time
    # A chatter of 5000 different lines that get their time anew is told apart by no program from one that never repeats.
    chatter = [
        written(
            dice.choice(CHATTER).replace("{day}", "\0").replace("{clock}", "\1").replace("{klog}", "\2"), START, dice
        )
        for _ in range(5000)
    ]
    at = START
    for number in range(1, count + 1):
        at += step
        if number == count:
            program, template = KINDS[0]
            yield at, program, f"{written(template, at, dice)} {LAST}"
        elif number % EVERY == 0:
            program, template = dice.choice(KINDS)
            yield at, program, written(template, at, dice)
        else:
            text = chatter[number * 7919 % 5000]
            clock = f"{at.hour:02}:{at.minute:02}:{at.second:02}.{at.microsecond:06}"
            yield at, "kubelet", text.replace("\0", "2026-11-24").replace("\1", clock).replace("\2", f"1124 {clock}")
