"""Configuration, drop-ins and apprise files are used only if no other user can change them."""

import os
import tempfile
from pathlib import Path

import pytest

from certmedic.config import Config, ConfigError, load, ownership
from labs.command import certmedic
from labs.receivers import Hook

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files to somebody else")


@pytest.fixture
def config(tmp_path):
    """Return a good configuration with a drop-in, in a folder like /etc/certmedic."""
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
    return f"so others could steer certmedic by it; to mend it: sudo chown root: {path} && sudo chmod go-w {path}"


def test_files_of_the_running_user_are_read(config):
    assert load(config).mode == "observe"
    assert load(config).remedy.per_day == 1


@as_root
@pytest.mark.parametrize("which", ["certmedic.toml", "conf.d/10-site.toml"])
def test_file_of_another_user_is_refused_with_a_command_that_fixes_it(config, which):
    path = config.parent / which
    give(path)

    with pytest.raises(ConfigError) as caught:
        load(config)

    assert caught.value.faults == (f"{path}: {path} belongs to uid {NOBODY}, not to root, {mend(path)}",)


@as_root
@pytest.mark.parametrize("which", [".", "conf.d"])
def test_folder_of_another_user_is_refused_with_its_path(config, which):
    folder = config.parent / which
    give(folder)

    with pytest.raises(ConfigError, match=f"{folder} belongs to uid {NOBODY}, not to root, {mend(folder)}"):
        load(config)


@pytest.mark.parametrize(("mode", "expected"), [(0o666, "by everybody"), (0o602, "by everybody")])
def test_world_writable_file_is_refused(config, mode, expected):
    config.chmod(mode)

    with pytest.raises(ConfigError, match=f"is writable {expected}"):
        load(config)


@as_root
def test_group_writable_file_is_accepted_only_for_the_group_root(config):
    config.chmod(0o664)
    assert load(config).mode == "observe"
    os.chown(config, 0, NOBODY)

    with pytest.raises(ConfigError, match=f"is writable by the group {NOBODY}"):
        load(config)


def test_sticky_folder_protects_folders_but_not_files(config):
    config.parent.parent.chmod(0o1777)  # like /tmp
    assert load(config).mode == "observe"
    config.parent.chmod(0o1777)  # a file in it may be another user's hard link
    with pytest.raises(ConfigError, match=f"{config.parent} is writable by everybody"):
        load(config)
    config.parent.chmod(0o755)
    config.parent.parent.chmod(0o777)
    with pytest.raises(ConfigError, match=f"{config.parent.parent} is writable by everybody"):
        load(config)


@as_root
def test_link_is_followed_only_if_link_and_target_belong_to_root(config, tmp_path):
    link = tmp_path / "link.toml"
    link.symlink_to(config)
    assert load(link).mode == "observe"

    os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(ConfigError, match=f"{link} is a link of uid {NOBODY}; put a file of root's in its place"):
        load(link)
    os.chown(link, 0, 0, follow_symlinks=False)
    give(config)
    with pytest.raises(ConfigError, match=f"{config} belongs to uid {NOBODY}"):
        load(link)


def test_link_loop_and_fifo_and_huge_file_are_refused_at_once(config):
    extra = config.parent / "conf.d" / "20-odd.toml"
    extra.symlink_to(extra)
    with pytest.raises(OSError, match="too many links"):
        ownership.writable_by_others(extra)
    extra.unlink()
    os.mkfifo(extra, 0o600)
    with pytest.raises(ConfigError, match=r"20-odd\.toml: cannot be read: it is no regular file"):
        load(config)
    extra.unlink()
    extra.write_bytes(b"#" * (ownership.MOST_BYTES + 1))
    with pytest.raises(ConfigError, match="is too large"):
        load(config)


@pytest.fixture
def as_nobody():
    """Return a function that makes a call with the rights of another user."""

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
def test_private_group_of_the_user_may_write_to_the_users_files(as_nobody):
    with tempfile.TemporaryDirectory() as above:
        Path(above).chmod(0o755)
        config = Path(above) / "certmedic.toml"
        config.write_text('mode = "observe"\n')
        give(config)
        config.chmod(0o664)

        assert as_nobody(lambda: load(config)).mode == "observe"
        os.chown(config, NOBODY, 1234)
        with pytest.raises(ConfigError, match="is writable by the group 1234"):
            as_nobody(lambda: load(config))


@as_root
def test_user_reads_files_of_root_and_of_the_user_but_of_no_third_user(as_nobody):
    with tempfile.TemporaryDirectory() as above:  # other users cannot enter the folders of pytest
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


@pytest.mark.slow
@as_root
def test_apprise_file_that_others_can_change_sends_nothing(config):
    apprise = config.parent / "apprise.yml"
    config.write_text(f'[notify]\napprise = ["{apprise}"]\n')
    with Hook() as received:
        apprise.write_text(f"urls:\n  - {received.url}\n")
        apprise.chmod(0o640)
        give(apprise)
        checked = certmedic("check-config", "--config", str(config))
        sent = certmedic("test-notify", "--config", str(config))
        assert received.messages == []

    expected = f"{apprise}: {apprise} belongs to uid {NOBODY}, not to root, {mend(apprise)}"
    assert (checked.returncode, expected in checked.stdout) == (1, True), checked.stdout
    assert (sent.returncode, expected in sent.stdout) == (1, True), sent.stdout


@pytest.mark.slow
def test_world_readable_apprise_file_gives_a_warning(config):
    apprise = config.parent / "apprise.yml"
    config.write_text(f'[notify]\napprise = ["{apprise}"]\n')
    apprise.write_text("urls:\n  - json://user:SECRET@127.0.0.1:9/\n")
    apprise.chmod(0o644)
    warned = certmedic("check-config", "--config", str(config))
    apprise.chmod(0o640)
    good = certmedic("check-config", "--config", str(config))

    assert f"warning: {apprise}: everybody may read this file" in warned.stdout
    assert "chmod 0640 it" in warned.stdout
    assert "SECRET" not in warned.stdout + warned.stderr
    assert "warning" not in good.stdout
    assert (warned.returncode, good.returncode) == (0, 0)


def test_missing_configuration_gives_the_defaults(monkeypatch, tmp_path):
    monkeypatch.setattr("certmedic.config.loader.DEFAULT_PATH", tmp_path / "none.toml")
    assert load() == Config()
