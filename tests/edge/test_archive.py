"""Archives are written for their owner alone, and nothing unusual in one is read."""

import gzip
import io
import os
import stat
import tarfile
from pathlib import Path

import pytest

from certmedic.edge import archive

PREFIX = "here/"


def test_archive_is_read_back_and_belongs_to_its_owner_alone(tmp_path):
    path = str(tmp_path / "a.tar.gz")

    assert archive.write(path, {"a": b"1", "b/c": b""}, PREFIX, 0.0) == ()
    assert archive.read(path, PREFIX) == {"a": b"1", "b/c": b""}
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600


def test_nothing_that_exists_is_replaced_and_no_link_is_followed(tmp_path):
    (tmp_path / "a").write_bytes(b"mine")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("a", "link"):
        with pytest.raises(archive.ArchiveError, match="exists"):
            archive.write(str(tmp_path / name), {}, PREFIX, 0.0)
    assert (tmp_path / "a").read_bytes() == b"mine"
    assert not (tmp_path / "elsewhere").exists()


def test_full_archive_names_what_it_leaves_out(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MOST_BYTES", 5)
    path = str(tmp_path / "a.tar.gz")
    assert archive.write(path, {"a": b"123", "b": b"456", "c": b"78"}, PREFIX, 0.0) == ("b",)
    assert set(archive.read(path, PREFIX)) == {"a", "c"}
    monkeypatch.setattr(archive, "MOST_FILES", 1)
    assert archive.write(str(tmp_path / "b.tar.gz"), {"a": b"", "b": b""}, PREFIX, 0.0) == ("b",)


def made(path, *infos, prefix=b""):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for info in infos:
            tar.addfile(info, io.BytesIO(b"x" * info.size))
    path.write_bytes(gzip.compress(prefix + data.getvalue()))


def entry(name, kind=tarfile.REGTYPE, *, size=0, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, link
    return info


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([entry("here/a", tarfile.SYMTYPE, link="/etc/shadow")], "no regular file"),
        ([entry("here/a", tarfile.LNKTYPE, link="/etc/shadow")], "no regular file"),
        ([entry("here/a", tarfile.CHRTYPE)], "no regular file"),
        ([entry("here/a", tarfile.FIFOTYPE)], "no regular file"),
        ([entry("here/", tarfile.DIRTYPE)], "no regular file"),
        ([entry("/etc/passwd")], "never uses"),
        ([entry("here/../../x")], "never uses"),
        ([entry("here//etc/passwd")], "never uses"),
        ([entry("here/a"), entry("here/a")], "never uses"),
        ([entry("other/a")], "never uses"),
        ([entry(f"here/{number}") for number in range(4)], "more than 3 files"),
    ],
)
def test_unusual_entry_is_refused(tmp_path, monkeypatch, entries, reason):
    monkeypatch.setattr(archive, "MOST_FILES", 3)
    made(tmp_path / "a", *entries)
    with pytest.raises(archive.ArchiveError, match=reason):
        archive.read(str(tmp_path / "a"), PREFIX)


@pytest.mark.parametrize(
    "data",
    [b"", b"x", gzip.compress(b"x" * 1000), gzip.compress(b"")[:-4]],
    ids=["empty", "text", "no tar", "cut"],
)
def test_damaged_archive_is_refused(tmp_path, data):
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(archive.ArchiveError):
        archive.read(str(tmp_path / "a"), PREFIX)


def test_archive_that_unpacks_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MOST_BYTES", 1000)
    monkeypatch.setattr(archive, "MOST_FILES", 1)
    made(tmp_path / "a", entry("here/a", size=100_000))
    with pytest.raises(archive.ArchiveError, match="unpacks to more"):
        archive.read(str(tmp_path / "a"), PREFIX)


def test_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "a")
    with pytest.raises(archive.ArchiveError, match="no regular file"):
        archive.read(str(tmp_path / "a"), PREFIX)
