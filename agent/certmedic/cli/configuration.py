"""`check-config`: the faults of the configuration, and what it allows."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import click

from certmedic import app
from certmedic.cli import inputs, output
from certmedic.cli.renewals import tell_renewals
from certmedic.config import Config, ConfigError, files, load
from certmedic.config.ownership import readable_by_everybody
from certmedic.edge import actor


def open_secrets(config: Config) -> list[str]:
    """Return the files of addresses that every user may read, a sentence each."""
    files = [*(item for item in config.notify.apprise if isinstance(item, str)), *(p.key for p in config.notify.pager)]
    paths = [Path(item) for item in files if item.startswith("/")]
    return [
        f"{path}: everybody may read this file, and addresses are secrets: chmod 0640 it"
        for path in paths
        if readable_by_everybody(path)
    ]


def missing_programs(config: Config) -> list[str]:
    """Return the commands of the configuration that cannot be run, a sentence each."""
    programs = [means.command[0] for means in config.remedy.means if means.command]
    return [f"remedy.means: {p}: is not an executable file" for p in programs if not os.access(p, os.X_OK)]


def missing_folders(config: Config) -> list[str]:
    """Return the folders of files to be written that do not exist, a sentence each."""
    file = config.metrics.textfile
    if file is None or file.parent.is_dir():
        return []
    restart = "make it, give it to the group certmedic, and restart the service, which sees it only then"
    return [f"metrics.textfile: {file.parent}: no such folder: {restart}"]


def unable(config: Config) -> list[str]:
    """Return that nothing can act although the mode asks for it, in a sentence."""
    if config.mode in ("observe", "notify") or actor.is_installed():
        return []
    return [f'mode is "{config.mode}", but {actor.ABSENT}: install the package certmedic-actor']


def tell_as_json(config_path: Path | None) -> None:
    """Print every fault and warning as JSON; exit as without --json."""
    try:
        config = load(config_path)
    except ConfigError as error:
        output.as_json(good=False, cluster=None, mode=None, files=[], faults=list(error.faults), warnings=[])
        raise SystemExit(2) from None
    faults = faults_of(config)
    warnings = [*open_secrets(config), *unable(config)]
    read = [str(file) for file in files(config_path)]
    name = app.identity(config).name
    output.as_json(good=not faults, cluster=name, mode=config.mode, files=read, faults=faults, warnings=warnings)
    raise SystemExit(1 if faults else 0)


def faults_of(config: Config) -> list[str]:
    """Return the faults of the channels, commands and folders that a configuration names."""
    return [
        *app.channel_faults(config, app.notifier(config)),
        *missing_programs(config),
        *missing_folders(config),
    ]


@inputs.command(
    "check-config",
    "Check the configuration.",
    "certmedic check-config --config ./certmedic.toml",
    "certmedic check-config --explain",
)
@inputs.JSON
@inputs.CONFIG
@click.option(
    "--explain", is_flag=True, help="Also print who renews each certificate, and whether an action is allowed."
)
def check_config(*, as_json: bool, config_path: Path | None, explain: bool) -> None:
    """Check the configuration, the channels and the commands in it, and print every fault at once."""
    if as_json and explain:
        raise click.UsageError("--json and --explain: choose one; `certmedic certs --json` says who renews what")
    if as_json:
        tell_as_json(config_path)
        return
    config = inputs.config(config_path)
    read = files(config_path)
    faults = faults_of(config)
    for fault in faults:
        output.say(fault, colour="red")
    for warning in (*open_secrets(config), *unable(config)):
        output.say(f"warning: {warning}", colour="yellow")
    if explain:
        tell_renewals(config, datetime.now(UTC))
    names = ", ".join(map(str, read)) or "no file, all defaults"
    if faults:
        output.fail(f"the rest of {names} is good, and the service uses it; mode {config.mode}")
    output.say(f"good: {names}; mode {config.mode}", colour="green")
