"""Whether to act on a diagnosis, and why or why not.

Every gate that makes sense is asked, so that a person sees the whole list, and one that does not pass is enough to do nothing.
No log line alone leads to an action: the evidence gate wants a certificate that was read at a trusted place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from certmedic.core import cures, planes
from certmedic.core.decision import gates, pods, quorum, steady, target
from certmedic.core.decision.gates import Context
from certmedic.core.decision.policy import History, Policy
from certmedic.core.examine import displaced, rivalled
from certmedic.core.means import done_by, means_for
from certmedic.core.model import (
    Action,
    Cause,
    Decision,
    Diagnosis,
    Facts,
    Gate,
    GateName,
    RemedyKind,
    Stored,
    WaitsFor,
)

# All gates, in the order in which people read them.
GATES: tuple[Callable[[Context], Gate | None], ...] = (
    gates.evidence,
    gates.cure,
    target.version,
    gates.authority,
    gates.clock,
    gates.fresh,
    gates.window,
    target.target,
    quorum.others_untroubled,
    quorum.member_safe,
    quorum.member_turn,
    steady.steady,
    gates.breaker,
    gates.cooldown,
    gates.budget,
    gates.actor,
    gates.permission,
)


def decide(diagnosis: Diagnosis, facts: Facts, history: History, policy: Policy) -> Decision:
    """Return what to do about a diagnosis: an action, or nothing, with every gate's answer."""
    if diagnosis.cause is Cause.BLIND:
        return Decision(reason="no action: a log cannot be read, and no certificate is known to be bad")
    context = context_of(diagnosis, facts, history, policy)
    answers = tuple(gate for ask in GATES if (gate := ask(context)) is not None)
    blocking = [gate for gate in answers if not gate.passed]
    if blocking:
        return Decision(
            reason=f"no action: {gates.explain(blocking[0])}",
            gates=answers,
            waits_for=waits_for(blocking, context),
        )
    action = Action(
        kind=kind_of(context),
        container=None if context.in_place else context.containers[0],
        watched=tuple((stored.certificate.path, stored.certificate.not_after) for stored in context.watched),
        ports=tuple(sorted({port for stored in context.watched for port in stored.place.ports})),
    )
    return Decision(reason=reason_of(action, context), gates=answers, action=action)


def context_of(diagnosis: Diagnosis, facts: Facts, history: History, policy: Policy) -> Context:
    """Return what the gates are asked about: which files would be renewed, and by which action."""
    known = files_of(diagnosis, facts)
    in_use = [stored for stored in known if is_in_use(stored, facts)]
    held_by = keeps_loaded(diagnosis, facts)
    able = [stored for stored in in_use if can_be_renewed(stored, facts, held_by)]
    renewable = able if policy.renew else []
    watched = renewable or in_use
    means = means_for(watched, policy.means)
    return Context(
        diagnosis=diagnosis,
        facts=facts,
        history=history,
        policy=policy,
        known=known,
        watched=watched,
        means=means,
        containers=target.trusted_targets(diagnosis, facts, means),
        in_place=bool(renewable),
        aside=policy.reissue and not renewable and means is None and can_be_moved_aside(diagnosis, watched, facts),
        held_by=held_by,
        could_renew=bool(able),
        renewable_but_held=bool(held_by)
        and policy.renew
        and not renewable
        and any(can_be_renewed(stored, facts) for stored in watched),
    )


def waits_for(blocking: Sequence[Gate], context: Context) -> WaitsFor | None:
    """Return the one thing that is still waited for; None if more than that keeps certmedic from acting."""
    refused = not context.policy.unable  # then the gate `actor` opens by itself, after a while
    names = [gate.name for gate in blocking if not (refused and gate.name == GateName.ACTOR)]
    allowed = context.in_place or {s.place.renewer for s in context.watched} <= set(context.policy.restart)
    if names == [GateName.MODE] and context.policy.mode == "approve" and allowed:
        return WaitsFor.APPROVAL
    return WaitsFor.TURN if set(names) <= {GateName.TURN, GateName.STEADY} else None


