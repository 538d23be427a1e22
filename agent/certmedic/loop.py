"""The loop. The thread that runs it owns all state, waits for nobody, and feeds the watchdog.

    gather (the probe looks at the machine) -> one transaction (items, incidents, positions last) -> perform effects

    LogEntry -> parse -> Sighting -> gather -> Facts -> diagnose -> Diagnosis -> advance(incident) -> effects

`begin` takes items and due rechecks, and has the probe gather the facts that they need. `_finish` brings it through the pure core
in one transaction, in which nothing but the state is touched. Afterwards the hands perform actions and the courier sends
messages, each on its own thread; their results come back to the loop. Each later look is a row with a due time.
So a `kill -9` between any two lines of this file loses nothing and does nothing twice.

Lines of strangers go to `strangers` and nowhere else. A fault in one item is logged and counted, and the rest goes on.
"""

from __future__ import annotations

import logging
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from certmedic.apply import OF_THE_MACHINE, Applier
from certmedic.config import Config, terms_of
from certmedic.core import message, verify
from certmedic.core.incident import (
    LOOK_EVERY,
    Circumstances,
    Incident,
    Outcome,
    RecheckKind,
    advance,
    resolved,
)
from certmedic.core.model import Cause, Facts, Item, LogEntry, Progress, Recheck, Trust
from certmedic.deferred import Deferred
from certmedic.edge import worker
from certmedic.edge.store import Store, StoreError
from certmedic.findings import INVENTORY_EVERY, Findings
from certmedic.intake import DIAGNOSE_EVERY, Intake, Lines
from certmedic.perform import Performer
from certmedic.ports import World
from certmedic.readers import Readers
from certmedic.strangers import Strangers
from certmedic.tally import Seen, Tally
from certmedic.teller import DIGEST_EVERY, Teller
from certmedic.turn import Looked, Turn, Turns, incident_of, look, with_memory

TICK = 2.0  # seconds that the loop waits for the probe at most
IDLE = 10.0  # seconds that it waits for items at most
WORKING_TICK = 0.2  # the same while an action or a delivery is under way
LONGEST_TURN = timedelta(minutes=3)  # after a longer pause the machine was suspended, or its clock was set
# A longer look at the machine is given up; the turn goes on with older facts.
LONGEST_PROBE = timedelta(seconds=60)
LAST_ACT = 80.0  # seconds that a stop waits for an action that has begun; the unit's TimeoutStopSec= is longer

log = logging.getLogger(__name__)


