"""A turn never waits for a worker, its transaction touches only the state, and a bad item undoes only itself."""

import itertools
import sqlite3
import threading
import time
from dataclasses import replace
from datetime import timedelta

import pytest

from certmedic import loop
from certmedic.core import symptoms
from certmedic.core.incident import Act, ActState, RecheckKind, advance
from certmedic.core.model import Action, RemedyKind, SourceUp
from certmedic.edge import worker
from certmedic.edge.store import StoreError
from certmedic.loop import Loop
from certmedic.turn import explains, renewing
from labs.played import REFUSED, REFUSING, Played, sick
from labs.values import DAY, NOW, entry, facts, member

pytestmark = pytest.mark.slow


class Outside(Played):
    """A simulated machine that fails if it is used within a transaction."""

    store = None

    def __getattribute__(self, name):
        outside = (
            "gather",
            "learn",
            "meet",
            "take",
            "release",
            "restart",
            "renew",
            "undo",
            "send_all",
            "emit",
            "refresh",
        )
        if name in outside and self.store is not None and self.store.in_transaction:
            raise AssertionError(f"{name} within the transaction")
        return super().__getattribute__(name)


def test_own_failure_that_no_file_explains_needs_newer_facts():
    """The certificate may have expired in the second since the facts were gathered."""
    line = "Part of the existing bootstrap client certificate is expired: 2026-11-23 15:40:00 +0000 UTC"
    own, refused = symptoms.parse(entry(line)), symptoms.parse(entry(REFUSED))
    assert own is not None
    assert refused is not None
    assert not explains(facts(member(peer_ends=NOW + DAY)), own)
    assert explains(facts(member(peer_ends=NOW - DAY)), refused)


def test_what_a_renewal_under_way_replaces_is_known_before_the_inventory():
    target = Action(kind=RemedyKind.RENEW, container=None, watched=(("/pki/a.crt", NOW),), ports=())
    act = Act(
        id=1,
        incident=1,
        target="kubeadm",
        action=target,
        state=ActState.INTENT,
        boot_id="b",
        at=NOW + timedelta(seconds=9),
        ended_at=None,
        detail="",
        undo=(),
    )
    (old,) = renewing([act, replace(act, action=replace(target, kind=RemedyKind.RESTART))])
    assert (old.path, old.not_after, old.at) == ("/pki/a.crt", NOW, act.at)


@pytest.mark.parametrize("lease", ["", "ours"])
def test_transaction_touches_nothing_outside_the_state(lab, lease):
    lab = lab(world=Outside(files=sick(), lease=lease))
    lab.world.store = lab.store
    lab.suffer(40)
    assert lab.world.kinds() == ["opened", "resolved"]
    assert lab.loop.faults == {}


@pytest.mark.parametrize(
    ("files", "line", "asks"), [(member(), REFUSING, True), (sick(), REFUSED, True), (member(), REFUSED, False)]
)
def test_members_are_asked_whether_an_accused_one_lives_or_shares_a_fault(lab, files, line, asks):
    class Asked(Played):
        def gather(self, *, now, with_members=False, nameless=False):
            asked.add(with_members)
            return super().gather(now=now, with_members=with_members, nameless=nameless)

    asked = set()
    lab = lab(world=Asked(files=files), mode="notify")
    lab.step(line)
    lab.go(35)
    assert (True in asked) is asks


def test_journal_entry_of_a_failed_transaction_is_dropped(lab):
    lab = lab(sick())

    def killed():
        with lab.loop.journal.transaction():
            lab.loop.journal.emit({"MESSAGE": "no"})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed()
    with lab.loop.journal.transaction():
        lab.loop.journal.emit({"MESSAGE": "yes"})
        assert {"MESSAGE": "yes"} not in lab.world.journal
    assert [fields["MESSAGE"] for fields in lab.world.journal if fields["MESSAGE"] in ("yes", "no")] == ["yes"]


def test_bad_item_is_logged_once_and_undone_alone(lab, caplog, monkeypatch):
    lab = lab(sick(), mode="notify")
    lab.step()
    take = lab.loop._take_word

    def broken(item, now):
        if item.source == "broken":
            lab.store.event(1, "half", "written", now=now)
            raise OverflowError("date value out of range")
        take(item, now)

    monkeypatch.setattr(lab.loop, "_take_word", broken)
    for second in range(3):
        lab.loop.step(
            [SourceUp(source="broken"), entry(REFUSED.format(40000 + second))], NOW + timedelta(seconds=second + 2)
        )

    assert lab.loop.faults == {"OverflowError": 3}
    assert sum("OverflowError" in record.getMessage() for record in caplog.records) == 1
    assert lab.incidents()[0].count == 3
    assert not any(event["what"] == "half" for event in lab.store.events(1))  # the savepoint undid its event


