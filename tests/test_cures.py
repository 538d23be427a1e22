"""Actions: when the agent acts, when it never acts, and what verifies a cure; with a real store and a simulated machine."""

from dataclasses import replace
from datetime import timedelta

import pytest

from certmedic.actor.renew import RenewError
from certmedic.core import diagnose as doctor
from certmedic.core import window
from certmedic.core.model import Recheck, Served, Severity, Trust
from certmedic.intake import JUDGED_AT_ONCE
from labs import pki
from labs.played import BOTH, ME, REFUSED, REFUSING, group, old_manager, renewed_by
from labs.values import DAY, NOW, OLD_IMAGE, PEERS_CA, VOLUME, container, entry, k3s, member, stored, unit


def test_old_manager_is_not_restarted_and_the_reason_says_why(lab):
    lab = lab(containers=(container(image=OLD_IMAGE),))

    for _ in range(30):
        lab.step(REFUSED)

    assert lab.world.restarts == []
    assert "keeps an expired certificate" in lab.incidents()[0].decision.reason


def test_no_member_is_restarted_while_a_second_member_is_in_trouble(lab):
    lab = lab()

    for _ in range(30):
        lab.step(REFUSED, REFUSING)

    assert lab.world.restarts == []


def test_restart_that_renews_nothing_is_escalated_once_and_not_repeated(lab):
    lab = lab(renews=False)

    for _ in range(200):
        lab.step(REFUSED)

    assert len(lab.world.restarts) == 1
    assert lab.world.kinds() == ["opened", "escalated"]
    assert [i.state for i in lab.incidents()] == ["escalated"]


def test_refusal_of_the_runtime_is_escalated_with_its_error(lab):
    lab = lab(fails="docker is not reachable")

    for _ in range(30):
        lab.step(REFUSED)

    assert len(lab.world.restarts) == 1
    assert lab.world.kinds() == ["opened", "escalated"]
    assert "docker is not reachable" in [e["said"] for e in lab.store.events(1)][-1]


def test_lines_older_than_the_start_may_notify_but_cause_no_action(lab):
    lab = lab()
    old = NOW - timedelta(minutes=5)

    lab.step(REFUSED, at=old)
    lab.go(60)

    assert lab.world.restarts == []
    assert lab.world.kinds() == ["opened"]

    lab.step(REFUSED)
    lab.go(60)

    assert len(lab.world.restarts) == 1


def test_first_failure_after_the_report_leads_to_the_action_at_once(lab):
    lab = lab()
    lab.go(10)
    assert lab.world.kinds() == ["opened"]
    assert lab.world.restarts == []

    lab.step(REFUSED)
    lab.go(1)

    assert len(lab.world.restarts) == 1


def test_flood_of_forged_lines_delays_no_cure_and_is_judged_in_limited_parts(lab, monkeypatch):
    judged = []
    diagnose = doctor.diagnose
    monkeypatch.setattr(doctor, "diagnose", lambda fold, facts: judged.append(fold) or diagnose(fold, facts))
    lab = lab()
    for turn in range(30):
        forged = [REFUSED.replace("etcd-a", f"x{turn}-{number}") for number in range(300)]
        before = len(judged)
        lab.step(*forged, *([REFUSED] if lab.ails else []))
        assert len(judged) - before <= 2 * JUDGED_AT_ONCE
        if lab.world.restarts:
            break

    assert len(lab.world.restarts) == 1
    assert turn < 10


def test_expired_ca_causes_no_restart(lab):
    ca = pki.authority("etcd-peers-ca-main", not_before=NOW - 400 * DAY, not_after=NOW - DAY)
    me, _, *rest = member(peer=ca.leaf("etcd-a", not_after=NOW - 2 * DAY))
    lab = lab((me, stored(ca, f"{VOLUME}/peers/ca.crt", "ca"), *rest))
    for _ in range(30):
        lab.step(REFUSED)

    assert lab.world.restarts == []
    assert lab.incidents()[-1].diagnosis.cause == "ca_expired"
    assert Severity.CRITICAL in {i.severity for i in lab.incidents()}
    assert PEERS_CA is not ca


