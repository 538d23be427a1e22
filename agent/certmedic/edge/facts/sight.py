"""The files and processes of this machine that only root may read: `Direct` reads them, `Remote` asks the reader, which runs a `Direct`.

Nobody but the reader, root's own commands and the actor may read these files. No answer holds a private key or another secret.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from certmedic.core import codec, planes
from certmedic.core.model import Container, Origin, Trust
from certmedic.edge.facts.containerd import containerd_containers, containerd_files
from certmedic.edge.facts.containers import container_files, containers, manifest_files, manifest_images
from certmedic.edge.facts.master import Master, read_master
from certmedic.edge.facts.processes import static_uids
from certmedic.edge.facts.programs import Details, ProcessSeen, details, holders, seen_programs
from certmedic.edge.facts.survey import Content, Survey, contents, exist, in_copy, survey
from certmedic.edge.os.owners import Judge, Tree
from certmedic.edge.os.readfile import read_bytes, read_ends
from certmedic.edge.source import UnseenError
from certmedic.edge.static_pods import FOLDERS, StaticPods, cluster_name

END_BYTES = 256 * 1024  # of each end of a log, where programs name their files when they start
MOST_NAMED = 256  # files that one program names
KEPT = 8  # surveys: a look makes four at most
NONSENSE = "the reader process sent an answer that makes no sense"

Named = tuple[tuple[str, str], ...]  # (use, path) of certificate files


@dataclass(frozen=True, slots=True, kw_only=True)
class Pods:
    """The static pods of this machine, from manifests that only root can write."""

    names: frozenset[str] = frozenset()
    uids: frozenset[str] = frozenset()
    files: Mapping[str, str] = field(default_factory=dict)  # path of a certificate file -> use
    images: Mapping[str, str] = field(default_factory=dict)  # etcd group -> image of etcd-manager
    master: Master = field(default_factory=Master)
    cluster: str = ""  # the name that kops or kubeadm gave the cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """The containers of this machine, and what could not be seen of them, in sentences."""

    containers: tuple[Container, ...] = ()
    blind: tuple[str, ...] = ()


class Sight(Protocol):
    """Reads files of this machine. Each method raises UnseenError if the reader does not answer."""

    def survey(self, globs: Sequence[str], listed: Sequence[str]) -> Survey:
        """Look at the files that `globs` name, and at the `listed` ones."""

    def contents(self, wanted: Sequence[str]) -> Sequence[Content]:
        """Read files, without their secrets, one for each path."""

    def exist(self, wanted: Sequence[str]) -> Collection[str]:
        """Return those of some paths that exist."""

    def pods(self) -> Pods:
        """Return the static pods."""

    def running(self) -> Running:
        """Return the containers."""

    def named_by(self, origin: Origin) -> Named:
        """Return the certificate files that the container or the log of a program names."""

    def programs(self) -> Sequence[ProcessSeen]:
        """Return the running programs whose certificates are known, and every etcd."""

    def details(self, pids: Sequence[int]) -> Sequence[Details]:
        """Return what flags and environment of processes name, for each that still runs."""

    def holders(self, inodes: Sequence[int]) -> Mapping[int, Sequence[ProcessSeen]]:
        """Return socket inode -> processes that have it open, as far as they can be seen."""

    def clusters(self, files: Sequence[str]) -> Sequence[planes.Cluster]:
        """Return the cluster that each etcd configuration of k3s or rke2 names, of those that name one."""


class Direct:
    """Reads the files itself. `docker_url` and `containerd` name the runtimes that are asked; None means not to ask."""

    def __init__(
        self,
        *,
        tree: Tree | None = None,
        live: bool = True,
        docker_url: str | None = None,
        containerd: str | None = None,
    ) -> None:
        self._tree = tree or Tree()
        self._live = live
        self._docker_url, self._containerd = docker_url, containerd
        root = self._tree.root.rstrip("/")
        self._static = StaticPods(tuple(root + folder for folder in FOLDERS), tree=self._tree)
        self._surveys: dict[tuple[Sequence[str], Sequence[str]], tuple[str, Survey]] = {}

    def survey(self, globs: Sequence[str], listed: Sequence[str]) -> Survey:
        """See `Sight`."""
        return survey(globs, listed, tree=self._tree, live=self._live)

    def survey_since(self, globs: Sequence[str], listed: Sequence[str], known: str) -> tuple[str, Survey | None]:
        """Look at all files, and return the survey with a name; None instead if it equals the survey named `known`."""
        question, seen = (tuple(globs), tuple(listed)), self.survey(globs, listed)
        name, last = self._surveys.get(question, ("", None))
        if seen != last:
            name = os.urandom(8).hex()  # no other reader gave it
            _keep(self._surveys, question, (name, seen))
        return name, None if name == known else seen

    def contents(self, wanted: Sequence[str]) -> Sequence[Content]:
        """See `Sight`."""
        return contents(wanted if self._live else [in_copy(path, self._tree) for path in wanted])

    def exist(self, wanted: Sequence[str]) -> Collection[str]:
        """See `Sight`."""
        return exist(wanted)

    def pods(self) -> Pods:
        """See `Sight`."""
        judge, root = Judge(self._tree) if self._live else None, self._tree.root
        names = self._static.names
        return Pods(
            names=names,
            uids=static_uids(names),
            files=manifest_files(root, judge=judge),
            images=manifest_images(root, judge=judge),
            master=read_master(root, judge=judge) if self._live or self._tree.root != "/" else Master(),
            cluster=cluster_name(root, judge),
        )

    def running(self) -> Running:
        """See `Sight`."""
        seen, blind = tuple[Container, ...](), list[str]()
        if self._docker_url is not None:
            seen, unseen = containers(self._docker_url, static_pods=self._static.names)
            blind += [unseen] if unseen else []
        if self._containerd is not None and Path(self._containerd).exists():
            more, unseen = containerd_containers(self._containerd, static_pods=self._static.names)
            seen += more
            blind += [unseen] if unseen else []
        return Running(containers=seen, blind=tuple(blind))

    def named_by(self, origin: Origin) -> Named:
        """See `Sight`."""
        if origin.trust is not Trust.SYSTEM:
            return ()  # files that strangers name are not read
        named = list[tuple[str, str]]()
        if origin.container_id and self._docker_url is not None:
            named += container_files(self._docker_url, origin.container_id)
        if origin.pod and origin.container and self._containerd is not None:
            named += containerd_files(origin.pod, origin.container, self._containerd)
        if origin.path:
            with contextlib.suppress(OSError):
                for line in read_ends(origin.path, END_BYTES).decode(errors="replace").splitlines():
                    named += ((use, planes.host_path(path)) for use, path in planes.paths_from_startup_line(line))
        return tuple(dict.fromkeys(named))[-MOST_NAMED:]

    def programs(self) -> Sequence[ProcessSeen]:
        """See `Sight`."""
        return seen_programs()

    def details(self, pids: Sequence[int]) -> Sequence[Details]:
        """See `Sight`."""
        return details(pids)

    def holders(self, inodes: Sequence[int]) -> Mapping[int, Sequence[ProcessSeen]]:
        """See `Sight`."""
        return dict(holders(inodes))

    def clusters(self, files: Sequence[str]) -> Sequence[planes.Cluster]:
        """See `Sight`."""
        known = list[planes.Cluster]()
        for path in files:
            with contextlib.suppress(OSError):
                cluster = planes.cluster_from_config(read_bytes(path).decode(errors="replace"))
                known += [cluster] if cluster is not None else []
        return known


_Answer = TypeVar("_Answer")
_Question = TypeVar("_Question")


def _keep(surveys: dict[_Question, _Answer], question: _Question, answer: _Answer) -> None:
    """Keep the last survey of each question. Files that come and go make other questions of `listed`."""
    surveys.pop(question, None)
    surveys[question] = answer
    while len(surveys) > KEPT:
        surveys.pop(next(iter(surveys)), None)  # a probe that was given up may do the same


class Remote:
    """Asks the reader: `ask` sends a method with its arguments, and returns the answer as JSON has it. It raises UnseenError."""

    def __init__(self, ask: Callable[[str, Sequence[Any]], Any]) -> None:
        self._ask = ask
        self._surveys: dict[tuple[Sequence[str], Sequence[str]], tuple[str, Survey]] = {}

    def survey(self, globs: Sequence[str], listed: Sequence[str]) -> Survey:
        """See `Sight`. The reader looks at all files, and does not send ten thousand that are as they were."""
        question = (tuple(globs), tuple(listed))
        known, last = self._surveys.get(question, ("", Survey()))
        name, seen = self._answer(tuple[str, Survey | None], "survey_since", globs, listed, known)
        if seen is None:
            if name != known or not known:
                raise UnseenError(NONSENSE)
            return last
        _keep(self._surveys, question, (name, seen))
        return seen

    def contents(self, wanted: Sequence[str]) -> Sequence[Content]:
        """See `Sight`."""
        answers = self._answer(tuple[Content, ...], "contents", wanted)
        if len(answers) != len(wanted):
            raise UnseenError(NONSENSE)
        return answers

    def exist(self, wanted: Sequence[str]) -> Collection[str]:
        """See `Sight`."""
        return self._answer(frozenset[str], "exist", wanted)

    def pods(self) -> Pods:
        """See `Sight`."""
        return self._answer(Pods, "pods")

    def running(self) -> Running:
        """See `Sight`."""
        return self._answer(Running, "running")

    def named_by(self, origin: Origin) -> Named:
        """See `Sight`."""
        return self._answer(Named, "named_by", origin)

    def programs(self) -> Sequence[ProcessSeen]:
        """See `Sight`."""
        return self._answer(tuple[ProcessSeen, ...], "programs")

    def details(self, pids: Sequence[int]) -> Sequence[Details]:
        """See `Sight`."""
        return self._answer(tuple[Details, ...], "details", pids)

    def holders(self, inodes: Sequence[int]) -> Mapping[int, Sequence[ProcessSeen]]:
        """See `Sight`."""
        pairs = self._answer(tuple[tuple[int, tuple[ProcessSeen, ...]], ...], "holders", inodes) if inodes else ()
        return dict(pairs)

    def clusters(self, files: Sequence[str]) -> Sequence[planes.Cluster]:
        """See `Sight`."""
        return self._answer(tuple[planes.Cluster, ...], "clusters", files)

    def _answer(self, kind: type[_Answer], method: str, *arguments: Any) -> _Answer:
        answer = self._ask(method, codec.plain(arguments))
        try:
            return codec.made(kind, answer)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UnseenError(NONSENSE) from error


def answer(sight: Sight, method: str, arguments: Sequence[Any]) -> Any:
    """Answer the question of a `Remote` by another sight. Raises ValueError, KeyError or TypeError if it makes no sense."""
    kinds = _METHODS[method]
    values = [codec.made(kind, raw) for kind, raw in zip(kinds, arguments, strict=True)]
    reply = getattr(sight, method)(*values)
    # The keys of an object in JSON are text, and inodes are numbers.
    return codec.plain(list(reply.items()) if method == "holders" else reply)


# The methods of `Sight`, each with the kinds of its arguments.
_METHODS: Final[Mapping[str, Sequence[Any]]] = {
    "survey": (tuple[str, ...], tuple[str, ...]),  # an agent that an upgrade has not restarted yet asks so
    "survey_since": (tuple[str, ...], tuple[str, ...], str),
    "contents": (tuple[str, ...],),
    "exist": (tuple[str, ...],),
    "pods": (),
    "running": (),
    "named_by": (Origin,),
    "programs": (),
    "details": (tuple[int, ...],),
    "holders": (tuple[int, ...],),
    "clusters": (tuple[str, ...],),
}
