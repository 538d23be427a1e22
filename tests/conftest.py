"""Fixtures and marks that all tests share."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from certmedic.config import Certificates, Config, Notify, RemedyPolicy
from labs.pki import authority
from labs.played import Lab, Played, sick
from labs.receivers import Hook
from labs.service import Service
from labs.trusted import trusted_folder

# A slow machine is no fault of the code: it must not fail a property.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", settings.get_profile("patient"), max_examples=15)
settings.load_profile("patient")

HERE = Path(__file__).parent
DAEMONS = {"docker", "containerd"}  # fixtures that the tests of a file share and that take seconds to start
PROGRAMS = {"service", "hook", "other_hook"}  # fixtures that start a program or wait for its messages
SLOW_FOLDERS = {"attacks", "fuzz", "real", "stories"}
# They compute or wait for too long to be among the quick ones.
SLOW = {
    "actor/test_dialer.py",
    "cli/test_laptop.py",
    "core/message/test_contradictions.py",
    "edge/facts/test_quiet.py",
    "edge/metrics/test_listener.py",
    "test_kills.py",
    "test_messages.py",
}
# These use none of the libraries whose newest versions are tested, or use them as other tests do that stay.
NO_LIBRARY = {
    "actor/test_lease.py",
    "attacks/test_hints.py",
    "cli/test_silence.py",
    "edge/containers/test_source.py",
    "edge/test_link.py",
    "stories/test_alerts.py",
    "stories/test_dashboard.py",
    "stories/test_growth.py",
    "stories/test_quiet.py",
    "stories/test_quorum.py",
    "test_messages.py",
    "test_readers.py",
    "test_turn.py",
}
NO_LIBRARY_IN = ("core/", "edge/files/", "edge/store/", "reader/", "repository/")
# Of the core, only `certificates` imports one. These are its tests.
LIBRARY_IN = ("core/certificates/", "core/test_der.py", "core/test_keys.py")
# Three masters, each with its dockerd, etcd and agent, fill a small machine: one such story at a time.
MASTERS = {"stories/test_masters.py", "stories/test_group.py"}


def place(item):
    """Return the path of a test's file below tests/. Files of one name lie in several folders."""
    return item.path.relative_to(HERE).as_posix()


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable():
    """Return a report without lone surrogates, e.g. of a captured log about a hostile path: xdist ends the whole run over one."""
    return encodable((yield))


def encodable(value):
    """Return a value of a report whose texts can be encoded."""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {encodable(key): encodable(each) for key, each in value.items()}
    return type(value)(map(encodable, value)) if type(value) in (list, tuple) else value


def pytest_collection_modifyitems(config, items):
    """Start the long tests first, each on any worker, and keep the quick tests of a file together on one worker.

    Long tests mostly wait, for certificates to expire and for daemons, so that several at once take little longer than a single test.
    """
    for item in items:
        in_folder = place(item).partition("/")[0] in SLOW_FOLDERS
        if in_folder or place(item) in SLOW or (DAEMONS | PROGRAMS).intersection(item.fixturenames):
            item.add_marker(pytest.mark.slow)
        if place(item) in NO_LIBRARY or (
            place(item).startswith(NO_LIBRARY_IN) and not place(item).startswith(LIBRARY_IN)
        ):
            item.add_marker(pytest.mark.floor)
        if place(item).startswith("core/"):
            item.add_marker(pytest.mark.covered)
    items.sort(key=lambda item: (place(item) not in MASTERS, item.get_closest_marker("long") is None))
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        name = place(item)
        if name in MASTERS:
            item.add_marker(pytest.mark.xdist_group("masters"))
        elif item.get_closest_marker("long") is None or DAEMONS.intersection(item.fixturenames):
            item.add_marker(pytest.mark.xdist_group(name))


@pytest.fixture(scope="session")
def peers_ca():
    return authority("etcd-peers-ca-main")


@pytest.fixture(scope="session")
def clients_ca():
    return authority("etcd-clients-ca")


@pytest.fixture(scope="session")
def leaf(clients_ca):
    return clients_ca.leaf("etcd-a", dns=("localhost",), ips=("127.0.0.1",))


@pytest.fixture
def trusted_dir():
    """Return a folder that only root can change, up to "/": certmedic trusts its files, unlike those below `tmp_path`."""
    if os.geteuid() != 0:
        pytest.skip("needs root: a folder that only root can change")
    with trusted_folder() as folder:
        yield folder


@pytest.fixture
def lab(tmp_path):
    """Return a function that makes an agent on a simulated machine, by default with an expired peer certificate and mode remedy."""
    made = []

    def _lab(files=None, *, world=None, mode="remedy", remedy=None, of_plane=None, notify=None, **played):
        usual = {"group_for": timedelta(seconds=2), "remind_every": timedelta(hours=6)}
        config = Config(
            mode=mode,
            certificates=Certificates(plane=of_plane or {}),
            notify=Notify(**(usual | (notify or {}))),
            remedy=RemedyPolicy(verify_for=timedelta(seconds=30), **(remedy or {})),
        )
        world = world or Played(files=sick() if files is None else files, **played)
        made.append(Lab(world, tmp_path / f"state-{len(made)}", config))
        return made[-1]

    yield _lab
    for each in made:
        each.store.close()


@pytest.fixture
def service(tmp_path):
    """Return a function that makes a service which watches one certificate and sends its messages to `urls`."""
    made = []

    def _service(*urls, notify="wall = false", **more):
        started = Service(tmp_path / "service", notify=notify, **more).configure(*urls)
        made.append(started)
        return started

    yield _service
    for started in made:
        started.kill()


@pytest.fixture
def hook():
    """Run a web hook; its `mood` sets the reply."""
    with Hook() as server:
        yield server


@pytest.fixture
def other_hook():
    """Run a second web hook."""
    with Hook() as server:
        yield server