def test_agent_acts_once_after_approval_in_mode_approve(lab):
    lab = lab(mode="approve")
    for _ in range(60):
        lab.step(REFUSED)
    assert lab.world.restarts == []
    assert "certmedic approve 1" in lab.incidents()[0].decision.reason

    lab.store.approve(1, "jane", until=lab.now + timedelta(hours=4))
    lab.suffer(60)

    assert len(lab.world.restarts) == 1
    assert lab.world.kinds() == ["opened", "resolved"]


def test_expired_approval_causes_no_action(lab):
    lab = lab(mode="approve")
    lab.step(REFUSED)
    lab.store.approve(1, "jane", until=lab.now)
    for _ in range(60):
        lab.step(REFUSED)

    assert lab.world.restarts == []


def test_failed_action_prevents_actions_until_a_person_resets(lab):
    lab = lab(renews=False)
    for _ in range(60):
        lab.step(REFUSED)
    lab.world.files = member()
    lab.go(40)
    lab.world.files, lab.world.renews = member(server_ends=NOW - DAY), True
    lab.now += timedelta(hours=1)

    for _ in range(60):
        lab.step(REFUSED)
    assert len(lab.world.restarts) == 1
    assert "certmedic reset" in lab.incidents()[0].decision.reason

    lab.store.reset("jane", now=lab.now)
    lab.suffer(60)
    assert len(lab.world.restarts) == 2


@pytest.mark.parametrize(("hours", "acts"), [("Tue 15:00-17:00", 1), ("Sun 02:00-04:00", 0)])
def test_planned_action_comes_before_expiry_and_only_in_its_window(lab, hours, acts):
    plan = {"plan_ahead": 14 * DAY, "window": window.parse(hours)}
    lab = lab(member(peer_ends=NOW + 10 * DAY), remedy=plan)

    for _ in range(200):
        lab.step()

    assert len(lab.world.restarts) == acts
    assert [i.state for i in lab.incidents()] == (["resolved"] if acts else ["open"])
    assert [a.state for a in lab.store.acts()] == ["verified"] * acts


def test_no_action_is_planned_unless_it_is_configured(lab):
    lab = lab(member(peer_ends=NOW + 10 * DAY))
    for _ in range(200):
        lab.step()

    assert lab.world.restarts == []


# ---------------------------------------------------------------- renewed in place


def test_renewal_in_place_restarts_no_member(lab):
    lab = lab(member(peer_ends=NOW - DAY, server_ends=NOW - DAY), remedy={"renew": True}, signable=BOTH)
    lab.suffer(30)

    assert lab.world.restarts == []
    assert sorted(lab.world.renewed) == sorted(BOTH)
    assert lab.world.kinds() == ["opened", "resolved"]
    assert [a.state for a in lab.store.acts()] == ["verified"]


def test_renewal_in_place_also_cures_under_an_old_manager(lab):
    old = (container(image=OLD_IMAGE),)
    lab = lab(remedy={"renew": True}, signable=BOTH, containers=old)
    lab.suffer(30)

    assert lab.world.renewed == [ME]
    assert lab.world.kinds() == ["opened", "resolved"]


def test_nothing_is_renewed_without_the_ca_key_or_without_permission(lab):
    for remedy, signable in (({"renew": False}, BOTH), ({"renew": True}, frozenset())):
        machine = lab(remedy=remedy, signable=signable, containers=(container(image=OLD_IMAGE),))
        for _ in range(20):
            machine.step(REFUSED)
        assert machine.world.renewed == []


def test_renewal_that_cannot_be_verified_is_undone_and_escalated(lab):
    lab = lab(remedy={"renew": True}, signable=BOTH, renews=False)
    for _ in range(100):
        lab.step(REFUSED)

    assert lab.world.renewed == [ME]
    assert lab.world.undone == [ME]
    assert lab.world.kinds() == ["opened", "escalated"]


# ---------------------------------------------------------------- one of several members


