"""The actions that the configuration allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certmedic.config.schema import Config
from certmedic.core import planes
from certmedic.core.planes import HAVE_MEANS

if TYPE_CHECKING:  # loaded when they are needed: a command such as explain decides nothing
    from certmedic.core.decision import Policy
    from certmedic.core.incident import Terms


def units_of(config: Config) -> tuple[str, ...]:
    """Return the systemd units that may be restarted."""
    known = [planes.unit_of(name) for name in config.remedy.restart]
    return tuple(dict.fromkeys(unit for unit in (*known, *(means.unit for means in config.remedy.means)) if unit))


def policy_of(config: Config) -> Policy:
    """Return what the configuration allows, as decisions ask for it."""
    from certmedic.core.decision import Policy  # noqa: PLC0415 - see above

    remedy = config.remedy
    return Policy(
        mode=config.mode,
        restart=remedy.restart,
        renew=remedy.renew,
        reissue=remedy.reissue,
        means=remedy.means,
        cooldown=remedy.cooldown,
        per_day=remedy.per_day,
        window=remedy.window,
        plan_ahead=remedy.plan_ahead,
    )


def terms_of(config: Config) -> Terms:
    """Return the operator's settings for all incidents."""
    from certmedic.core.incident import Terms  # noqa: PLC0415 - see above

    return Terms(
        policy=policy_of(config),
        remind_every=config.notify.remind_every,
        verify_for=config.remedy.verify_for,
        warn_days=config.certificates.warn_days,
        plane_days=config.certificates.plane,
    )


def contradictions(config: Config) -> list[str]:
    """Return what cannot be meant, though each value by itself is good."""
    remedy = config.remedy
    with_means = {means.renewer for means in remedy.means}
    return [
        *(
            f"remedy.means: {name} is not in remedy.restart, so nothing would use it; add it there"
            for name in sorted(with_means - set(remedy.restart))
        ),
        *(
            f"remedy.restart: how {name} is restarted is not known; [[remedy.means]] must name a unit or a command"
            for name in remedy.restart
            if name not in {*HAVE_MEANS, *with_means}
        ),
    ]
