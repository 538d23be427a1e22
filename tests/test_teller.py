"""Each message reaches its receiver once, despite kills and outages; with the real service and real receivers."""

import re
import signal
from collections import Counter
from pathlib import Path

import pytest

from certmedic.config import load
from certmedic.core.incident.life import MOST_AT_ONCE
from certmedic.core.model import Route
from certmedic.edge.notify import AppriseNotifier
from labs import receivers
from labs.played import REFUSED, REFUSING, Reached, sick
from labs.values import DAY, NOW, PEERS_CA, VOLUME, member, stored
from labs.waiting import until

pytestmark = pytest.mark.slow

SECRET = "S3cr3tT0kenThatNobodyMaySee"
TAGS = {"critical": "oncall", "warning": "team", "info": "team"}


def test_each_message_is_sent_once_despite_restarts_and_kills(service, hook):
    service = service(f"json://127.0.0.1:{hook.port}/")
    service.certificate()
    service.start()
    until(lambda: service.deliveries() == [("opened", "sent")])
    for _ in range(3):
        service.kill()
        service.start()
        service.turns_for(1.5)
    service.process.terminate()
    # SIGTERM ends Python itself if the service has not installed its handler yet.
    assert service.process.wait(30) in (0, -signal.SIGTERM)
    service.start()
    service.certificate(DAY * 300)
    until(lambda: service.deliveries() == [("opened", "sent"), ("resolved", "sent")])
    service.kill()
    service.start()
    service.turns_for(3)

    assert hook.kinds == ["opened", "resolved"]


def test_kill_between_send_and_record_repeats_only_that_message(service, hook):
    service = service(f"json://127.0.0.1:{hook.port}/")
    answer, killed = hook.answer, []

    def answer_a_dead_one(handler):
        if not killed:
            service.process.send_signal(signal.SIGKILL)
            killed.append(service.process.wait())
        answer(handler)

    hook.answer = answer_a_dead_one
    service.certificate()
    service.start()
    until(lambda: killed)
    assert service.deliveries() == [("opened", "pending")]

    service.start()
    until(lambda: service.deliveries() == [("opened", "sent")])
    service.certificate(DAY * 300)
    until(lambda: service.deliveries() == [("opened", "sent"), ("resolved", "sent")])

    assert killed == [-signal.SIGKILL]
    assert hook.kinds == ["opened", "opened", "resolved"]
    assert hook.messages[0] == hook.messages[1]


def test_secret_is_in_no_output_file_or_request(service, hook, tmp_path):
    hook.mood = "500"
    dead = receivers.free_port()
    urls = [f"json://u:{SECRET}@127.0.0.1:{hook.port}/{SECRET}", f"json://127.0.0.1:{dead}/{SECRET}", f"no://{SECRET}"]
    service = service(
        *urls, notify=f'wall = false\nheartbeat = "http://127.0.0.1:{dead}/{SECRET}"\nheartbeat_every = "1m"'
    )
    service.certificate()
    service.start()
    until(lambda: len(hook.requests) >= 2)  # the delivery is retried
    until(lambda: "heartbeat is refused" in service.log)
    argv = Path(f"/proc/{service.process.pid}/cmdline").read_bytes()
    outputs = [
        service.ask("test-notify", code=1),
        service.ask("check-config", code=1),
        service.ask("status"),
        service.ask("status", "--json"),
        service.ask("show", "1"),
        service.ask("show", "1", "--json"),
    ]
    service.kill()

    everything = service.log + argv.decode() + "".join(outputs)
    assert "some channels do not work" in everything
    assert "HTTP 500" in outputs[2]
    assert SECRET not in everything
    files = [path for path in service.state.parent.rglob("*") if path.is_file()]
    assert service.state in files
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
    assert not [body for _, _, body in hook.requests if SECRET.encode() in body]


# ---------------------------------------------------------------- hours in seconds, with real receivers