@pytest.mark.parametrize(
    ("others", "acts"),
    [({"b": "good", "c": "good"}, 1), ({"b": "gone", "c": "good"}, 0)],
)
def test_member_is_restarted_only_if_the_group_keeps_its_quorum(lab, others, acts):
    lab = lab(members=group(a="expired", **others))
    lab.suffer(60)

    assert len(lab.world.restarts) == acts


def test_first_member_by_name_is_restarted_first_if_all_have_expired(lab):
    lab = lab(members=group(a="expired", b="expired", c="expired"))
    for _ in range(60):
        lab.step(*([REFUSED, REFUSING] if lab.ails else []))

    assert len(lab.world.restarts) == 1
    assert {"member safe", "turn"} <= {g.name for g in lab.store.incident(1).decision.gates}


# ---------------------------------------------------------------- files that are not in use


def elsewhere(files):
    """Return the same kinds of files on an old volume that is still mounted."""
    return tuple(
        replace(
            file,
            certificate=replace(file.certificate, path=file.certificate.path.replace("vol-01", "vol-old")),
            place=replace(file.place, ca_path=file.place.ca_path.replace("vol-01", "vol-old")),
        )
        for file in files
    )


def test_forged_lines_and_expired_files_on_an_old_volume_cause_no_action(lab):
    old = elsewhere(member(peer_ends=NOW - DAY))
    lab = lab(
        (*member(), *old),
        idle=tuple(file.certificate.path for file in old),
        members=group(a="good", b="good", c="good"),
    )

    for _ in range(100):  # longer than any patience
        lab.step(REFUSED, REFUSING, seconds=9)

    assert lab.world.restarts == []
    own = [incident for incident in lab.incidents() if incident.diagnosis.suspect == "own"]
    assert [(incident.diagnosis.remedy.helps, incident.severity) for incident in own] == [("no", "warning")]
    assert "is not in use: 127.0.0.1:2380 serves another certificate" in lab.incidents()[-1].decision.reason


def test_files_in_use_are_cured_and_verified_beside_an_old_volume(lab):
    old = elsewhere(member(peer_ends=NOW - 9 * DAY))
    lab = lab((*member(peer_ends=NOW - DAY), *old), idle=tuple(file.certificate.path for file in old))
    restart = lab.world.restart

    def keeps_the_old(target):
        outcome = restart(target)
        lab.world.files += old
        return outcome

    lab.world.restart = keeps_the_old
    lab.suffer(60)

    assert len(lab.world.restarts) == 1
    assert [act.state for act in lab.store.acts()] == ["verified"]
    assert ("resolved" in lab.world.kinds(), "escalated" in lab.world.kinds()) == (True, False)


def test_file_that_is_reissued_between_read_and_handshake_is_not_taken_as_unused(lab):
    lab = lab()
    while not lab.world.restarts:
        lab.suffer(1)
    # The manager reissues the certificate after the files were read and before the handshake.
    fresh, read = lab.world.files, member(peer_ends=NOW - DAY)
    lab.world.files, lab.world.idle = (*read, *elsewhere(fresh)), tuple(file.certificate.path for file in read)
    lab.go(3)
    lab.loop.step([Recheck(kind="inventory", incident=None, due=lab.now)], lab.now)
    assert [act.state for act in lab.store.acts()] == ["done"]
    assert len(lab.incidents()) == 1
    lab.world.files, lab.world.idle = fresh, ()
    lab.go(60)
    assert lab.world.kinds() == ["opened", "resolved"]


# ---------------------------------------------------------------- units and commands


@pytest.mark.parametrize("kind", ["unit", "command"])
def test_unit_or_command_of_the_operator_is_used_without_a_container(lab, kind):
    lab = renewed_by(lab, kind)
    lab.suffer(60)

    assert [t.id for t in lab.world.restarts] == [
        "k3s.service" if kind == "unit" else "/usr/local/sbin/renew 'all etcd'"
    ]
    assert lab.world.kinds() == ["opened", "resolved"]
    assert [a.state for a in lab.store.acts()] == ["verified"]