class Loop:
    """The owner in the middle: all state passes through here, on one thread."""

    def __init__(  # noqa: PLR0913 - the parts that it wires, each with a name at the one call
        self,
        *,
        config: Config,
        store: Store,
        world: World,
        started_at: datetime,
        sources: Mapping[str, bool],
        workers: worker.Workers | None = None,
    ) -> None:
        self.store = store
        self.journal = Deferred(world.journal, store)
        self.world = world = replace(world, journal=self.journal)
        self.workers = workers or worker.inline()
        self.started_at = started_at
        terms = terms_of(config)
        self.terms = replace(terms, policy=replace(terms.policy, unable=world.unable))
        self.teller = Teller(
            config.mode, store, world, config.notify.route, config.notify.maintenance, zone=config.notify.zone
        )
        self.tally = Tally(store)
        self.performer = Performer(store, world, self.workers.hands)
        self.applier = Applier(store, self.teller, self.tally, self.performer, world.boot_id)
        self.findings = Findings(
            store,
            self.teller,
            self.applier,
            group_for=config.notify.group_for,
            warn_days=config.certificates.warn_days,
            of_plane=dict(config.certificates.plane),
            plan_ahead=self.terms.policy.plan_ahead,
        )
        self.readers = Readers(sources, store, world, started_at=started_at)
        self.strangers = Strangers(store)
        intake = Intake(self.tally, world.senses.is_own_probe, self._report)
        self.turns = Turns(store, self.tally, self.terms, self.applier.leases, intake)
        self.inventory: Facts | None = None  # the latest
        self.sightings = 0  # since the start
        self.faults: Counter[str] = Counter()  # kind of exception -> how many items ended by it
        self._to_judge: list[Seen] = []  # of this turn
        self._left: Sequence[Item] = ()  # for the next turn
        self._turn: Turn | None = None  # its look at the machine is under way
        self.facts: Facts | None = None  # the latest
        self._last = started_at  # of the last turn
        self._start(started_at)

    def _start(self, now: datetime) -> None:
        self.teller.catch_up(now, self.journal.transaction)
        with self.journal.transaction():
            self.store.clock_went_back(now, latest=now + INVENTORY_EVERY)  # it may have been wrong until this boot
            self.performer.take_up(now)
            for incident, why in self.readers.start():
                self.applier.apply(incident, resolved(incident, why, now), now)
            self._look_at_readers(now)
            self.store.recheck(RecheckKind.INVENTORY, None, now)

    # ------------------------------------------------------------ gather

    def step(self, items: Sequence[Item], now: datetime) -> None:
        """Take a whole turn, and wait for what it needs and does. Raises StoreError if the disk refuses."""
        self.begin(items, now)
        while self._turn is not None:
            self.hear(now, timeout=TICK)
        self.hear(now)

    def begin(self, items: Sequence[Item], now: datetime) -> None:
        """Begin a turn with what came in and what is due. Only if none is under way."""
        turn = self.turns.begin([*self._left, *items], now, self.facts)
        self._left = turn.taken.left
        if turn.request is None or self.workers.probe.busy:  # busy: the look that was given up still hangs
            self._finish(turn, now, None)
            return
        self._turn = turn
        self.workers.probe.begin(partial(look, turn.request, self.world.senses, self.world.lock))

    def hear(self, now: datetime, *, timeout: float = 0.0) -> None:
        """Take the results of the workers. Waits for the probe at most `timeout` seconds."""
        turn, probe = self._turn, self.workers.probe
        if turn is not None:
            answer = probe.result(timeout)
            while probe.busy and answer is not None and probe.result(timeout) is not None:
                continue  # only the end of the job is left
            late = now - turn.began > LONGEST_PROBE
            if answer is not None or late:
                self._turn = None
                if isinstance(answer, Exception):
                    self._report(answer, "the look at the machine")
                if late:
                    log.error("the look at the machine took more than %s and was given up", LONGEST_PROBE)
                self._finish(turn, now, answer if isinstance(answer, Looked) else None)
        elif probe.busy:
            probe.result(0)  # of a look that was given up
        # Deliveries first: a kill while an outcome is recorded must not repeat them.
        self.teller.hear(now, self.workers.courier, self.journal.transaction)
        while outcomes := list(self.performer.outcomes()):
            self._write_outcomes(outcomes, now)
            self.performer.begin()

    # ------------------------------------------------------------ one transaction

    def _finish(self, turn: Turn, now: datetime, looked: Looked | None) -> None:
        """Bring a turn through the core in one transaction, then have its effects performed."""
        looked = with_memory(looked or Looked(facts=None), self.store)
        if looked.facts is not None:
            self.facts = looked.facts
        facts = self.facts or Facts(at=now, host=self.world.host)  # older ones if the look was given up
        unseen = turn.request is not None and self.facts is None  # every file would seem to be gone
        self.world.notifier.refresh()  # these read files, so not within the transaction
        self.world.identity.refresh()
        with self.journal.transaction():
            self._mind_the_clock(now)
            for item in turn.taken.words:
                self._passes("an item", partial(self._take_word, item, now))
            for line in turn.taken.strangers:
                self._count(partial(self._take_stranger, line, now))
            for (fold, words, stream), lines in turn.taken.lines.items():
                self._count(partial(self._take_lines, fold, words, stream, lines, now))
            self._judge(facts, now)
            for recheck in turn.due:
                handle = partial(self.store.answer, recheck, partial(self._look_again, recheck, facts, looked, now))
                waits = unseen and recheck.kind not in (RecheckKind.BLIND, RecheckKind.DIGEST)
                if waits or not self._passes(f"the recheck {recheck.kind}", handle):
                    self.store.recheck(recheck.kind, recheck.incident, now + LOOK_EVERY)
            self.tally.write_counts()
            self.tally.write_lines(now)
            self.strangers.write(now)
            self.readers.settle(turn.taken.positions, now, at_once=turn.taken.has_lines)
        self.performer.begin()
        self.teller.deliver(now, self.workers.courier)

    def _mind_the_clock(self, now: datetime) -> None:
        """After the clock was set back, clamp stored times. After a suspension, extend the deadlines of verifications."""
        gap, self._last = now - self._last, now
        if gap < timedelta() or self.store.is_ahead(now):
            self.tally.forget()
            self.store.clock_went_back(now, latest=now + LOOK_EVERY)
        elif gap > LONGEST_TURN:
            self.store.not_looked(gap)

    def _count(self, work: Callable[[], None]) -> None:
        """Have lines counted, which needs no savepoint. A bad line never ends a turn."""
        try:
            work()
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - see above
            self._report(error, "a line")

    def _take_stranger(self, entry: LogEntry, now: datetime) -> None:
        if self.strangers.take(entry, now):
            self.journal.emit(message.strangers_fields())

    def _take_lines(self, fold: str, words: str, stream: str, lines: Lines, now: datetime) -> None:
        """Count those of some equal lines that no other trusted source has delivered."""
        times = lines.times
        if lines.entry.origin.trust is Trust.SYSTEM:
            times = self.tally.new_arrivals(words, stream, times)
        if not times:
            return
        self.sightings += times
        seen = self.tally.lines_of(fold) or self.tally.begin(fold, lines.report.sighting(lines.entry, lines.parts))
        seen.count(times, lines.first, lines.last)
        if now - seen.diagnosed_at >= DIAGNOSE_EVERY:
            seen.diagnosed_at = now
            self._to_judge.append(seen)

    def _take_word(self, item: Item, now: datetime) -> None:
        """Take a report of a source."""
        match item:
            case Recheck():  # files changed: take inventory at once, and see whether a person has cured an incident
                self.facts = None
                self.store.recheck_often(RecheckKind.INVENTORY, None, now)
                for incident in self.store.incidents(unresolved=True):
                    if verify.files_of(incident.diagnosis) and incident.announced_at is not None:
                        self.store.recheck_often(RecheckKind.INCIDENT, incident.id, now)
            case LogEntry() | Progress():
                pass
            case _:
                self.readers.take(item, now)
                self._look_at_readers(now)

    def _look_at_readers(self, now: datetime) -> None:
        for diagnosis in self.readers.look(now):
            self.findings.open(diagnosis, now)

    def _judge(self, facts: Facts, now: datetime) -> None:
        """Diagnose new lines in the transaction that moves the positions, so that a kill loses no line."""
        due, self._to_judge = self._to_judge, []
        for seen in due:
            self._passes("a line", partial(self.findings.judge, seen, facts, now))

    def _look_again(self, recheck: Recheck, facts: Facts, looked: Looked, now: datetime) -> None:
        kind = RecheckKind(recheck.kind)
        if kind in OF_THE_MACHINE or recheck.incident is None:
            self._look_at_machine(kind, facts, looked, now)
            return
        self.tally.write_counts()
        if (incident := incident_of(recheck, self.store)) is None:
            return
        seen = looked.for_verification if kind is RecheckKind.VERIFY else facts
        if seen is None:  # the look was given up
            self.store.recheck(kind, incident.id, now + LOOK_EVERY)
        else:
            around = self._circumstances(incident, looked, now)
            self.applier.apply(incident, advance(kind, incident, seen, around, now), now)

    def _circumstances(self, incident: Incident, looked: Looked, now: datetime) -> Circumstances:
        diagnosis, store = incident.diagnosis, self.store
        asked = self.applier.leases.pop(incident.id, None)
        return Circumstances(
            terms=self.terms,
            started_at=self.started_at,
            others=store.incidents(unresolved=True),
            acts=store.acts(),
            resuming=frozenset(self.performer.resuming),
            tripped=store.tripped(),
            approved=store.approved(incident.id, now=now),
            warned=self.findings.warned_of(incident),
            happened=store.happened(incident.id),
            told_of=store.announced_since(now - DIGEST_EVERY, diagnosis.severity),
            with_lease=self.world.lock is not None,
            lease=looked.leases.get(diagnosis.group) if asked is not None else None,
            reads_since=self.readers.reads_since(diagnosis.source) if diagnosis.cause is Cause.BLIND else None,
        )

    def _look_at_machine(self, kind: RecheckKind, facts: Facts, looked: Looked, now: datetime) -> None:
        if kind is RecheckKind.BLIND:
            self._look_at_readers(now)
        elif kind is RecheckKind.DIGEST:
            self.teller.digest(now)
        else:
            self.store.keep_certificates(facts.stored, now=now)
            self.inventory = facts = replace(facts, replaced=self.store.replaced())
            self.store.keep_members(looked.members or {})
            self.findings.take_inventory(facts, self._passes, now)

    def _write_outcomes(self, outcomes: Iterable[Outcome], now: datetime) -> None:
        for outcome in outcomes:
            with self.journal.transaction():
                self._passes("the outcome of an action", partial(self.applier.settle, outcome, now))

    def _passes(self, what: str, handle: Callable[[], None]) -> bool:
        """Handle one item within a savepoint. Returns False, after undoing that item alone, if it raised."""
        try:
            with self.store.savepoint():
                handle()
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - one bad item never ends a turn
            self._report(error, what)
            return False
        return True

    def _report(self, error: Exception, what: str) -> None:
        """Count a fault, and log the first of its kind with its traceback."""
        kind = type(error).__name__
        self.faults[kind] += 1
        if self.faults[kind] == 1:
            where = "".join(traceback.format_exception(error)[-2:])
            log.error("%s was passed over: %s. This is a fault of certmedic; please report it.\n%s", what, kind, where)

    def run(
        self, take: Callable[[float], Iterable[Item]], now: Callable[[], datetime], going: Callable[[], bool]
    ) -> None:
        """Take turns until `going()` is False. `take(seconds)` waits for items, for less if it is to go on; `now()` is the time of each turn."""
        while going():
            moment = now()
            if self._turn is not None:
                self.hear(moment, timeout=TICK)
                continue
            self.hear(moment)
            due = self.store.next_due()
            wait = IDLE if due is None else min(IDLE, max(0.0, (due - moment).total_seconds()))
            if self.performer.busy or self.workers.courier.busy:
                wait = min(wait, WORKING_TICK)
            items = list(take(wait)) if not self._left else []
            moment = now()
            idle = not items and not self._left and (due is None or due > moment)
            if idle and timedelta() <= moment - self._last <= LONGEST_TURN:
                self._last = moment
            else:
                self.begin(items, moment)
        for outcome in self.performer.last_outcomes(seconds=LAST_ACT):
            self._write_outcomes([outcome], now())
        with self.journal.transaction():
            self.readers.settle({}, now(), at_once=True)
