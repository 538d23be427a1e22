"""Configuration, drop-ins and files of addresses are used only if nobody else can change them."""

import os
import tempfile
from pathlib import Path

import pytest

from certmedic.config import Config, ConfigError, load, ownfile
from labs.receivers import Hook
from test_cli import certmedic

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files to somebody else")


@pytest.fixture
def config(tmp_path):
    """A good configuration with a drop-in, in a folder as /etc/certmedic."""
    folder = tmp_path / "etc"
    (folder / "conf.d").mkdir(parents=True)
    (folder / "certmedic.toml").write_text('mode = "observe"\n')
    (folder / "conf.d" / "10-site.toml").write_text("[remedy]\nper_day = 1\n")
    (folder / "certmedic.toml").chmod(0o644)
    (folder / "conf.d" / "10-site.toml").chmod(0o644)
    return folder / "certmedic.toml"


def give(path):
    os.chown(path, NOBODY, NOBODY)


def mend(path):
    return f"sudo chown root: {path} && sudo chmod go-w {path}"


def test_files_of_the_user_who_runs_it_are_read(config):
    assert load(config).mode == "observe"
    assert load(config).remedy.per_day == 1


@as_root
@pytest.mark.parametrize("which", ["certmedic.toml", "conf.d/10-site.toml"])
def test_a_file_of_somebody_else_is_refused_with_what_mends_it(config, which):
    path = config.parent / which
    give(path)

    with pytest.raises(ConfigError) as caught:
        load(config)

    assert caught.value.faults == (f"{path}: belongs to nobody, not to root: {mend(path)}",)


@as_root
@pytest.mark.parametrize("which", [".", "conf.d"])
def test_a_folder_of_somebody_else_is_refused_by_its_name(config, which):
    folder = config.parent / which
    give(folder)

    with pytest.raises(ConfigError, match=f"{folder} belongs to nobody, not to root: {mend(folder)}"):
        load(config)


@pytest.mark.parametrize(("mode", "said"), [(0o666, "by everybody"), (0o602, "by everybody")])
def test_a_file_that_everybody_can_change_is_refused(config, mode, said):
    config.chmod(mode)

    with pytest.raises(ConfigError, match=f"can be changed {said}"):
        load(config)


@as_root
def test_a_group_may_write_only_if_it_is_the_group_root(config):
    config.chmod(0o664)
    assert load(config).mode == "observe"
    os.chown(config, 0, NOBODY)

    with pytest.raises(ConfigError, match=f"can be changed by the group {NOBODY}"):
        load(config)


def test_only_a_sticky_folder_may_be_open_to_everybody(config):
    config.parent.chmod(0o1777)
    assert load(config).mode == "observe"
    config.parent.chmod(0o777)

    with pytest.raises(ConfigError, match=f"{config.parent} can be changed by everybody"):
        load(config)


@as_root
def test_a_link_is_followed_only_from_and_to_where_root_alone_writes(config, tmp_path):
    link = tmp_path / "link.toml"
    link.symlink_to(config)
    assert load(link).mode == "observe"

    os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(ConfigError, match=f"belongs to nobody, not to root: {mend(link)}"):
        load(link)
    os.chown(link, 0, 0, follow_symlinks=False)
    give(config)
    with pytest.raises(ConfigError, match=f"{config} belongs to nobody"):
        load(link)


def test_a_link_to_itself_and_a_fifo_and_a_huge_file_end_at_once(config):
    extra = config.parent / "conf.d" / "20-odd.toml"
    extra.symlink_to(extra)
    with pytest.raises(ownfile.UnsafeFileError, match="leads nowhere"):
        ownfile.read(extra)
    extra.unlink()
    os.mkfifo(extra, 0o600)
    with pytest.raises(ConfigError, match=r"20-odd\.toml: is not a regular file"):
        load(config)
    extra.unlink()
    extra.write_bytes(b"#" * (ownfile.LONGEST + 1))
    with pytest.raises(ConfigError, match="is larger than 1024 KiB"):
        load(config)


@pytest.fixture
def as_nobody():
    """Run something with the rights of another user."""

    def _run(call):
        os.setegid(NOBODY)
        os.seteuid(NOBODY)
        try:
            return call()
        finally:
            os.seteuid(0)
            os.setegid(0)

    return _run


@as_root
def test_a_user_reads_files_of_root_and_own_ones_but_no_third_ones(as_nobody):
    with tempfile.TemporaryDirectory() as above:  # pytest's own folders are closed to other users
        Path(above).chmod(0o755)
        config = Path(above) / "certmedic.toml"
        config.write_text('mode = "observe"\n')
        config.chmod(0o644)

        assert as_nobody(lambda: load(config)).mode == "observe"
        give(config)
        assert as_nobody(lambda: load(config)).mode == "observe"
        os.chown(config, 1234, 1234)
        with pytest.raises(ConfigError, match="belongs to uid 1234, not to root"):
            as_nobody(lambda: load(config))


@as_root
def test_a_file_of_addresses_that_others_can_change_sends_nothing(config):
    apprise = config.parent / "apprise.yml"
    config.write_text(f'[notify]\napprise = ["{apprise}"]\n')
    with Hook() as received:
        apprise.write_text(f"urls:\n  - {received.url}\n")
        apprise.chmod(0o640)
        give(apprise)
        checked = certmedic("check-config", "--config", str(config))
        sent = certmedic("test-notify", "--config", str(config))
        assert received.messages == []

    said = f"{apprise}: belongs to nobody, not to root: {mend(apprise)}"
    assert (checked.returncode, said in checked.stdout) == (1, True), checked.stdout
    assert (sent.returncode, said in sent.stdout) == (1, True), sent.stdout


def test_addresses_that_everybody_may_read_are_warned_of(config):
    apprise = config.parent / "apprise.yml"
    config.write_text(f'[notify]\napprise = ["{apprise}"]\n')
    apprise.write_text("urls:\n  - json://user:SECRET@127.0.0.1:9/\n")
    apprise.chmod(0o644)
    warned = certmedic("check-config", "--config", str(config))
    apprise.chmod(0o640)
    good = certmedic("check-config", "--config", str(config))

    assert f"warning: {apprise}: everybody may read this file" in warned.stdout
    assert f"sudo chmod o-r {apprise}" in warned.stdout
    assert "SECRET" not in warned.stdout + warned.stderr
    assert "warning" not in good.stdout
    assert (warned.returncode, good.returncode) == (0, 0)


def test_no_file_at_all_is_still_good(monkeypatch, tmp_path):
    monkeypatch.setattr("certmedic.config.DEFAULT_PATH", tmp_path / "none.toml")
    assert load() == Config()
