"""Logs that are rotated between any two system calls of their reader.

    with pytest.MonkeyPatch.context() as patched:
        Moments(patched, lab, [(12, "copy"), (40, "truncate write")])
        ...  # the log is copied before the 12th call, truncated and written to before the 40th

The files and the rotation are real; a hook before each system call chooses the moment.
"""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from certmedic.core.model import Origin
from certmedic.edge.files import FileSource, PodSource
from certmedic.edge.files.formats import Plain
from certmedic.edge.files.tail import Tail

LINE = "{:08} x509: certificate has expired\n"
CALLS = ("open", "pread", "fstat", "stat", "scandir", "listdir", "lseek")


class Lab:
    """A log and the steps that change it; a step without its file does nothing."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.path = folder / "etcd.log"
        self.written = 0

    def do(self, steps: str) -> None:
        """Take steps: method names separated by spaces."""
        for step in steps.split():
            getattr(self, step)()

    def write(self, count: int = 30) -> None:
        with self.path.open("a") as file:
            for number in range(self.written, self.written + count):
                file.write(LINE.format(number))
        self.written += count

    def write_little(self) -> None:
        self.write(3)

    def _shift(self) -> Path:
        for age in range(60, 0, -1):
            for end in ("", ".gz"):
                older = self.path.with_name(f"etcd.log.{age}{end}")
                if older.exists():
                    older.rename(self.path.with_name(f"etcd.log.{age + 1}{end}"))
        return self.path.with_name("etcd.log.1")

    def rename(self) -> None:
        if self.path.exists():
            self.path.rename(self._shift())

    def copy(self) -> None:
        if self.path.exists():
            shutil.copy(self.path, self._shift())

    def truncate(self) -> None:
        if self.path.exists():
            os.truncate(self.path, 0)

    def copy_half(self) -> None:
        if self.path.exists():
            half = self.path.stat().st_size // 2
            self._shift().write_bytes(self.path.read_bytes()[:half])

    def copy_rest(self) -> None:
        if self.path.exists():
            copy = self.path.with_name("etcd.log.1")
            with copy.open("ab") as file:
                file.write(self.path.read_bytes()[copy.stat().st_size :])

    def _pack(self, name: str) -> None:
        plain = self.path.with_name(name)
        if plain.exists():
            packed = plain.with_name(f"{name}.gz")
            packed.write_bytes(gzip.compress(plain.read_bytes()))
            shutil.copystat(plain, packed)

    def pack(self) -> None:
        self._pack("etcd.log.1")

    def remove_packed(self) -> None:
        self.path.with_name("etcd.log.1").unlink(missing_ok=True)

    def pack_delayed(self) -> None:
        """Compress the file before the last rotation, like logrotate's delaycompress."""
        self._pack("etcd.log.2")
        self.path.with_name("etcd.log.2").unlink(missing_ok=True)

    def source(self) -> FileSource | PodSource:
        return FileSource((b"x509:",), [str(self.path.parent / "etcd*.log")], elsewhere=())

    def log(self) -> Tail:
        return Tail(str(self.path), f"file:{self.path}", Origin(), Plain((b"x509:",)), print)


class PodLab(Lab):
    """The log of a container: the kubelet rotates it by time, compresses rotated files and starts a new file."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.path = folder / "pods" / "kube-system_etcd-manager-main-a_0123" / "etcd-manager" / "0.log"
        self.path.parent.mkdir(parents=True)
        self._rotations = self._restarts = 0

    def source(self) -> FileSource | PodSource:
        return PodSource((b"x509:",), self.path.parents[2])

    def write(self, count: int = 10) -> None:
        last = self.written + count - 1
        for number in range(self.written, self.written + count):
            head, tail = LINE.format(number)[:12], LINE.format(number)[12:]
            if number % 3 == 2:  # the needle is in the second of two parts; the first may be in the previous file
                self._add(number, f"P {head}\n")
                if number == last:
                    self.rename()
                self._add(number, f"F {tail}")
            else:
                self._add(number, f"F {head}{tail}")
        self.written += count

    def _add(self, number: int, text: str) -> None:
        with self.path.open("a") as file:
            file.write(f"2026-03-01T03:00:00.{number:09}Z stderr {text}")

    def rename(self) -> None:
        if self.path.exists():
            self._rotations += 1
            self.path.rename(f"{self.path}.20260301-{self._rotations:06}")

    def pack(self) -> None:
        for plain in self.path.parent.glob("*.log.20260301-??????"):
            made = plain.with_name(f"{plain.name}.tmp")
            made.write_bytes(gzip.compress(plain.read_bytes()))
            made.rename(f"{plain}.gz")
            plain.unlink()

    def restart(self) -> None:
        """Restart the container with a new log; the previous log stays."""
        self._restarts += 1
        self.path = self.path.with_name(f"{self._restarts}.log")


class Moments:
    """Take each of `steps` once, right before the reader's system call of that number; remove it from `steps`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, lab: Lab, steps: list[tuple[int, str]]) -> None:
        self.count = 0
        self._lab, self._steps, self._inside = lab, steps, False
        for name in CALLS:
            monkeypatch.setattr(os, name, self._before(getattr(os, name)))

    def _before(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            if not self._inside:
                self._do(up_to=self.count)
                self.count += 1
            return call(*arguments, **named)

        return counted

    def do_all(self) -> None:
        """Take the remaining steps: the reader makes no more calls."""
        self._do(up_to=None)

    def _do(self, *, up_to: int | None) -> None:
        self._inside = True  # the steps make system calls too
        while self._steps and (up_to is None or self._steps[0][0] <= up_to):
            self._lab.do(self._steps.pop(0)[1])
        self._inside = False