def test_messages_of_a_day_without_network_arrive_once_and_in_order(lab, hook):
    hook.mood = "reset"
    lab = lab(world=Reached(f"json://127.0.0.1:{hook.port}/", files=sick()), mode="notify")
    lab.step(REFUSED)
    for turn in range(20 * 12):  # the peer fails for seven hours, and is reported at the reminder
        lab.step(*([REFUSING] if turn < 7 * 12 else []), seconds=300)
    assert hook.requests  # deliveries were tried, and none succeeded
    tries = len(hook.requests)
    assert tries < 400  # fewer than one a minute

    hook.mood, hook.requests = "ok", []
    for _ in range(20):
        lab.step(seconds=60)
    delivered = [(message["title"], kind) for message, kind in zip(hook.messages, hook.kinds, strict=True)]
    mine = [kind for title, kind in delivered if "etcd main" in title]
    neighbours = [kind for title, kind in delivered if "10.0.0.2" in title]
    assert mine == ["opened", "reminder"]  # only the latest of three reminders
    assert neighbours == ["opened", "resolved"]

    lab.world.files = member()
    for _ in range(20):
        lab.step(seconds=60)
    assert hook.kinds[len(delivered) :] == ["resolved"]
    assert Counter(m["state"] for m in lab.store.messages()) == {"sent": 5, "superseded": 2}
    assert lab.store.channels()[0]["waiting"] == 0


def test_end_of_an_incident_is_not_sent_to_a_channel_that_missed_its_opening(lab, hook):
    dead = receivers.free_port()
    lab = lab(world=Reached(f"json://127.0.0.1:{dead}/", f"json://127.0.0.1:{hook.port}/", files=sick()), mode="notify")
    lab.step(REFUSED)
    for _ in range(30 * 6):
        lab.step(seconds=600)
    (expired,) = [m for m in lab.store.messages() if m["state"] == "expired" and m["kind"] == "opened"]
    assert expired["attempts"] > 50
    assert expired["error"]
    assert any(event["what"] == "given up" and str(dead) in event["said"] for event in lab.store.events(1))
    assert [f for f in lab.world.journal if f["CERTMEDIC_EVENT"] == "undelivered" and str(dead) in f["MESSAGE"]]

    lab.world.files = member()
    for _ in range(20):
        lab.step(seconds=60)
    ends = {m["label"]: m["state"] for m in lab.store.messages() if m["kind"] == "resolved"}
    (label,) = ends
    assert str(hook.port) in label
    assert (hook.kinds[0], hook.kinds[-1]) == ("opened", "resolved")
    assert set(hook.kinds[1:-1]) == {"reminder"}


def test_slow_channel_delays_no_other_channel(lab, hook, other_hook):
    hook.mood = "slow"
    urls = [f"json://127.0.0.1:{hook.port}/?rto=1&cto=1", f"json://127.0.0.1:{other_hook.port}/"]
    lab = lab(world=Reached(*urls, files=sick()), mode="notify")
    lab.step(REFUSED)
    for _ in range(4):
        lab.step()
    assert other_hook.kinds == ["opened"]
    assert {m["label"].split(" ")[0]: m["state"] for m in lab.store.messages()} == {
        f"json://127.0.0.1:{hook.port}": "pending",
        f"json://127.0.0.1:{other_hook.port}": "sent",
    }


def test_hundred_expired_files_and_hundred_callers_give_one_message(lab, hook):
    many = tuple(
        stored(PEERS_CA.leaf(f"etcd-{n}", not_before=NOW - 400 * DAY, not_after=NOW - DAY), f"{VOLUME}/peers/{n}.crt")
        for n in range(100)
    )
    lab = lab(
        world=Reached(f"json://127.0.0.1:{hook.port}/", files=(*member(peer_ends=NOW - DAY), *many)), mode="notify"
    )
    for second in range(60):
        lab.step(*[REFUSED.replace("10.0.0.2", f"10.0.1.{n}") for n in range(second, second + 20)])
        lab.step(*[REFUSING.replace("10.0.0.2", f"10.0.1.{n}") for n in range(second, second + 20)], seconds=0)

    assert hook.kinds == ["opened"]  # callers that are not members send no message
    assert len(lab.incidents()) == 2
    (mine,) = [m for m in hook.messages if "etcd main" in m["title"]]
    assert "and 99 more" in mine["message"]
    assert len(mine["title"]) + len(mine["message"]) < 2000


