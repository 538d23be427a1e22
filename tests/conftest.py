"""What all tests have in common."""

import pytest
from hypothesis import HealthCheck, settings

# How fast a machine is says nothing about the code: a busy one must not turn a property red.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

DAEMONS = {"docker", "containerd"}  # fixtures that a file's tests share, and that take seconds to start
# Three masters, each with its dockerd, etcd and agent, fill a small machine: one such story at a time.
MASTERS = {"test_masters", "test_group"}


def pytest_collection_modifyitems(config, items):
    """Have the long tests begin first, each for itself, and keep a file's quick tests together on one worker.

    The long ones mostly wait, for certificates to run out and for daemons, so that several at once take little longer than one.
    """
    items.sort(key=lambda item: (item.path.stem not in MASTERS, item.get_closest_marker("long") is None))
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        name = item.path.stem
        if name in MASTERS:
            item.add_marker(pytest.mark.xdist_group("masters"))
        elif item.get_closest_marker("long") is None or DAEMONS.intersection(item.fixturenames):
            item.add_marker(pytest.mark.xdist_group(name))
