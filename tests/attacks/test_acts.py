"""Actions on a simulated machine: strangers cannot be their target, fail their verification or block them.

These tests simulate the container runtime and a clock that goes back. The other tests of this folder run the real agent.
"""

from dataclasses import replace
from datetime import timedelta

from certmedic.core.model import Trust
from labs.played import OWN_TIME, REFUSED
from labs.strangers import strange, trusted
from labs.values import DAY, container


def own(container_):
    """Return the container with the trust of a static pod of kube-system."""
    return replace(container_, trust=Trust.SYSTEM)


def turn(lab, *items, seconds=1):
    """Take one turn with these items."""
    lab.now += timedelta(seconds=seconds)
    lab.loop.step(list(items), lab.now)


def complain(lab, number=1):
    """Return the line of a program of root that a client rejected its certificate."""
    return trusted(REFUSED.format(40000 + number), at=lab.now + timedelta(seconds=1))


def test_tenants_container_is_never_restarted(lab):  # M3
    stranger = replace(container(), namespace="tenant", name="k8s_etcd-manager_etcd-manager-main-x_tenant_0123_0")
    made = lab(containers=(stranger,))
    for number in range(20):
        turn(made, complain(made, number))
    assert made.world.restarts == []


def test_stranger_cannot_veto_a_verification(lab):  # M2
    made = lab(containers=(own(container()),), notify={"group_for": timedelta(seconds=20)})
    accusing = REFUSED.replace("etcd-a", "evil")  # a name that none of the good certificates holds
    for number in range(120):
        items = [complain(made, number)] if made.ails else []
        if made.world.restarts:
            at = made.now + timedelta(seconds=1)
            items += [
                strange(accusing.format(41000 + number), at=at, pod="etcd-manager-main-x", container="etcd-manager"),
                strange(OWN_TIME.format(number), at=at, program="etcd"),
            ]
        turn(made, *items)
    assert made.world.restarts
    assert made.store.tripped() == ""
    assert [act.state for act in made.store.acts()] == ["verified"]


def test_reset_while_the_clock_was_ahead_does_not_disable_the_breaker(lab):  # M6
    made = lab(containers=(own(container()),), fails="docker says no")
    turn(made)
    ahead = made.now + 400 * DAY
    made.store.reset("jane", now=ahead)
    for number in range(20):
        turn(made, complain(made, number))
    assert made.world.restarts
    assert made.store.tripped() != ""