def test_bad_line_is_logged_once_and_other_lines_count(lab, caplog, monkeypatch):
    lab = lab(sick(), mode="notify")
    new_arrivals = lab.loop.tally.new_arrivals

    def broken(words, *more):
        if "broken" in words:
            raise ValueError("no such line")
        return new_arrivals(words, *more)

    monkeypatch.setattr(lab.loop.tally, "new_arrivals", broken)
    lab.step(REFUSED.replace("etcd-a", "broken"), REFUSED, REFUSED.replace("etcd-a", "also broken"), REFUSED)

    assert lab.loop.faults == {"ValueError": 2}
    assert sum("ValueError" in record.getMessage() for record in caplog.records) == 1
    assert lab.incidents()[0].count == 2


def test_failed_recheck_is_retried(lab, monkeypatch):
    lab = lab(sick(), mode="notify")
    lab.step()
    failed = []

    def broken(kind, incident, *given):
        if not failed:
            failed.append(kind)
            raise RuntimeError("once")
        return advance(kind, incident, *given)

    monkeypatch.setattr(loop, "advance", broken)
    lab.go(30)
    assert failed == [RecheckKind.ANNOUNCE]
    assert lab.world.kinds() == ["opened"]


def test_full_disk_ends_the_service(lab, monkeypatch):
    lab = lab(sick())

    def full(*_, **__):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(lab.store, "open_incident", full)
    with pytest.raises(StoreError, match="full"):
        lab.step(REFUSED)


class Hanging(Played):
    """A simulated machine whose probe, delivery or restart hangs until `go_on` is set."""

    def __init__(self, what, **played):
        super().__init__(**played)
        self.what, self.go_on = what, threading.Event()

    def gather(self, **asked):
        if self.what == "gather":
            self.go_on.wait(60)
        return super().gather(**{**asked, "now": NOW})

    def send_all(self, batch):
        if self.what == "send_all":
            self.go_on.wait(60)
        return super().send_all(batch)

    def restart(self, target):
        if self.what == "restart":
            self.go_on.wait(60)
        return super().restart(target)


@pytest.mark.parametrize("what", ["gather", "send_all", "restart"])
def test_loop_keeps_turning_while_a_worker_hangs(tmp_path, lab, what):
    made = lab(world=Hanging(what, files=sick()))
    running = Loop(
        config=made.config,
        store=made.store,
        world=made.loop.world,
        started_at=NOW,
        sources=made.sources,
        workers=worker.threads(),
    )
    turns, began = [], time.monotonic()

    def going():
        turns.append(time.monotonic())
        return time.monotonic() - began < 6

    def take(seconds):
        time.sleep(min(seconds, 0.1))
        return [entry(REFUSED.format(40000 + len(turns) % 1000), at=NOW + timedelta(seconds=len(turns) / 10))]

    def now():
        return NOW + timedelta(seconds=time.monotonic() - began)

    timer = threading.Timer(5, made.world.go_on.set)
    timer.start()
    running.run(take, now, going)
    timer.join()
    gaps = [after - before for before, after in itertools.pairwise(turns)]
    assert max(gaps) < 4  # each turn feeds the watchdog


def test_probe_that_takes_too_long_is_abandoned_and_the_turn_completes(lab):
    made = lab(world=Hanging("gather", files=member()))
    running = Loop(
        config=made.config,
        store=made.store,
        world=made.loop.world,
        started_at=NOW,
        sources=made.sources,
        workers=worker.threads(),
    )
    running.begin([entry(REFUSED.format(40001))], NOW)
    running.hear(NOW + timedelta(seconds=30))
    assert made.store.positions() == {}
    running.hear(NOW + timedelta(seconds=61))
    assert made.store.positions() == {"journal": "1"}  # judged by the known facts, and not read again
    made.world.go_on.set()


def test_worker_runs_a_call_on_the_owners_thread_and_waits():
    hands, written = worker.Thread("hands"), []

    def job():
        hands.on_owner(lambda: written.append(threading.get_ident()))
        yield "done"

    hands.begin(job)
    deadline, result = time.monotonic() + 10, None
    while result is None and time.monotonic() < deadline:
        result = hands.result(0.1)
    assert result == "done"
    assert written == [threading.get_ident()]
    assert hands.result(1) is None
    assert not hands.busy


def test_exception_of_a_job_is_its_result():
    hands = worker.Thread("hands")

    def job():
        yield 1 / 0

    hands.begin(job)
    assert isinstance(hands.result(5), ZeroDivisionError)
