"""`run`: the service, and its help. Written without other options, the command does not come here (`__main__.py`)."""

from __future__ import annotations

from pathlib import Path

from certmedic.cli import inputs


@inputs.command(
    "run", "Run the service until it is stopped.", "certmedic run", "certmedic run --config ./certmedic.toml"
)
@inputs.CONFIG
def run(*, config_path: Path | None) -> None:
    """Run the service: watch logs and certificates, report failures, and fix them if the configuration allows it.

    SIGHUP reloads the configuration. On SIGTERM the service finishes an action under way, then stops.
    """
    inputs.need_linux("run")
    from certmedic import daemon  # noqa: PLC0415 - the help needs none of it

    daemon.run(config_path)
