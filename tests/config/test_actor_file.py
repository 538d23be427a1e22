"""actor.toml, the limits of the actor: its keys are those of [remedy], and replace them."""

from __future__ import annotations

import pytest

from certmedic.config import ConfigError, files, load
from labs import ROOT


@pytest.fixture
def main(tmp_path):
    path = tmp_path / "certmedic.toml"
    path.write_text('mode = "remedy"\n[remedy]\nrenew = true\nper_day = 5\n')
    return path


def test_without_it_the_keys_of_remedy_hold(main):
    remedy = load(main).remedy
    assert (remedy.renew, remedy.per_day, remedy.restart) == (True, 5, ("etcd-manager",))


def test_its_keys_replace_those_of_remedy_and_of_drop_ins(main):
    (main.parent / "conf.d").mkdir()
    (main.parent / "conf.d/more.toml").write_text("[remedy]\nreissue = true\nper_day = 9\n")
    (main.parent / "actor.toml").write_text("renew = false\nrestart = []\nper_day = 1\n")

    remedy = load(main).remedy

    assert (remedy.renew, remedy.reissue, remedy.per_day, remedy.restart) == (False, True, 1, ())
    assert [file.name for file in files(main)] == ["certmedic.toml", "more.toml", "actor.toml"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('mode = "remedy"', "actor.toml: mode: no such key"),
        ("[remedy]\nrenew = true", "actor.toml: remedy.renew: no such key"),
        ("renewal = true", "did you mean renew?"),
        ("renew = 1", "remedy.renew: found 1; allowed: true or false"),
    ],
)
def test_other_keys_are_faults(main, text, fault):
    (main.parent / "actor.toml").write_text(text)
    with pytest.raises(ConfigError, match=fault.replace(".", r"\.").replace("?", r"\?")):
        load(main)


def test_shipped_file_changes_nothing(main):
    before = load(main)
    (main.parent / "actor.toml").write_text((ROOT / "packaging/actor.toml").read_text())
    assert load(main) == before
