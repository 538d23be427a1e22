"""Changes among the certificates are told as they happen, and not before they have settled."""

import threading

import pytest

from certmedic.core.model import Recheck
from certmedic.edge.files.certificates import CertificateSource
from labs.masters import until

pytestmark = pytest.mark.slow


@pytest.fixture
def told(tmp_path):
    """Follow <tmp>/vol-*/pki/*.crt; what was put, as it comes."""
    items, stop = [], threading.Event()
    source = CertificateSource([f"{tmp_path}/vol-*/pki/*.crt"])
    thread = threading.Thread(target=source.follow, args=(lambda _: None, items.append, stop))
    thread.start()
    assert until(lambda: items, seconds=10)
    yield lambda: [item for item in items if isinstance(item, Recheck)]
    stop.set()
    thread.join()


def test_a_volume_that_is_mounted_later_is_seen_and_so_is_what_is_written_in_it(told, tmp_path):
    folder = tmp_path / "vol-1" / "pki"
    folder.mkdir(parents=True)
    assert until(lambda: len(told()) >= 1, seconds=10)

    before = len(told())
    (folder / "me.crt").write_text("x")
    assert until(lambda: len(told()) > before, seconds=10)

    before = len(told())
    with (folder / "me.crt").open("r+") as file:  # in place, as etcd-manager writes
        file.write("y")
    assert until(lambda: len(told()) > before, seconds=10)


def test_a_volume_that_went_away_and_came_back_is_watched_again(told, tmp_path):
    folder = tmp_path / "vol-1"
    for change in [folder.mkdir, folder.rmdir] * 2:
        before = len(told())
        change()
        assert until(lambda seen=before: len(told()) > seen, seconds=10)
