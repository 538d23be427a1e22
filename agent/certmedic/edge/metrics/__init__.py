"""Metrics for Prometheus: a file that the node exporter reads, and a listener for those who want one."""

from certmedic.edge.metrics.exposition import Exposition
from certmedic.edge.metrics.listener import Listener
from certmedic.edge.metrics.numbers import Numbers

__all__ = ["Exposition", "Listener", "Numbers"]