def test_unit_that_a_person_stopped_is_not_started(lab):
    lab = lab(k3s(), containers=(unit(state="inactive"),), remedy={"restart": ("k3s",)})
    lab.suffer(60)

    assert lab.world.restarts == []
    gates = {gate.name: gate for gate in lab.incidents()[0].decision.gates}
    assert not gates["target"].passed


# ---------------------------------------------------------------- verification

FROM_MEMORY = REFUSING.replace("10.0.0.2", "127.0.0.1").replace("etcd-a", "")


def say(lab, text):
    """Give the loop a line of the member that etcd-manager runs."""
    lab.position += 1
    line = entry(text.format(40000 + lab.position), at=lab.now, pod="etcd-manager-main-ip-10-0-0-1")
    lab.loop.step([replace(line, position=str(lab.position))], lab.now)


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        # A line about a call from this machine: any program here can provoke it.
        (FROM_MEMORY, ["opened", "resolved"]),
        # A line about another machine does not concern this cure.
        (REFUSING, ["opened", "resolved"]),
        # A line that no file explains proves nothing.
        (REFUSED, ["opened", "resolved"]),
    ],
)
def test_unproven_lines_after_a_cure_do_not_prevent_its_verification(lab, text, kinds):
    lab = lab()
    for _ in range(80):
        lab.suffer(1)
        if lab.world.restarts:
            say(lab, text)

    assert len(lab.world.restarts) == 1
    assert lab.world.kinds() == kinds
    assert lab.world.undone == []
    assert [a.state for a in lab.store.acts()] == ["failed" if "escalated" in kinds else "verified"]


def test_renewal_in_place_is_verified_although_a_process_holds_the_old_certificate(lab):
    lab = lab(remedy={"renew": True}, signable=BOTH)
    for _ in range(60):
        lab.suffer(1)
        if lab.world.renewed:
            say(lab, FROM_MEMORY)

    assert [a.state for a in lab.store.acts()] == ["verified"]
    assert "stale_in_memory" in {i.diagnosis.cause for i in lab.incidents() if i.state == "open"}
    assert lab.world.restarts == []  # no file proves it, so the message asks a person to restart


GRPC_REFUSED = (
    'W1124 15:40:00.000000    2613 server.go:888] grpc: Server.Serve failed to complete security handshake from "10.0.0.2:{}":'
    " remote error: tls: bad certificate"
)
MANAGER = "/etc/kubernetes/pki/etcd-manager-main/etcd-manager-server-etcd-a.crt"
MANAGERS_CA = pki.authority("etcd-manager-ca-main", not_before=NOW - 400 * DAY)


def grpc(ends):
    """Return the certificate that etcd-manager serves to its peers, and its CA."""
    folder = MANAGER.rpartition("/")[0]
    leaf = MANAGERS_CA.leaf("etcd-manager-server-etcd-a", not_before=NOW - 400 * DAY, not_after=ends, client=False)
    return (
        stored(leaf, MANAGER, "manager-server", ca_path=f"{folder}/etcd-manager-ca.crt"),
        stored(MANAGERS_CA, f"{folder}/etcd-manager-ca.crt", "ca", renewer="nodeup"),
    )


def test_holder_of_an_old_certificate_is_restarted_after_the_files_were_renewed(lab):
    lab = lab(
        (*member(peer_ends=NOW - DAY), *grpc(NOW - DAY)),
        remedy={"renew": True, "cooldown": timedelta(seconds=60)},
        signable=BOTH | {MANAGER},
    )
    lab.world.renew = lambda file, *, now, about_to: renewed_only(lab.world, file)
    whole = lab.world.restart

    def restart(target):
        outcome = whole(target)
        lab.world.files = (*member(), *grpc(NOW + 300 * DAY))
        return outcome

    lab.world.restart = restart
    for _ in range(200):
        bad = any(s.certificate.not_after < NOW for s in lab.world.files)
        lab.step(*([REFUSED] if bad and not lab.world.renewed else []))
        if bad and lab.world.renewed:
            say(lab, GRPC_REFUSED)

    assert lab.world.renewed == [ME]
    assert len(lab.world.restarts) == 1
    assert [(a.action.kind, a.state) for a in lab.store.acts()] == [("renew", "verified"), ("restart", "verified")]
    assert lab.world.kinds() == ["opened", "resolved"] * 2


