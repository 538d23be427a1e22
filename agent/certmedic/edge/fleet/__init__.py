"""The records of a fleet, from the programs that have them already: Prometheus, Alertmanager, and journals that were sent here."""

from certmedic.edge.fleet.alertmanager import from_alertmanager
from certmedic.edge.fleet.journals import from_journals
from certmedic.edge.fleet.prometheus import from_prometheus
from certmedic.edge.fleet.request import FleetError

__all__ = ["FleetError", "from_alertmanager", "from_journals", "from_prometheus"]
