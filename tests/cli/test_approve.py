"""`certmedic approve` accepts an approval only for a proposed action, and only if the service waits for it."""

import pytest

from labs import commandline
from labs.played import REFUSED
from labs.values import OLD_IMAGE, container


def approve(lab, mode="approve"):
    return commandline.run(lab, "approve", "1", config=f'mode = "{mode}"\n')


def approvals(lab):
    return [event["said"] for event in lab.store.events(1) if event["what"] == "approved"]


def test_proposed_action_is_approved(lab):
    lab = lab(mode="approve")
    lab.suffer(5)
    done = approve(lab)

    assert (done.exit_code, done.stdout) == (0, "approved: incident 1; `certmedic show 1` shows the result\n")
    assert len(approvals(lab)) == 1
    assert lab.store.approved(1, now=lab.now)


def test_approval_may_come_before_the_next_failure_is_logged(lab):
    lab = lab(mode="approve")
    lab.suffer(5)
    lab.go(1)
    for _ in range(6):
        lab.step(seconds=600)  # closes the gate "fresh"
    assert [gate.name for gate in lab.incidents()[0].decision.gates if not gate.passed] == ["fresh", "mode"]

    assert approve(lab).exit_code == 0


@pytest.mark.parametrize("mode", ["observe", "notify", "remedy"])
def test_approval_is_refused_in_a_mode_without_approvals(lab, mode):
    lab = lab(mode=mode, fails="no")
    lab.step(REFUSED)
    done = approve(lab, mode)

    assert done.exit_code == 1
    assert f'mode is "{mode}"; only mode "approve" waits for approvals' in done.output
    assert approvals(lab) == []


@pytest.mark.parametrize(
    ("changed", "remedy", "reason"),
    [
        ({"containers": ()}, {}, "no etcd-manager container was found"),
        ({"containers": (container(image=OLD_IMAGE),)}, {}, "A restart does not fix it."),
        ({}, {"restart": ()}, "remedy.restart does not list etcd-manager"),
    ],
)
def test_approval_is_refused_if_no_action_is_proposed(lab, changed, remedy, reason):
    lab = lab(mode="approve", remedy=remedy, **changed)
    lab.suffer(5)
    done = approve(lab)

    assert done.exit_code == 1
    assert "certmedic: incident 1 has no action to approve: " in done.output
    assert reason in done.output
    assert approvals(lab) == []


def test_approval_is_refused_before_a_decision(lab):
    lab = lab(mode="approve")
    lab.step(REFUSED)
    assert lab.incidents()[0].decision is None

    assert "no decision yet" in approve(lab).output
