"""How a program is restarted: as the operator configured, by its known unit, else by its container."""

from dataclasses import replace

import pytest

from certmedic.core.means import Means, done_by, means_for, targets
from certmedic.core.model import Trust
from certmedic.core.verdict import survey
from labs.values import DAY, NOW, container, facts, k3s, member, unit

BY_UNIT = Means(renewer="etcd-manager", unit="etcd-manager.service")
BY_COMMAND = Means(renewer="etcd-manager", command=("renew", "it all"))
EVENTS_ONLY = replace(BY_UNIT, group="events")


def diagnosis(files=None):
    return survey(facts(files or member(peer_ends=NOW - DAY)), warn_within=NOW - NOW)[0]


@pytest.mark.parametrize(
    ("files", "named", "means"),
    [
        ((), (BY_UNIT,), None),
        (member(), (), None),
        (member(), (BY_UNIT,), BY_UNIT),
        (member(), (EVENTS_ONLY,), None),
        (member(), (EVENTS_ONLY, BY_COMMAND, BY_UNIT), BY_COMMAND),
        (k3s(), (BY_UNIT,), Means(renewer="k3s", unit="k3s.service")),
    ],
)
def test_first_matching_means_of_the_operator_is_chosen(files, named, means):
    assert means_for(files, named) == means


def test_command_is_its_own_target():
    (target,) = targets(diagnosis(), facts(), BY_COMMAND)
    assert (target.id, target.runtime, target.trust) == ("renew 'it all'", "command", Trust.SYSTEM)
    assert done_by(target) == "run renew 'it all'"


@pytest.mark.parametrize(
    ("state", "is_target"),
    [("active", True), ("failed", True), ("activating", True), ("inactive", False), ("deactivating", False)],
)
def test_stopped_unit_is_no_target(state, is_target):
    there = unit("etcd-manager.service", state=state)
    assert targets(diagnosis(), facts(containers=(unit(), there)), BY_UNIT) == ([there] if is_target else [])
    assert done_by(there) == "restart etcd-manager.service"


@pytest.mark.parametrize(
    ("change", "is_target"),
    [
        ({}, True),
        ({"trust": Trust.CLUSTER}, False),
        ({"namespace": "default"}, False),
        ({"pod": "etcd-manager-events-x"}, False),
        ({"container_name": "sidecar"}, False),
        ({"state": "exited"}, False),
    ],
)
def test_container_is_a_target_only_in_a_running_static_pod_of_the_group(change, is_target):
    there = replace(container(), **change)
    assert targets(diagnosis(), facts(containers=(there,)), None) == ([there] if is_target else [])


def test_diagnosis_without_a_group_has_no_target():
    assert targets(replace(diagnosis(), group=""), facts(), None) == []