def renewed_only(world, file):
    """Renew one file and keep the others."""
    world.renewed.append(file.certificate.path)
    fresh = {s.certificate.path: s for s in member()}
    world.files = tuple(fresh.get(s.certificate.path, s) for s in world.files)


def test_restart_is_verified_only_if_the_container_is_a_new_one(lab):
    lab = lab()

    def renews_and_stays(target):
        lab.world.restarts.append(target)
        lab.world.files = member()
        return "restarted"

    lab.world.restart = renews_and_stays
    lab.step(REFUSED)
    lab.go(60)

    assert [act.state for act in lab.store.acts()] == ["failed"]
    assert "was not restarted" in lab.store.acts()[0].detail
    assert lab.world.kinds()[:2] == ["opened", "escalated"]


@pytest.mark.parametrize("back", [timedelta(hours=3), timedelta(minutes=20), timedelta(seconds=20)])
def test_clock_that_is_set_back_delays_no_verification(lab, back):
    lab = lab()
    lab.suffer(10)
    assert [act.state for act in lab.store.acts()] == ["done"]

    lab.now -= back
    lab.go(40)

    assert [act.state for act in lab.store.acts()] == ["verified"]
    assert lab.world.kinds() == ["opened", "resolved"]


def test_clock_that_is_set_forward_does_not_shorten_a_verification(lab):
    lab = lab(renews=False)
    for _ in range(6):
        lab.step(REFUSED)
    assert [act.state for act in lab.store.acts()] == ["done"]

    lab.now += timedelta(hours=3)
    lab.go(10)
    assert [act.state for act in lab.store.acts()] == ["done"]
    lab.world.files = member()
    lab.go(30)

    assert [act.state for act in lab.store.acts()] == ["verified"]
    assert lab.world.kinds() == ["opened", "resolved"]


def test_renewal_is_undone_if_clients_without_sni_still_get_the_old_certificate(lab):
    lab = lab(remedy={"renew": True}, signable=BOTH)
    expired, gather = lab.world.files[0].certificate, lab.world.gather

    def as_before_3_2_19(*, now, with_members=False, nameless=False):
        seen = gather(now=now, with_members=with_members)
        held = Served(address="127.0.0.1", port=2380, certificate=expired, trust=Trust.SYSTEM)
        return replace(seen, served=(*seen.served, held)) if nameless else seen

    lab.world.gather = as_before_3_2_19
    for _ in range(60):
        lab.step(REFUSED)

    assert lab.world.undone == [ME]
    assert "127.0.0.1:2380 still serves the certificate that expires" in lab.store.acts()[0].detail
    assert lab.world.kinds()[:2] == ["opened", "escalated"]


# ---------------------------------------------------------------- moved aside


def test_old_manager_is_cured_by_moving_the_expired_files_aside(lab):
    lab = old_manager(lab)
    lab.suffer(60)

    assert len(lab.world.restarts) == 1
    assert sorted(lab.world.aside) == sorted(BOTH)
    assert lab.world.undone == []
    assert lab.world.kinds() == ["opened", "resolved"]


def test_line_about_a_file_that_was_moved_aside_opens_no_incident_during_the_cure(lab):
    # etcd 3.4 under etcd-manager 3.0.20200307 logs this line from the move until it stops; anyone can log it for longer.
    missed = f'embed: rejected connection from "10.0.0.2:{{}}" (error "open {ME}: no such file or directory", ServerName "etcd-a")'
    lab = old_manager(lab)
    while not lab.world.restarts:
        lab.suffer(1)
    lab.go(3)  # the loop reads the files again
    while lab.store.acts(state="done"):
        say(lab, missed)
        lab.go(1)
    assert [act.state for act in lab.store.acts()] == ["verified"]
    assert lab.world.kinds() == ["opened", "resolved"]

    lab.go(40)
    say(lab, missed)  # after the verification the line counts
    lab.go(5)
    assert [incident.diagnosis.cause for incident in lab.incidents()] == ["unexplained", "expired"]


