"""The commands, one module for each noun. Only `output` prints; `inputs` reads options, configuration and state.

Exit codes: 0 good, 1 failed, 2 usage or configuration; for `diagnose` and `certs --check` 0 good, 1 warning, 2 critical,
3 could not tell, as Nagios wants them. `--json` prints one object with a schema number and nothing else.
"""

from __future__ import annotations

import click

from certmedic import __version__
from certmedic.cli import backfill, certs, explain, fleet, incidents, inputs, service, silence


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=inputs.examples("certmedic certs", "certmedic incidents --open"),
)
@click.version_option(__version__, prog_name="certmedic")
def main() -> None:
    """Find the failed TLS certificate on this Kubernetes master: whose it is, which file, and what fixes it."""


for command in (
    explain.explain,
    certs.certs,
    certs.simulate,
    certs.diagnose,
    backfill.backfill,
    *incidents.COMMANDS,
    silence.silence_group,
    fleet.fleet,
    *service.COMMANDS,
):
    main.add_command(command)
