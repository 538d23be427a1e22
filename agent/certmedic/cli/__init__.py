"""The commands, one module for each noun. Only `output` prints; `inputs` reads options, configuration and state.

Exit codes: 0 good, 1 failed, 2 usage or configuration; for `diagnose` and `certs --check` 0 good, 1 warning, 2 critical,
3 could not tell, as Nagios wants them. `--json` prints one object with a schema number and nothing else.
"""

from __future__ import annotations

import click

from certmedic import __version__
from certmedic.cli import (
    backfill,
    certs,
    collect,
    configuration,
    explain,
    fleet,
    incidents,
    inputs,
    output,
    service,
    silence,
)
from certmedic.cli.steps import steps


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=inputs.examples("certmedic certs", "certmedic incidents --open"),
    invoke_without_command=True,
)
@click.version_option(__version__, prog_name="certmedic")
@click.pass_context
def main(context: click.Context) -> None:
    """Find the failed TLS certificate on this Kubernetes master: whose it is, which file, and what fixes it."""
    if context.invoked_subcommand is None:
        output.write(context.get_help())
        output.say("\nNext:", bold=True)
        for step in steps():
            output.say(f"  {step}")


for command in (
    explain.explain,
    certs.certs,
    certs.simulate,
    certs.diagnose,
    backfill.backfill,
    collect.collect,
    *incidents.COMMANDS,
    silence.silence_group,
    fleet.fleet,
    *service.COMMANDS,
    configuration.check_config,
):
    main.add_command(command)
