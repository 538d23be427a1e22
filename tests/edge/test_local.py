"""Files for other programs in folders that other users can write to: links of other users are not followed."""

import contextlib
import os
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from certmedic.edge import local

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to act as somebody else beside it")


def as_nobody(code, *arguments):
    """Run Python code as the user nobody."""
    return subprocess.Popen(
        ["/usr/bin/python3", "-c", code, *map(str, arguments)], user=NOBODY, group=NOBODY, extra_groups=[], cwd="/"
    )


@pytest.fixture
def folder():
    """A folder of another user beside a file of root that they must not reach."""
    with tempfile.TemporaryDirectory() as above:  # other users cannot enter pytest's folders
        Path(above).chmod(0o711)
        (Path(above) / "victim").write_text("precious")
        made = Path(above) / "exporter"
        made.mkdir()
        if os.geteuid() == 0:
            os.chown(made, NOBODY, NOBODY)
        yield made


def test_file_is_replaced_atomically_and_is_world_readable(folder):
    local.publish(folder / "c.prom", b"one")
    local.publish(folder / "c.prom", b"two")

    assert (folder / "c.prom").read_bytes() == b"two"
    assert (folder / "c.prom").stat().st_mode & 0o777 == 0o644
    assert [path.name for path in folder.iterdir()] == ["c.prom"]
    local.withdraw(folder / "c.prom")
    local.withdraw(folder / "c.prom")
    assert list(folder.iterdir()) == []


@as_root
def test_planted_links_are_replaced_and_never_written_through(folder):
    victim = folder.parent / "victim"
    plant = "import os, sys; [os.symlink(sys.argv[1], name) for name in sys.argv[2:]]"
    assert as_nobody(plant, victim, folder / "c.prom", folder / ".c.prom.new").wait(60) == 0

    local.publish(folder / "c.prom", b"numbers")

    assert victim.read_text() == "precious"
    assert victim.stat().st_mode & 0o777 != 0o666
    assert (folder / "c.prom").read_bytes() == b"numbers"
    assert not (folder / "c.prom").is_symlink()


@pytest.mark.slow
@as_root
def test_racing_folder_owner_reaches_nothing_outside(folder):
    victim = folder.parent / "victim"
    race = """
import os, sys
while True:
    for name in os.listdir("."):
        try:
            os.unlink(name)
            os.symlink(sys.argv[1], name)
        except OSError:
            pass
"""
    racer = as_nobody(f"import os; os.chdir({str(folder)!r})\n{race}", victim)
    try:
        until = time.monotonic() + 3
        while time.monotonic() < until:
            # The other user may remove the new file before its rename: the next turn tries again.
            with contextlib.suppress(FileNotFoundError):
                local.publish(folder / "c.prom", b"numbers")
    finally:
        racer.kill()
        racer.wait()

    assert victim.read_text() == "precious"
    assert victim.stat().st_nlink == 1


@as_root
@pytest.mark.parametrize("depth", ["exporter", "exporter/deeper"])
def test_folder_replaced_by_the_link_of_another_user_is_refused(folder, depth):
    (folder / "real" / "deeper").mkdir(parents=True)
    swap = "import os, sys; os.symlink(*sys.argv[1:])"
    assert as_nobody(swap, folder.parent, folder / "link").wait(60) == 0
    target = folder / "link" / ("deeper" if "/" in depth else "") / "c.prom"

    with pytest.raises(OSError, match="is a link that somebody else placed"):
        local.publish(target, b"numbers")

    assert not (folder.parent / "c.prom").exists()


def test_own_link_is_followed(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "far").symlink_to("link")

    local.publish(tmp_path / "far" / "c.prom", b"numbers")

    assert (folder / "c.prom").read_bytes() == b"numbers"


def test_world_writable_folder_is_refused_with_its_remedy(folder):
    folder.chmod(0o777)

    with pytest.raises(OSError, match=f"everybody may write in this folder: sudo chmod o-w {folder}"):
        local.publish(folder / "c.prom", b"numbers")

    assert list(folder.iterdir()) == []


def test_failed_replacement_leaves_no_file_behind(folder):
    (folder / "c.prom").mkdir()

    with pytest.raises(OSError, match="directory"):
        local.publish(folder / "c.prom", b"numbers")

    assert [path.name for path in folder.iterdir()] == ["c.prom"]
