"""The commands. Only here is anything printed, and only here does the process exit.

Exit codes: 0 good, 1 failed, 2 usage or configuration; for `diagnose` and `certs --check` 0 good, 1 warning, 2 critical,
3 could not tell, as Nagios wants them. `--json` prints one object with a schema number and nothing else.
"""

from __future__ import annotations

import click

from certmedic import __version__
from certmedic.cli import backfill, hand, history, look, serve, silence


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="certmedic")
def main() -> None:
    """Whose TLS certificate failed on this Kubernetes master, which file, and what cures it."""


for command in (
    *look.COMMANDS,
    *backfill.COMMANDS,
    *history.COMMANDS,
    *hand.COMMANDS,
    *silence.COMMANDS,
    *serve.COMMANDS,
):
    main.add_command(command)
