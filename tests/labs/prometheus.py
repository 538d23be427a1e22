"""A real Prometheus and real node exporters on loopback."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

from labs.receivers import free_port
from labs.waiting import until


class Prometheus:
    """The query interface of a running Prometheus."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def ask(self, path: str, **parameters: object) -> Any:
        """Return the data of an answer; a refused query fails the test."""
        with urlopen(f"{self.url}/api/v1/{path}?{urlencode(parameters)}", timeout=30) as reply:  # noqa: S310 - http on loopback
            answer = json.load(reply)
        assert answer["status"] == "success", answer
        return answer["data"]

    def now(self, expression: str) -> list[dict[str, Any]]:
        """Return the result of an expression at this moment."""
        result: list[dict[str, Any]] = self.ask("query", query=expression)["result"]
        return result

    def lately(self, expression: str, seconds: int = 60) -> list[dict[str, Any]]:
        """Return the result of an expression over the last seconds."""
        end = time.time()
        data = self.ask("query_range", query=expression, start=end - seconds, end=end, step=1)
        result: list[dict[str, Any]] = data["result"]
        return result


@contextmanager
def running(command: Sequence[object], log: Path, ready: Callable[[], object]) -> Iterator[None]:
    """Run a program until the block ends, and wait until it is ready."""
    with log.open("ab") as output:
        process = subprocess.Popen([str(word) for word in command], stdout=output, stderr=output)
    try:

        def is_ready() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                return bool(ready())
            except OSError:
                return False

        until(is_ready)
        yield
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def node_exporter(folder: Path, log: Path) -> Iterator[str]:
    """Run a node exporter that reads the metrics of a folder and nothing else; yield its address."""
    address = f"127.0.0.1:{free_port()}"
    command = [
        "prometheus-node-exporter",
        "--collector.disable-defaults",
        "--collector.textfile",
        f"--collector.textfile.directory={folder}",
        f"--web.listen-address={address}",
    ]
    with running(command, log, lambda: urlopen(f"http://{address}/metrics", timeout=5).status == 200):
        yield address


@contextmanager
def prometheus(home: Path, jobs: dict[str, Sequence[str]], rules: Sequence[Path] = ()) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes the addresses of each job every second."""
    home.mkdir(exist_ok=True)
    scraped = [{"job_name": job, "static_configs": [{"targets": list(targets)}]} for job, targets in jobs.items()]
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(path) for path in rules],
        "scrape_configs": scraped,
    }
    (home / "prometheus.yml").write_text(json.dumps(config))
    port = free_port()
    command = [
        "prometheus",
        f"--config.file={home}/prometheus.yml",
        f"--storage.tsdb.path={home}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with running(command, home / "log", lambda: urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=5).status == 200):
        yield Prometheus(port)
