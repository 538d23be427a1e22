"""The input of the metrics: the state of the agent at one moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from certmedic.core.decision import Policy
from certmedic.core.incident import Act, Incident
from certmedic.core.model import Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """The state of the agent at one moment."""

    at: datetime
    version: str
    mode: str
    facts: Facts | None
    cluster: str = ""  # its name; "" if it is not known
    host: str = ""
    policy: Policy | None = None  # what the configuration allows; None: nothing
    sources: Sequence[Mapping[str, Any]] = ()  # as from `Store.sources`
    sightings: int = 0  # since the start
    incidents: Sequence[Incident] = ()  # those that last
    acts: Sequence[Act] = ()  # all that are stored
    tripped: bool = False  # whether an action failed since the last reset
    waiting: int = 0  # deliveries
    oldest: datetime | None = None  # the oldest of them
    lost: int = 0  # deliveries given up
    silences: int = 0
    alertmanagers: Mapping[str, int] = field(default_factory=dict)  # instance -> failed posts since the start
    alertmanager_errors: Mapping[str, str] = field(default_factory=dict)  # instance -> why the last post failed, ""
    heartbeat_failures: int = 0
