"""The owners of a file, its folders and its links, as the kernel resolves them."""

from __future__ import annotations

import os

import pytest

from certmedic.edge.os import owners


def test_resolve_lists_every_folder_and_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.log").touch()
    (tmp_path / "folder").symlink_to("real")
    (tmp_path / "b.log").symlink_to(tmp_path / "folder" / ".." / "real" / "a.log")
    resolved = owners.resolve(str(tmp_path / "b.log"))
    assert resolved.path == os.path.realpath(tmp_path / "real" / "a.log")
    assert [link.path for link in resolved.links] == [str(tmp_path / "b.log"), str(tmp_path / "folder")]
    assert [owner.path for owner in resolved.chain][0 :: len(resolved.chain) - 1] == [resolved.path, "/"]
    state = (tmp_path / "real" / "a.log").stat()
    assert resolved.key == (state.st_dev, state.st_ino)


def test_circular_links_are_refused(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="too many links"):
        owners.resolve(str(tmp_path / "a"))


@pytest.mark.skipif(os.geteuid() != 0, reason="makes links of other users")
def test_link_of_one_user_to_a_file_of_another_is_not_opened(tmp_path):
    secret, own = tmp_path / "secret.log", tmp_path / "own.log"
    secret.touch()
    own.touch()
    os.chown(own, 1000, 1000)
    for target in (secret, own):
        link = tmp_path / f"link-{target.name}"
        link.symlink_to(target)
        os.chown(link, 1000, 1000, follow_symlinks=False)
    with pytest.raises(OSError, match="is a link of uid 1000 to a file of uid 0"):
        owners.open_file(str(tmp_path / "link-secret.log"))
    os.close(owners.open_file(str(tmp_path / "link-own.log"))[0])