def kind_of(context: Context) -> RemedyKind:
    """Return the kind of action."""
    if context.in_place:
        return RemedyKind.RENEW
    return RemedyKind.REISSUE_AND_RESTART if context.aside else RemedyKind.RESTART


def reason_of(action: Action, context: Context) -> str:
    """Return what the action does and why, in a sentence."""
    paths = ", ".join(path for path, _ in action.watched)
    if action.container is None:
        late = dict.fromkeys(planes.holder_in(s.place) for s in context.watched if planes.reads_at_start(s.place))
        then = f", then restart {' and '.join(late)}" if late else ""
        reason = f"renew {paths} in place{then}: its CA's key is on this machine"
        left = [s.certificate.path for s in context.known if s not in context.watched and is_in_use(s, context.facts)]
        return f"{reason}; {', '.join(left)} stays as it is: its program needs a restart too" if left else reason
    if context.aside:
        doing = f"move {paths} aside and {done_by(action.container)}"
        return f"{doing}: etcd-manager keeps an expired certificate, and issues a missing one"
    if context.means is not None and context.means.renews:
        return f"{done_by(action.container)}: the operator says that it renews (remedy.means)"
    return f"{done_by(action.container)}: {context.diagnosis.remedy.why}"


def is_in_use(stored: Stored, facts: Facts) -> bool:
    """Whether nothing says that another certificate is used in place of this one."""
    return not (displaced(stored, facts) or rivalled(stored, facts))


def files_of(diagnosis: Diagnosis, facts: Facts) -> list[Stored]:
    """Return the leaves of a diagnosis that are on disk."""
    paths = {certificate.path for certificate in diagnosis.certificates}
    return [stored for stored in facts.stored if stored.certificate.path in paths and not stored.certificate.is_ca]


def can_be_renewed(stored: Stored, facts: Facts, held_by: str = "") -> bool:
    """Whether a renewed leaf would be used: its CA's key is here, and its program takes it up or is a pod that may be restarted.

    `held_by`: why the etcd here does not, from `keeps_loaded`.
    """
    use = stored.place.use
    if stored.certificate.path not in facts.signable:
        return False
    if planes.reads_at_start(stored.place):
        return planes.use_of(use).renewable and pods.can_be_restarted(stored, facts)
    if planes.use_of(use).rereads:
        return not (held_by and use in ("peer", "server"))
    return planes.use_of(use).renewable and (planes.use_of(use).is_idle or is_reloaded(stored, facts))


def is_reloaded(stored: Stored, facts: Facts) -> bool:
    """Whether a kube-apiserver of this version takes a renewed file up: within a minute while it runs, else when it starts."""
    since, version = planes.use_of(stored.place.use).reloads_since, cures.version_of(facts)
    return since is not None and version is not None and version >= since


def keeps_loaded(diagnosis: Diagnosis, facts: Facts) -> str:
    """Return why the etcd here does not take up a new file by itself, in a sentence; "" if it does, or its version is unknown."""
    mine = [member.version for member in quorum.of_group(facts.members, diagnosis.group) if member.is_self]
    old = next((version for version in mine if planes.takes_up(version) is False), "")
    return (
        f"etcd {old} keeps serving the certificate it loaded at startup to clients that send no SNI,"
        " so renewing the file is not enough"
        if old
        else ""
    )


def can_be_moved_aside(diagnosis: Diagnosis, watched: Sequence[Stored], facts: Facts) -> bool:
    """Whether a manager keeps these files over its restart, and would issue them if they were missing: all have expired."""
    return (
        diagnosis.remedy.kind is RemedyKind.REISSUE_AND_RESTART
        and bool(watched)
        and all(
            planes.renewer_of(s.place.renewer).issues_missing and s.certificate.not_after < facts.at for s in watched
        )
    )
