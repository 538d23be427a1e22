"""Static pods that are restarted once their files were renewed."""

from dataclasses import replace
from datetime import timedelta

import pytest

from certmedic.core.decision import Policy, decide, pods, still_to_restart
from certmedic.core.decision.policy import History
from certmedic.core.model import Container, RemedyKind, Trust
from certmedic.core.verdict import survey
from labs.held import CA, CA_FILE, CONF, OF, program, scheduler
from labs.values import DAY, NOW, facts, stored


def pod(name="kube-scheduler", **changed):
    values = {"namespace": "kube-system", "state": "running", "runtime": "containerd", "trust": Trust.SYSTEM}
    values |= {"id": f"c-{name}", "name": name, "image": "", "pod": f"{name}-a", "container_name": name}
    return Container(**{**values, **changed})


@pytest.mark.parametrize(
    ("file", "containers", "can"),
    [
        (scheduler(), (pod(),), True),
        (scheduler(), (), False),
        (scheduler(), (pod(), pod(id="c2")), False),
        (scheduler(), (pod(trust=Trust.STRANGER),), False),
        (scheduler(), (pod(namespace="tenant"),), False),
        (scheduler(), (pod(state="exited"),), False),
        (scheduler(), (pod("kube-apiserver"),), False),
        (replace(scheduler(), place=replace(scheduler().place, use="apiserver-healthcheck")), (pod(),), False),
    ],
)
def test_only_a_single_running_pod_of_root_may_be_restarted(file, containers, can):
    assert pods.can_be_restarted(file, facts((file,), containers=containers)) is can


@pytest.mark.parametrize(
    ("running", "can"), [(("etcd",), True), (("etcd", "kube-scheduler"), False), (("postgres",), False), ((), False)]
)
def test_program_that_has_ended_reads_the_renewed_file_when_it_starts(running, can):
    here = facts((scheduler(),), containers=(), programs=tuple(map(program, running)))
    assert pods.can_be_restarted(scheduler(), here) is can


@pytest.mark.parametrize(
    ("started", "names"),
    [(NOW - DAY, ["kube-scheduler"]), (NOW - timedelta(seconds=1), ["kube-scheduler"]), (NOW, [])],
)
def test_program_that_started_after_the_renewal_is_not_restarted(started, names):
    here = facts((scheduler(),), containers=(pod(),), programs=(program(started=started),))
    assert [container.container_name for container in still_to_restart([scheduler()], here)] == names


@pytest.mark.parametrize(("containers", "acts"), [((pod(),), True), ((), False)])
def test_kubeconfig_is_renewed_where_its_program_can_be_restarted(containers, acts):
    leaf = CA.leaf("system:kube-scheduler", not_before=NOW - 400 * DAY, not_after=NOW - DAY, server=False)
    files = (stored(leaf, CONF, "scheduler-client", ca_path=CA_FILE, **OF), stored(CA, CA_FILE, "ca", **OF))
    here = facts(files, containers=containers, programs=(program(),), signable=frozenset({CONF}))
    (fault,) = survey(here, warn_within=timedelta())
    policy = Policy(mode="remedy", restart=(), cooldown=DAY, per_day=2, renew=True)
    decision = decide(replace(fault, last_seen=NOW), here, History(started_at=NOW - DAY, incident=7), policy)
    assert (decision.action is not None) is acts
    if decision.action is not None:
        assert (decision.action.kind, decision.action.watched) == (RemedyKind.RENEW, ((CONF, NOW - DAY),))
        assert "then restart kube-scheduler" in decision.reason
