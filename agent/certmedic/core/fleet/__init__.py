"""Many masters at a glance: records of any source in, one view of clusters, incidents and expiries out."""

from certmedic.core.fleet.records import Cure, Expiry, Master, Records, Report, joined
from certmedic.core.fleet.view import (
    SILENT_AFTER,
    SOON,
    Cluster,
    Fleet,
    Incident,
    State,
    Week,
    renewed,
    view,
    whose,
    wrong,
)

__all__ = [
    "SILENT_AFTER",
    "SOON",
    "Cluster",
    "Cure",
    "Expiry",
    "Fleet",
    "Incident",
    "Master",
    "Records",
    "Report",
    "State",
    "Week",
    "joined",
    "renewed",
    "view",
    "whose",
    "wrong",
]
