"""The sources that the reader follows."""

from __future__ import annotations

import os

from certmedic.core.needles import NEEDLES
from certmedic.edge.roundrobin import WhenThere
from certmedic.edge.source import Source
from certmedic.edge.wire import Watching

# Each source is imported when it is wanted: the less the reader loads, the smaller it is.
# ruff: noqa: PLC0415


def sources(watching: Watching, own_pids: frozenset[int] = frozenset()) -> list[Source]:
    """Return the sources to follow, whether they exist now or not; lines of `own_pids` in the journal are skipped."""
    chosen: list[Source] = []
    if watching.journal:
        from certmedic.edge.journal import JournalSource

        chosen.append(JournalSource(NEEDLES, units=watching.units, identifiers=watching.identifiers, own_pids=own_pids))
    if watching.docker is not False:
        from certmedic.reader.docker import DockerLogs

        url, names, labels = watching.docker_url, watching.docker_names, watching.docker_labels
        docker = DockerLogs(NEEDLES, names=names, labels=labels, base_url=url, with_journal=watching.journal)
        waits = watching.docker is None and url.startswith("unix:")
        chosen.append(WhenThere(docker, url.removeprefix("unix://")) if waits else docker)
    if watching.pods:
        from certmedic.edge.files import PodSource

        # It waits for the folder by itself. Under Docker the files in it are links to logs that DockerLogs reads: it skips them.
        chosen.append(PodSource(NEEDLES, root=watching.pods))
    if watching.files:
        from certmedic.edge.files import FileSource

        chosen.append(FileSource(NEEDLES, globs=watching.files))
    from certmedic.edge.files.certificates import CertificateSource

    chosen.append(CertificateSource(watching.certificates))
    return chosen


def there(watching: Watching) -> tuple[str, ...]:
    """Return the names of the sources that exist now, so that nothing waits for them."""
    docker, url = watching.docker, watching.docker_url
    missing = {
        "docker": docker is None and url.startswith("unix:") and not os.path.exists(url.removeprefix("unix://")),  # noqa: PTH110 - in Debian 12, Path.exists raises PermissionError
        "pods": not os.path.exists(watching.pods),  # noqa: PTH110 - as above
    }
    return tuple(name for name in watching.names if not missing.get(name))
