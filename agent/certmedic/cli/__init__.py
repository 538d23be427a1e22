"""The commands, one module for each noun. Only `output` prints; `inputs` reads options, configuration and state.

Exit codes: 0 good, 1 failed, 2 usage or configuration; for `diagnose` and `certs --check` 0 good, 1 warning, 2 critical,
3 could not tell, as Nagios wants them. `--json` prints one object with a schema number and nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

import click

from certmedic import __version__
from certmedic.cli import inputs, output

# name -> module and name in it
COMMANDS: Final = {
    "approve": "incidents.approve",
    "backfill": "backfill.backfill",
    "certs": "certs.certs",
    "check-config": "configuration.check_config",
    "collect": "collect.collect",
    "diagnose": "certs.diagnose",
    "explain": "explain.explain",
    "fleet": "fleet.fleet",
    "incidents": "incidents.incidents",
    "reset": "incidents.reset",
    "run": "run.run",
    "show": "incidents.show_incident",
    "silence": "silence.silence_group",
    "simulate": "certs.simulate",
    "status": "service.status",
    "test-notify": "notify.test_notify",
}


class Commands(inputs.Commands):
    """The commands; the module of each is imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        """Return their names."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        """Return a command; None if there is none of that name."""
        module, _, name = COMMANDS.get(cmd_name, "").partition(".")
        command: click.Command | None = getattr(import_module(f"certmedic.cli.{module}"), name) if module else None
        return command


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=inputs.examples("certmedic certs", "certmedic incidents --open"),
    invoke_without_command=True,
)
@click.version_option(__version__, prog_name="certmedic")
@click.pass_context
def main(context: click.Context) -> None:
    """Find the failed TLS certificate on this Kubernetes master: whose it is, which file, and what fixes it."""
    if context.invoked_subcommand is None:
        from certmedic.cli.steps import steps  # noqa: PLC0415 - no other command needs it

        output.write(context.get_help())
        output.say("\nNext:", bold=True)
        for step in steps():
            output.say(f"  {step}")
