"""Find the etcd of the drill: on this machine, in the cache, or in the distribution's package, unpacked and not installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

PACKAGE = "etcd-server"
DEADLINE = 180  # seconds for one call of apt-get, which may read all package lists of a distribution


class EtcdMissingError(Exception):
    """No etcd is available; the text lists the attempts, one a line."""


def cache() -> Path:
    """Return the folder of downloaded programs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("CERTMEDIC_CACHE") or Path(base) / "certmedic") / "etcd"


def find() -> Path:
    """Return an etcd program that runs here; download the package if there is none. Raises EtcdMissingError."""
    kept = cache()
    tried = []
    for place, program in (("$PATH", shutil.which("etcd")), (str(kept), shutil.which(kept / "usr/bin/etcd"))):
        if program is None:
            tried.append(f"{place}: no etcd there")
        elif version(Path(program)):
            return Path(program)
        else:
            tried.append(f"{program}: does not run")
    try:
        return fetch(kept)
    except EtcdMissingError as error:
        raise EtcdMissingError("\n".join([*tried, str(error)])) from error


def version(program: Path) -> str:
    """Return the version of an etcd, e.g. "3.4.23"; empty if the program does not run."""
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = re.search(r"etcd Version: (\S+)", done.stdout)
    return match[1] if match else ""


def fetch(folder: Path, sources: str = "") -> Path:
    """Unpack Debian's etcd package as `folder` and return the program in it. Raises EtcdMissingError.

    Needs no root. If this machine's apt has no package lists, apt reads them into a temporary folder. `sources` are lines of a
    sources.list to use instead of the machine's, for the etcd of another release.
    """
    tried: list[str] = []
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}-") as scratch:
            work = Path(scratch)
            apart = _apart(work, sources)
            if (not sources and _ran(_apt("download"), work, tried)) or (
                _ran(_apt("update", apart), work, tried) and _ran(_apt("download", apart), work, tried)
            ):
                package = next(work.glob("*.deb")).name
                unpacked = work / "unpacked"
                if _ran(["dpkg", "-x", package, unpacked.name], work, tried):
                    if version(unpacked / "usr/bin/etcd"):
                        # Rename the whole folder at once: another process may look at the same moment.
                        shutil.rmtree(folder, ignore_errors=True)
                        unpacked.rename(folder)
                        return folder / "usr/bin/etcd"
                    tried.append(f"the etcd of {package} does not run here")
    except OSError as error:
        tried.append(f"{error.filename or folder}: {error.strerror or error}")
    raise EtcdMissingError("\n".join(tried))


def _apt(word: str, options: Sequence[str] = ()) -> list[str]:
    # Short timeouts: fail soon without a network. As root, apt would drop to a user who may
    # not enter this folder.
    usual = ("Acquire::Retries=1", "Acquire::http::Timeout=20", "APT::Sandbox::User=root")
    flags = [part for option in (*usual, *options) for part in ("-o", option)]
    return ["apt-get", word, *flags, *([PACKAGE] if word == "download" else [])]


def _apart(work: Path, sources: str) -> list[str]:
    """Return the options that let apt read its lists into `work`, from the machine's sources or from `sources`."""
    for folder in ("lists/partial", "apt/archives/partial"):
        (work / folder).mkdir(parents=True)
    (work / "status").touch()  # apt would choose no version older than the installed one
    options = [
        f"Dir::State::lists={work / 'lists'}",
        f"Dir::State::status={work / 'status'}",
        f"Dir::Cache={work / 'apt'}",
    ]
    options.append("Acquire::Languages=none")
    if sources:
        (work / "sources.list").write_text(sources)
        options += [f"Dir::Etc::sourcelist={work / 'sources.list'}", "Dir::Etc::sourceparts=-"]
    return options


def _ran(command: Sequence[str], work: Path, tried: list[str]) -> bool:
    """Run a command in `work`; return whether it succeeded, and add a failure with its reason to `tried`."""
    shown = f"{command[0]} {command[1]} {PACKAGE if command[1] == 'download' else ''}".strip()
    try:
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=DEADLINE, check=False)
    except FileNotFoundError:
        tried.append(f"{shown}: there is no {command[0]} here")
    except subprocess.TimeoutExpired:
        tried.append(f"{shown}: no answer within {DEADLINE} s")
    else:
        if done.returncode == 0:
            return True
        errors = [line for line in (done.stderr + done.stdout).splitlines() if line.startswith(("E:", "dpkg"))]
        tried.append(f"{shown}: {errors[0] if errors else f'failed with {done.returncode}'}")
    return False
