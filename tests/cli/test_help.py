"""The help of every command has a whole summary on a narrow terminal, and two examples that the command accepts."""

import json
import re
import shlex

import click
import pytest
from click.testing import CliRunner

from certmedic.cli import main
from certmedic.edge.store import Store

EXAMPLE = re.compile(r"^ {4,}(?:.*\| )?certmedic (.+)$", re.MULTILINE)


def parts(group):
    """Return the commands of a group by name; none for a command."""
    context = click.Context(group)
    names = group.list_commands(context) if isinstance(group, click.Group) else ()
    return {name: group.get_command(context, name) for name in names}


def commands(group=main, words=()):
    """Yield each command with the words that call it."""
    yield words, group
    for name, command in parts(group).items():
        yield from commands(command, (*words, name))


def shown(*words):
    done = CliRunner().invoke(main, [*words, "--help"], prog_name="certmedic", terminal_width=80)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("words", [(), ("silence",)])
def test_no_summary_is_cut_or_wrapped_at_80_columns(words):
    group = dict(commands())[words]
    summaries = shown(*words).partition("\nCommands:\n")[2].partition("\n\n")[0].splitlines()

    assert "..." not in "".join(summaries)
    assert [line.split()[0] for line in summaries] == sorted(parts(group))
    assert max(map(len, summaries)) <= 80


@pytest.mark.parametrize("words", [words for words, _ in commands()], ids=" ".join)
def test_help_has_two_examples_that_the_parser_accepts(words):
    examples = EXAMPLE.findall(shown(*words))

    assert len(examples) == 2
    for example in examples:
        arguments = shlex.split(example)
        assert tuple(arguments[: len(words)]) == words
        command, names = main, []
        while isinstance(command, click.Group):
            names.append(arguments.pop(0))
            command = parts(command)[names[-1]]
        context = click.Context(command, info_name=" ".join(names))
        command.make_parser(context).parse_args(arguments)  # raises UsageError


def test_help_fits_80_columns():
    too_long = {words: [line for line in shown(*words).splitlines() if len(line) > 80] for words, _ in commands()}
    assert {words: lines for words, lines in too_long.items() if lines} == {}


def test_each_command_that_prints_takes_json():
    without = [
        " ".join(words)
        for words, command in commands()
        if not isinstance(command, click.Group) and "--json" not in {name for p in command.params for name in p.opts}
    ]
    assert without == ["collect", "run"]  # the one writes an archive, the other to the journal


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["incident"], "No such command 'incident'; did you mean incidents?"),
        (["silence", "lst"], "No such command 'lst'; did you mean list?"),
        (["frobnicate"], "No such command 'frobnicate'; there are: approve, backfill, certs,"),
        (["certs", "--wyde"], "No such option '--wyde'; did you mean --wide?"),
        (["incidents", "--since", "1h"], "No such option '--since'; there are: --"),
        (["simulate"], "Missing option '--at', e.g. certmedic simulate --at 2027-03-01"),
        (["explain"], "Missing argument 'LINE... | -', e.g. certmedic explain 'remote error: tls: bad certificate'"),
        (
            ["silence", "add", "--cause", "expird", "--for", "2h", "--comment", "x"],
            "found 'expird'; allowed: expired, ",
        ),
        (
            ["test-notify", "--sample", "expird"],
            "revoked, crl_expired, stale_in_memory, expires_soon, unexplained, blind; did you mean expired?",
        ),
        (["silence", "add", "--all", "--for", "2 weeks", "--comment", "x"], "'2 weeks'; "),
        (["test-notify", "--severity", "page"], "found 'page'; allowed: critical, warning, info"),
        (["simulate", "--at", "soon"], "'soon' is not a time; write 2027-03-01,"),
        (["backfill", "--since", "ever"], "'ever' is not a time; write 2026-11-01,"),
        (["certs", "--root", "/no/such"], "/no/such"),
        (["show", "one"], "found 'one'; allowed: a number that `sudo certmedic incidents` shows"),
        (["check-config", "--config", "/no/such.toml"], "/no/such.toml: no such file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_word_is_named_with_what_is_allowed(words, error):
    done = CliRunner().invoke(main, words, prog_name="certmedic")
    assert done.exit_code == 2
    assert error in " ".join(done.output.split())


def test_json_of_silences_and_of_the_configuration_names_the_cluster(tmp_path):
    Store(tmp_path / "state.sqlite3").close()
    path = tmp_path / "certmedic.toml"
    path.write_text(f'cluster = "prod-1"\nstate = "{tmp_path}"\n')
    for words in (["silence", "list"], ["check-config"]):
        done = CliRunner().invoke(main, [*words, "--json", "--config", str(path)])
        assert json.loads(done.stdout)["cluster"] == "prod-1"


def test_check_config_as_json_lists_every_fault(tmp_path):
    path = tmp_path / "certmedic.toml"
    path.write_text('mode = "fix"\nmod = "x"\n')
    path.chmod(0o640)
    done = CliRunner().invoke(main, ["check-config", "--json", "--config", str(path)])
    answer = json.loads(done.stdout)
    assert (done.exit_code, answer["good"], len(answer["faults"])) == (2, False, 2)
    path.write_text(f'[metrics]\ntextfile = "{tmp_path}/none/x.prom"\n')
    done = CliRunner().invoke(main, ["check-config", "--json", "--config", str(path)])
    answer = json.loads(done.stdout)
    assert (done.exit_code, answer["mode"], answer["files"], len(answer["faults"])) == (1, "notify", [str(path)], 1)
