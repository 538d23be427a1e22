"""The inputs of the commands: options and their parsers, the configuration, and the state that the service wrote."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
from click.shell_completion import CompletionItem

from certmedic.cli import output
from certmedic.core.text import nearest

# Imported where they are used, so that commands without configuration or state start sooner.
if TYPE_CHECKING:
    from certmedic.config import Config, ConfigError
    from certmedic.edge.store import Store


def moment_of(text: str, now: datetime) -> datetime:
    """Return a time as `utc` does, or one so far ahead of now: "90d", "12h". Raises ValueError."""
    from certmedic.config import duration  # noqa: PLC0415 - see above

    try:
        return now + duration(text)
    except ValueError:
        return utc(text)


def utc(text: str) -> datetime:
    """Return an ISO 8601 time; without a zone it is UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def moment(_: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    """Parse a time of the command line: RFC 3339, or a date; without a zone it is UTC."""
    try:
        return None if value is None else moment_of(value, datetime.now(UTC))
    except (ValueError, OverflowError):
        sentence = f"{value!r} is not a time; write 2027-03-01, 2027-03-01T04:00:00Z, or 90d for so far ahead"
        raise click.BadParameter(sentence, param=param) from None


JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
CONFIG = click.option("--config", "config_path", type=click.Path(path_type=Path), help="Configuration file.")
AT = click.option("--at", callback=moment, metavar="TIME", help="Judge as if it were this time (UTC). [default: now]")
ROOT = click.option(
    "--root", type=click.Path(exists=True, file_okay=False), help="Read a copy of a master's files as if it were /."
)


def examples(*commands: str) -> str:
    """Return the end of a command's help. Click keeps the lines of a paragraph that begins with a backspace."""
    return "\b\nExamples:\n" + "\n".join(f"  {command}" for command in commands)


class Command(click.Command):
    """A command whose errors name what is allowed: its options, or an example of its use."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the words after the command's name, or exit with the nearest option or an example."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            known = {option.lstrip("-"): option for param in self.params for option in param.opts if option[0] == "-"}
            hint = nearest(error.option_name.lstrip("-"), known).replace("mean ", "mean --")
            ctx.fail(f"No such option {error.option_name!r}{hint or '; there are: ' + ', '.join(known.values())}")
        except click.MissingParameter as error:
            example = str(self.epilog).splitlines()[2].strip()
            ctx.fail(f"{error.format_message().rstrip('.')}, e.g. {example}")


def command(name: str, summary: str, *commands: str) -> Callable[[Callable[..., None]], click.Command]:
    """Return the decorator of a command: its name, its line in the list of commands, and examples."""
    return click.command(name, cls=Command, short_help=summary, epilog=examples(*commands))


class Choice(click.Choice):  # type: ignore[type-arg]  # generic in newer versions of click only
    """One of several words. The error about another word names the nearest one."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the word, or exit with what is allowed."""
        if value not in self.choices:
            self.fail(f"found {value!r}; allowed: {', '.join(self.choices)}{nearest(value, self.choices)}", param, ctx)
        return value


def number(lists: str) -> Callable[[click.Context, click.Parameter, str | None], int]:
    """Return the check of an argument that is the number of an incident or of a silence; `lists` is the command that lists them."""

    def check(_: click.Context, __: click.Parameter, value: str | None) -> int:
        if value is None or not value.isdecimal():
            fault = f"found {value!r}" if value else "it is missing"
            raise click.BadParameter(f"{fault}; allowed: a number that `sudo certmedic {lists}` shows")
        return int(value)

    return check


class Commands(click.Group):
    """A group of commands whose error about a word that is none of them names the nearest one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the first word names, or exit with the nearest one."""
        name = args[0]
        if not ctx.resilient_parsing and not name.startswith("-") and self.get_command(ctx, name) is None:
            known = self.list_commands(ctx)
            hint = nearest(name, known) or f"; there are: {', '.join(known)}"
            ctx.fail(f"No such command {name!r}{hint}")
        return super().resolve_command(ctx, args)


def config(path: Path | None, *, looks: bool = False) -> Config:
    """Read the configuration, or print every fault of it and exit.

    A command that only `looks` goes on with the good values, since people look when something is wrong.
    """
    from certmedic.config import ConfigError, load  # noqa: PLC0415 - see above

    try:
        return load(path)
    except ConfigError as error:
        if not looks or error.good is None:
            refuse(error)
        print_faults(error)
        output.write("certmedic: warning: the configuration has faults; its good values are used", err=True)
        return error.good


def refuse(error: ConfigError) -> NoReturn:
    """Print every fault of the configuration, and exit."""
    print_faults(error)
    raise SystemExit(2)


def print_faults(error: ConfigError) -> None:
    """Print every fault of the configuration."""
    for fault in error.faults:
        output.write(f"certmedic: {fault}", err=True)


def need_linux(command: str, instead: str = "run it on the master", *, code: int = 1) -> None:
    """Exit with `code` unless this machine runs Linux, since the command reads the machine itself."""
    if sys.platform != "linux":
        output.fail(f"{command} reads this machine, which must run Linux: {instead}", code)


@contextmanager
def state(settings: Config, *, writable: bool = False) -> Iterator[Store]:
    """Open the service's state, for reading or for one transaction; or print why that fails, and exit."""
    from certmedic.edge.store import STATE, Store, StoreError  # noqa: PLC0415 - see above

    file = settings.state / STATE
    try:
        exists = file.exists()
    except PermissionError:
        output.fail(f"{file}: only root may read it: sudo certmedic ...")
    if not exists:
        output.fail(f"{file}: no state here yet: has the service run? (systemctl status certmedic)")
    try:
        with Store(file, readonly=not writable) as store, store.transaction() if writable else nullcontext():
            yield store
    except StoreError as error:
        output.fail(str(error))


def completion(rows: Callable[[Store], Iterable[tuple[int, str]]]) -> Callable[..., list[CompletionItem]]:
    """Return a shell completion that offers the numbers of `rows`, each with its text; nothing if the state is unreadable."""

    def complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from certmedic.config import ConfigError, load  # noqa: PLC0415 - see above
        from certmedic.edge.store import STATE, Store, StoreError  # noqa: PLC0415 - see above

        with suppress(ConfigError, StoreError):
            path = load(ctx.params.get("config_path")).state / STATE
            with Store(path, readonly=True) as store:
                return [
                    CompletionItem(str(number), help=text)
                    for number, text in rows(store)
                    if str(number).startswith(incomplete)
                ]
        return []

    return complete


def author() -> str:
    """Return the user who runs the command, seen through sudo."""
    return os.environ.get("SUDO_USER") or os.environ.get("USER") or f"uid {os.getuid()}"
