"""The command line of `./dev drill`."""

import click

from certmedic.cli import output
from labs.drill import story


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--old", is_flag=True, help="An etcd-manager that keeps an expired certificate over a restart.")
@click.option(
    "--notify",
    "urls",
    multiple=True,
    metavar="URL",
    help="Send the messages for real to this apprise URL, marked as a drill.",
)
def drill(*, old: bool, urls: tuple[str, ...]) -> None:
    """Watch a real etcd certificate expire and the agent find, report and cure it, in about a minute."""
    raise SystemExit(story.play(old=old, urls=urls, say=output.say))


drill(prog_name="./dev drill")
