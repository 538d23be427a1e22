"""Moving an expired file aside for an old manager, on a real master with dockerd and etcd: it cures, or the file is put back."""

from labs.masters import OLD, kill, masters, until
from labs.namespaces import STORY
from labs.receivers import Hook
from labs.story import CONFIG, LIFE, certmedic, kinds, own

pytestmark = STORY


def test_old_manager_is_cured_by_moving_expired_files_aside():
    with masters(image=OLD) as lab, Hook(lab.listener()) as received:
        sick = lab.members["a"]
        lab.start_etcd(life=LIFE, keep_expired=True)
        before = sick.restarts()
        config = CONFIG.format(mode="remedy", url=received.url, group_for="2s") + "reissue = true\n"
        agent = sick.agent(config, log=lab.home / "a.log")
        try:
            resolved = until(lambda: any(i["state"] == "resolved" for i in own(sick)), seconds=120, every=1)
            assert resolved, (lab.home / "a.log").read_text()
            assert sick.restarts() != before
            assert until(lambda: kinds(sick) == ["opened", "resolved"], seconds=20)
            kept = sorted(
                path.name.rsplit("_", 1)[1].rsplit(".", 1)[0] for path in (sick.home / "actor/backups").iterdir()
            )
            assert kept == ["me.crt", "server.crt"]
        finally:
            kill(agent)


def test_files_moved_aside_in_vain_are_put_back():
    with masters(image=OLD) as lab, Hook(lab.listener()) as received:
        sick = lab.members["a"]
        lab.start_etcd(life=LIFE, keep_expired=True)
        config = (
            CONFIG.format(mode="remedy", url=received.url, group_for="2s").replace('"60s"', '"20s"')
            + "reissue = true\n"
        )
        assert until(lambda: all(member.starts() for member in lab.members.values()), seconds=60)
        before, mode = sick.me.read_bytes(), sick.me.stat().st_mode
        agent = sick.agent(config, log=lab.home / "a.log")
        # Remove the CA key of the manager, so that it fails to start. The agent's master has a separate copy.
        (lab.home / "authorities/etcd-peers-ca.key").unlink()
        try:
            ended = until(lambda: any(i["state"] == "escalated" for i in own(sick)), seconds=120, every=1)
            assert ended, (lab.home / "a.log").read_text()
            assert sick.me.read_bytes() == before
            assert sick.me.stat().st_mode == mode
            assert until(lambda: kinds(sick)[-1:] == ["escalated"], seconds=20)
            acts = certmedic(sick, "show", str(own(sick)[0]["id"]))["acts"]
            assert [act["state"] for act in acts] == ["failed"]
            assert "put back" in acts[0]["detail"]
        finally:
            kill(agent)