def test_hundred_incidents_give_two_messages_and_one_digest_despite_a_kill(lab, hook):
    groups = [f"g{n}" for n in range(100)]
    leaf = PEERS_CA.leaf("etcd-a", not_before=NOW - 400 * DAY, not_after=NOW - DAY)
    files = tuple(stored(leaf, f"/mnt/{group}/me.crt", group=group) for group in groups)
    lab = lab(world=Reached(f"json://127.0.0.1:{hook.port}/", files=files), mode="notify")
    for second in range(90):
        lab.step()
        if second == 5:
            lab.kill()

    assert len(lab.incidents()) == 100
    counts = Counter(message["title"] for message in hook.messages)
    assert set(counts.values()) == {1}
    assert len(counts) == MOST_AT_ONCE + 1
    assert "[CRITICAL] master-a: 98 more incidents, not reported one by one" in counts


# ---------------------------------------------------------------- routes


def test_routes_select_by_severity_cause_plane_and_event(lab, tmp_path):
    hooks = {name: receivers.Hook() for name in ("oncall", "team", "etcd", "archive")}
    config = tmp_path / "apprise.conf"
    config.write_text("".join(f"{name}=json://127.0.0.1:{hook.port}/\n" for name, hook in hooks.items()))
    world = Reached(files=sick())
    world.way = AppriseNotifier([str(config)], TAGS)
    routes = (
        Route(tag="archive", event="resolved"),
        Route(tag="etcd", severity="warning", cause="expired"),
        Route(tag="team", plane="kubeadm"),
    )
    lab = lab(world=world, notify={"route": routes})
    try:
        for _ in range(5):
            lab.step(REFUSED)
        lab.go(30)
        for _ in range(24):
            lab.step(REFUSING, seconds=30)
        assert {name: hook.kinds for name, hook in hooks.items()} == {
            "oncall": [],
            "archive": ["resolved"],
            "etcd": ["opened", "resolved", "opened"],
            "team": [],
        }
    finally:
        for hook in hooks.values():
            hook.close()


def test_test_notify_tries_one_tag_and_reports_faulty_channels(service, hook, other_hook):
    service = service(
        f"oncall=json://127.0.0.1:{hook.port}/", f"team=json://127.0.0.1:{other_hook.port}/", "bogus://nothing"
    )
    reply = service.ask("test-notify", "--tag", "team", code=1)
    assert (len(hook.requests), len(other_hook.requests)) == (0, 1)
    assert "apprise.conf: " in reply
    assert "no channel carries the tag 'nobody'" in service.ask("test-notify", "--tag", "nobody", code=1)
    service.more = '[[notify.route]]\ncause = "expired"\ntag = "etdc"'
    service.configure(f"oncall=json://127.0.0.1:{hook.port}/")
    assert "notify.route: no channel carries the tag 'etdc'" in service.ask("check-config", code=1)
    service.more = ""
    service.configure(f"oncall=json://127.0.0.1:{hook.port}/")
    assert "sent" in service.ask("test-notify")
    assert "good: " in service.ask("check-config")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('[[notify.route]]\nsverity = "critical"\ntag = "x"', "route 1: sverity: no such key; did you mean severity?"),
        ('[[notify.route]]\nseverity = "info"\ntag = "x"', "found 'info'; allowed: critical, warning"),
        (
            '[[notify.route]]\nevent = "acted"\ntag = "x"',
            "found 'acted'; allowed: opened, resolved, escalated, reminder",
        ),
        ('[[notify.route]]\ncause = "expired"', "route 1: tag: allowed: one word"),
        ('[notify]\nroute = ["x"]', "tables, each begun by [[notify.route]]"),
        ('[notify]\nheartbeat_every = "10s"', 'allowed: "1m" or longer'),
        ('[notify]\nremind_every = "0s"', 'allowed: "1m" or longer'),
        (
            '[notify]\nmaintenance = ["Sunday night"]',
            "notify.maintenance: found ['Sunday night']; allowed: days, hours",
        ),
        ('[notify]\nmaintenance = "Sun 02:00-04:00 UTC"', "allowed: a list of"),
        ('[metrics]\ntextfile = "/x/y.txt"', "ends in .prom"),
        ('[metrics]\ntextfil = "/x/y.prom"', "did you mean metrics.textfile?"),
        *(
            (f"[metrics]\nlisten = {value}", "metrics.listen")
            for value in ("0", "65536", "true", '":9793"', '"x:1"', '"1.2.3:9"')
        ),
    ],
)
def test_invalid_route_or_metrics_key_is_refused_with_the_allowed_values(tmp_path, text, error):
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(Exception, match=re.escape(error)):
        load(path)
