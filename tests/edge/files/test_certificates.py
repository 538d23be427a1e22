"""The source reports changes of certificate files as soon as the writes have settled."""

import threading

import pytest

from certmedic.core.model import Recheck
from certmedic.edge.files.certificates import CertificateSource
from labs.masters import until
from labs.reading import read_on_thread

pytestmark = pytest.mark.slow


@pytest.fixture
def changes(tmp_path):
    """Follow <tmp>/vol-*/pki/*.crt; return a function that lists the changes reported so far."""
    items, stop = [], threading.Event()
    source = CertificateSource([f"{tmp_path}/vol-*/pki/*.crt"])
    thread = read_on_thread([source], {}, items.append, stop)
    assert until(lambda: items, seconds=10)
    yield lambda: [item for item in items if isinstance(item, Recheck)]
    stop.set()
    thread.join()


def test_late_volume_and_writes_into_it_are_reported(changes, tmp_path):
    folder = tmp_path / "vol-1" / "pki"
    folder.mkdir(parents=True)
    assert until(lambda: len(changes()) >= 1, seconds=10)

    before = len(changes())
    (folder / "me.crt").write_text("x")
    assert until(lambda: len(changes()) > before, seconds=10)

    before = len(changes())
    with (folder / "me.crt").open("r+") as file:  # in place, as etcd-manager writes
        file.write("y")
    assert until(lambda: len(changes()) > before, seconds=10)


def test_volume_that_comes_back_is_watched_again(changes, tmp_path):
    folder = tmp_path / "vol-1"
    for change in [folder.mkdir, folder.rmdir] * 2:
        before = len(changes())
        change()
        assert until(lambda seen=before: len(changes()) > seen, seconds=10)