@pytest.mark.parametrize(
    ("changed", "gate"),
    [
        ({"remedy": {}}, "fix known"),
        ({"signable": frozenset({ME})}, "CA valid"),
        ({"containers": (container(image="kopeio/etcd-manager@sha256:12"),)}, "version"),
    ],
)
def test_nothing_is_moved_aside_if_one_gate_is_closed(lab, changed, gate):
    lab = old_manager(lab, **changed)
    lab.suffer(40)

    assert (lab.world.restarts, lab.world.aside) == ([], {})
    assert gate in [g.name for g in lab.incidents()[0].decision.gates if not g.passed]


def test_file_that_has_not_expired_is_never_moved_aside(lab):
    lab = old_manager(lab, remedy={"reissue": True, "plan_ahead": 30 * DAY})
    lab.world.files = member(peer_ends=NOW + 10 * DAY)
    lab.go(200)

    assert (lab.world.restarts, lab.world.aside) == ([], {})


def test_files_are_put_back_and_the_incident_escalated_if_nothing_is_reissued(lab):
    lab = old_manager(lab, renews=False)
    lab.suffer(100)

    assert len(lab.world.restarts) == 1
    assert sorted(lab.world.undone) == sorted(BOTH)
    assert lab.world.kinds() == ["opened", "escalated"]
    assert "put back" in lab.store.acts()[0].detail


def test_late_restart_after_moving_files_aside_is_verified(lab):
    lab = old_manager(lab, fails="docker did not answer in time")
    while not lab.world.restarts:
        lab.suffer(1)
    lab.go(5)
    assert lab.world.undone == []
    lab.world.files += tuple(file for file in member() if file.certificate.path in BOTH)
    lab.world.containers = (container(number="c2", image=OLD_IMAGE),)
    lab.go(30)

    assert lab.world.undone == []
    assert [a.state for a in lab.store.acts()] == ["verified"]


def test_failed_move_puts_the_files_back_and_restarts_nothing(lab):
    lab = old_manager(lab)
    whole = lab.world.move_aside

    def move_aside(aside):
        if lab.world.aside:
            raise RenewError("read-only file system")
        whole(aside)

    lab.world.move_aside = move_aside
    lab.suffer(40)

    assert lab.world.restarts == []
    assert len(lab.world.undone) == 1
    assert lab.world.kinds() == ["opened", "escalated"]


# ---------------------------------------------------------------- the lease in etcd


@pytest.mark.parametrize("state", ["ours", "none"])
def test_agent_acts_with_the_lease_or_if_there_is_no_lease(lab, state):
    lab = lab(lease=state)
    lab.suffer(40)

    assert len(lab.world.restarts) == 1
    assert f"the lease is {state}" in next(g.why for g in lab.incidents()[-1].decision.gates if g.name == "turn")
    assert lab.world.released == ["main"]
    intent = next(f for f in lab.world.journal if f["CERTMEDIC_EVENT"] == "intent")
    assert "turn: pass" in intent["CERTMEDIC_GATES"]


def test_agent_waits_while_another_master_has_the_lease(lab):
    lab = lab(lease="theirs")
    for _ in range(60):
        lab.step(REFUSED)
    assert lab.world.restarts == []
    assert lab.store.acts() == []  # no action began, and the budget of the day is unused
    assert (
        lab.incidents()[0].decision.reason
        == "no action: the lease is theirs (to pass: wait until the other master gives the lease back)"
    )

    lab.world.lease = "ours"
    lab.suffer(60)
    assert len(lab.world.restarts) == 1
    assert lab.world.kinds() == ["opened", "resolved"]


def test_lease_is_released_after_a_failed_action_and_not_needed_for_a_renewal(lab):
    failing = lab(lease="ours", fails="docker is not reachable")
    for _ in range(30):
        failing.step(REFUSED)
    assert failing.world.released == ["main"]

    renewing = lab(lease="theirs", remedy={"renew": True}, signable=BOTH)
    renewing.suffer(30)
    assert renewing.world.renewed == [ME]
