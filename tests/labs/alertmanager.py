"""Debian's Alertmanager, with the route and the inhibit rule of the package's example, and a web hook behind it.

On loopback its times are short: a group waits a second for its first notification and a second for each further one. In the network of
three masters it has the times of the example.
"""

from __future__ import annotations

import contextlib
import json
import ssl
import subprocess
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from labs.receivers import Hook, free_port
from labs.waiting import until

EXAMPLE = Path(__file__).parents[2] / "packaging/examples/alertmanager.yml"


@dataclass
class Running:
    """An Alertmanager that runs."""

    url: str
    process: subprocess.Popen[bytes]
    context: ssl.SSLContext | None = None  # with a client certificate
    gossip: str = ""  # the address at which further instances join it

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that it holds."""
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts", timeout=5, context=self.context) as reply:  # noqa: S310 - our own
            return list(json.loads(reply.read()))

    def states(self) -> dict[str, str]:
        """Return instance -> active or suppressed, of each alert."""
        return {alert["labels"]["instance"]: alert["status"]["state"] for alert in self.alerts()}

    def is_up(self) -> bool:
        with contextlib.suppress(OSError):
            self.alerts()
            return True
        return False


def notifications(hook: Hook) -> list[tuple[str, list[str]]]:
    """Return (state, instances) of each notification that reached the web hook."""
    bodies = [json.loads(body) for _, _, body in hook.requests]
    return [(body["status"], sorted(alert["labels"]["instance"] for alert in body["alerts"])) for body in bodies]


def described(hook: Hook) -> str:
    """Return a line for each alert of each notification: which receiver, and the alert's labels and times."""
    lines = []
    for number, (path, _, body) in enumerate(hook.requests):
        sent = json.loads(body)
        for alert in sent["alerts"]:
            labels = {
                name: alert["labels"].get(name) for name in ("instance", "culprit", "cause", "suspect", "severity")
            }
            lines.append(
                f"{number} {path} {sent['status']}: {alert['status']} {labels} {alert['startsAt']} {alert['endsAt']}"
            )
    return "\n".join(lines)


@contextlib.contextmanager
def alertmanager(
    folder: Path,
    hook: Hook,
    *,
    web: Path | None = None,
    context: ssl.SSLContext | None = None,
    network: str = "",
    joins: Sequence[Running] | None = None,
) -> Iterator[Running]:
    """Run an Alertmanager, with `web` (its web.config.file) over TLS, or at the hook's address in a network namespace.

    With `joins` it gossips, with those instances and with others that join it.
    """
    folder.mkdir(exist_ok=True)
    text = EXAMPLE.read_text()
    if not network:
        text = text.replace("group_wait: 5s", "group_wait: 1s").replace("interval: 10s", "interval: 1s")
    for name in ("oncall", "team"):
        receiver = f"webhook_configs: [{{url: 'http://{hook.address}:{hook.port}/{name}', send_resolved: true}}]"
        text = text.replace(f"- name: {name}\n", f"- name: {name}\n    {receiver}\n")
    config = folder / "alertmanager.yml"
    config.write_text(text)
    port = free_port()
    words = [
        f"--web.listen-address={hook.address}:{port}",
        f"--config.file={config}",
        f"--storage.path={folder / 'data'}",
    ]
    if web is not None:
        words.append(f"--web.config.file={web}")
    gossip = "" if joins is None else f"{hook.address}:{free_port()}"
    words += [f"--cluster.listen-address={gossip}", *(f"--cluster.peer={other.gossip}" for other in joins or ())]
    program = [*(["ip", "netns", "exec", network] if network else []), "prometheus-alertmanager"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*program, *words], stdout=log, stderr=log)
    running = Running(f"http{'s' if web else ''}://{hook.address}:{port}", process, context, gossip)
    try:
        until((lambda: b"Listening on" in (folder / "log").read_bytes()) if network else running.is_up)
        yield running
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def guarded(url: str, token: str) -> Iterator[str]:
    """Run a proxy that lets only this bearer token through to a URL, since Alertmanager itself knows none."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = 401
            if self.headers["Authorization"] == f"Bearer {token}":
                request = urllib.request.Request(url + self.path, body, {"Content-Type": "application/json"})  # noqa: S310 - our own
                with urllib.request.urlopen(request, timeout=5) as reply:  # noqa: S310 - our own
                    status = reply.status
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
