"""The renewal of a certificate, in the words of metrics and lists."""

from __future__ import annotations

from datetime import timedelta

from certmedic.core import planes, remedies
from certmedic.core.decision.decide import can_be_renewed, is_in_use
from certmedic.core.decision.policy import Policy
from certmedic.core.examine import displaced
from certmedic.core.means import means_for
from certmedic.core.model import Facts, Place, RemedyKind, Stored, Trust

CURES = {
    RemedyKind.RESTART: "restart",
    RemedyKind.RENEW: "renew",
    RemedyKind.REISSUE_AND_RESTART: "reissue",
    RemedyKind.MANUAL: "manual",
    RemedyKind.NONE: "none",
}


def cure_of(place: Place, facts: Facts, *, residual: timedelta = timedelta(0)) -> str:
    """Return what renews a certificate at a place that is valid for `residual`.

    * `restart`: its program reissues it at its start
    * `renew`: renew the file; its program takes it up
    * `reissue`: move the file aside, then restart its program
    * `manual`: other steps of a person
    """
    return CURES[remedies.for_place(place, facts, residual=residual).kind]


def is_used(stored: Stored, facts: Facts) -> bool:
    """Whether nothing proves that another certificate is used in place of this one: another file, or a later CA in the same file."""
    own = stored.certificate
    if not own.is_ca:
        return not displaced(stored, facts)
    others = facts.by_path.get(own.path, ())
    return not any(o.is_ca and o.subject == own.subject and o.not_after > own.not_after for o in others)


def renews_by_itself(stored: Stored, facts: Facts, policy: Policy) -> bool:
    """Whether a certificate is renewed before it expires without anybody's help: by its program, or by certmedic as planned."""
    place = stored.place
    running = planes.renewer_of(place.renewer).renews_running
    if place.use != "ca" and ("*" in running or place.use in running):
        return True
    if policy.mode != "remedy" or not policy.plan_ahead or stored.trust is not Trust.SYSTEM:
        return False
    if stored.certificate.is_ca or not is_in_use(stored, facts):
        return False
    if policy.renew and stored.authorised and can_be_renewed(stored, facts):
        return True
    means = means_for([stored], policy.means)
    renews = cure_of(place, facts, residual=policy.plan_ahead) == "restart" or (means is not None and means.renews)
    return renews and place.renewer in policy.restart
