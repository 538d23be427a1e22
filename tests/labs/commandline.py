"""A certmedic command, run in this process on the state of a lab."""

from __future__ import annotations

import tempfile
from pathlib import Path

from click.testing import CliRunner, Result

from certmedic.cli import main
from labs.played import Lab


def run(lab: Lab, *words: str, config: str = "") -> Result:
    """Run a command with a configuration that names the state of the lab; return click's result."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "state.sqlite3").symlink_to(lab.path)
        file = home / "certmedic.toml"
        file.write_text(f'state = "{home}"\n{config}')
        file.chmod(0o640)
        return CliRunner().invoke(main, [*words, "--config", str(file)])
