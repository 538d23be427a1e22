"""`certmedic` without a command names the next steps."""

import pytest
from click.testing import CliRunner

from certmedic.cli import main
from certmedic.cli.steps import steps


@pytest.fixture
def configured(tmp_path):
    """Return a function that writes a configuration whose state lies in a folder of the test."""

    def _configured(text="", *, state=tmp_path):
        file = tmp_path / "certmedic.toml"
        file.write_text(f'state = "{state}"\n{text}')
        file.chmod(0o640)
        return file

    return _configured


def test_steps_name_the_stopped_service_open_incidents_and_missing_channels(lab, configured, tmp_path):
    machine = lab(mode="notify")
    machine.suffer(20)
    (tmp_path / "state.sqlite3").symlink_to(machine.path)
    first, second, third, *_ = steps(configured())
    assert first == "the service does not run:  sudo systemctl start certmedic"
    assert second.startswith("incidents are open (1):")
    assert third.startswith("nobody gets messages:")


@pytest.mark.parametrize(
    ("faulty", "sentence"), [('mode = "fix"', "1 fault:"), ('mode = "fix"\nmodus = 1', "2 faults:")]
)
def test_faulty_configuration_is_the_first_step(configured, faulty, sentence):
    assert list(steps(configured(faulty))) == [f"the configuration has {sentence}  certmedic check-config"]


def test_machine_without_a_state_has_next_steps(configured, tmp_path):
    assert "see what expires when:  sudo certmedic certs" in list(steps(configured(state=tmp_path / "none")))


def test_unreadable_state_is_a_step(configured, tmp_path):
    (tmp_path / "state.sqlite3").write_text("no database")
    assert list(steps(configured())) == ["only root may read the state:  sudo certmedic"]


def test_command_alone_prints_its_help_and_the_next_steps():
    done = CliRunner().invoke(main, [])
    assert done.exit_code == 0
    assert "Commands:" in done.output
    assert "\nNext:\n  " in done.output
