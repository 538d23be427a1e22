"""An archive (tar.gz) of small files: written for its owner alone, and read without believing it."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path

MOST_BYTES = 64 * 1024 * 1024  # of all files in one archive
MOST_FILES = 12_000
_BLOCK = 512  # bytes, of a header and of the padding
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class ArchiveError(Exception):
    """An archive cannot be written or read; the text says why."""


def write(path: str, files: Mapping[str, bytes], prefix: str, now: float) -> tuple[str, ...]:
    """Write a new archive with mode 0600 and return the names left out, because the archive is full. Raises ArchiveError.

    `now` becomes the time of every file, in seconds since 1970. A file or link that exists at `path` is never replaced.
    """
    left_out, size = list[str](), 0
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        for number, (name, content) in enumerate(files.items()):
            if size + len(content) > MOST_BYTES or number - len(left_out) >= MOST_FILES:
                left_out.append(name)
                continue
            size += len(content)
            info = tarfile.TarInfo(prefix + name)
            info.size, info.mtime, info.mode = len(content), int(now), 0o600
            archive.addfile(info, io.BytesIO(content))
    try:
        handle = os.open(path, _NEW, 0o600)
    except OSError as error:
        raise ArchiveError(f"{path}: {error.strerror}") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data.getbuffer())
    except OSError as error:
        Path(path).unlink(missing_ok=True)
        raise ArchiveError(f"{path}: {error.strerror}") from error
    return tuple(left_out)


def read(path: str, prefix: str) -> dict[str, bytes]:
    """Return the files of an archive by name, without `prefix`. Nothing is written to disk. Raises ArchiveError.

    Anything but a regular file below `prefix` is refused: links, devices, folders, other places, too many files, too many bytes.
    """
    files = dict[str, bytes]()
    try:
        with tarfile.open(fileobj=io.BytesIO(_unpacked(path)), mode="r:") as archive:
            for info in archive:
                if not info.isreg() or info.sparse is not None:
                    raise ArchiveError(f"{path}: {info.name!r} is no regular file")
                name = info.name.removeprefix(prefix)
                if name == info.name or ".." in name.split("/") or name.startswith("/") or name in files:
                    raise ArchiveError(f"{path}: {info.name!r} is at a place that `certmedic collect` never uses")
                if len(files) >= MOST_FILES:
                    raise ArchiveError(f"{path}: more than {MOST_FILES} files")
                held = archive.extractfile(info)
                files[name] = held.read() if held else b""
    except OSError as error:
        raise ArchiveError(f"{path}: {error.strerror or error}") from error
    except (tarfile.TarError, EOFError, zlib.error, ValueError, OverflowError) as error:
        raise ArchiveError(f"{path}: it is damaged, or no archive of `certmedic collect`: {error}") from error
    return files


def _unpacked(path: str) -> bytes:
    """Return the tar in a .tar.gz of a bounded size: a small file can unpack to any size."""
    most = MOST_BYTES + MOST_FILES * 4 * _BLOCK
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ArchiveError(f"{path}: it is no regular file")
        with gzip.GzipFile(fileobj=file) as unzipped:
            data = unzipped.read(most + 1)
    if len(data) > most:
        raise ArchiveError(f"{path}: it unpacks to more than {most // 1024 // 1024} MiB")
    return data
