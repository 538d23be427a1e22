"""The loop. The thread that runs it owns all state, waits for nobody, and feeds the watchdog.

    gather (a worker looks at the machine) -> one transaction (items, due rechecks, positions last) -> perform effects

    LogEntry -> parse -> Sighting -> gather -> Facts -> diagnose -> Diagnosis -> decide -> Decision -> intent, outbox -> settle

`begin` takes what came in and what is due, and has the probe look at what that needs. `finish` brings it through the pure core
inside one transaction, in which nothing but the state is touched. Afterwards the hands do intents and the courier sends
messages, each on a thread of its own; what becomes of them comes back to the loop. Whatever must be looked at again is a row
with a due time. So a `kill -9` between any two lines of this file loses nothing and does nothing twice.

Lines of strangers go to `strangers` and nowhere else. A fault in one item is logged and counted, and the rest goes on.
"""

from __future__ import annotations

import logging
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from certmedic.config import Config, policy_of
from certmedic.core import diagnose as doctor
from certmedic.core import message, symptoms, verdict, verify
from certmedic.core.decision import FRESH_FOR, History, decide, troubled
from certmedic.core.model import (
    Cause,
    Confidence,
    Decision,
    Diagnosis,
    Facts,
    Fold,
    Item,
    LogEntry,
    MessageKind,
    Progress,
    Recheck,
    Severity,
    Sighting,
    SourceDown,
    SourceStatus,
    SourceUp,
    Suspect,
    Trust,
)
from certmedic.cures import UNDER_WAY, Cures
from certmedic.edge import worker
from certmedic.edge.store import Act, Incident, Store, StoreError
from certmedic.readers import Readers
from certmedic.strangers import Strangers
from certmedic.tally import Seen, Tally
from certmedic.teller import Teller, World
from certmedic.turn import Deferred, Looked, Request, Turn, look

WORKING_TICK = 0.2  # the same, while an act or a delivery is under way
TICK = 1.0  # seconds that the loop waits at most: the watchdog, a stop and a new recheck are seen by then
DIAGNOSE_EVERY = timedelta(seconds=30)  # equal lines are judged anew no more often than this
LOOK_EVERY = timedelta(seconds=15)  # at an incident that can be verified by looking at files
QUIET_LOOK_EVERY = timedelta(minutes=1)
QUIET_FOR = timedelta(minutes=15)  # an incident that cannot be verified here ends when nothing more is seen
INVENTORY_EVERY = timedelta(minutes=10)
FACTS_FOR = timedelta(seconds=2)  # looked-up facts serve all sightings of one moment
# Kinds of lines in one turn: strangers can write as many kinds as they like, and what comes after waits.
JUDGED_AT_ONCE = 64
LONGEST_TURN = timedelta(minutes=3)  # without one the machine slept, or the clock was set
MOST_OPEN = 8  # incidents of one cause that people are told of at a time
MOST_AN_HOUR = 12  # incidents of one severity that people are told of
DIGEST_AFTER = timedelta(minutes=1)
DIGEST_EVERY = timedelta(hours=1)
HELD_BACK = "held back"  # the event of an incident that people are not told of for now
LONGEST_PROBE = timedelta(
    seconds=60
)  # a look at the machine that takes longer is given up; what was known before counts
LAST_ACT = 80.0  # seconds that a stop waits for an act that has begun; the unit's TimeoutStopSec= is longer

log = logging.getLogger(__name__)


class Watcher:
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
        self.config = config
        self.store = store
        self.journal = Deferred(world.journal, store)
        self.world = world = replace(world, journal=self.journal)
        self.workers = workers or worker.inline()
        self.started_at = started_at
        self.policy = policy_of(config)
        self.teller = Teller(config.mode, store, world, config.notify.route, config.notify.maintenance)
        self.cures = Cures(
            store,
            world,
            self.teller,
            self.workers.hands,
            verify_for=config.remedy.verify_for,
            resolve=self._resolve,
            judge_anew=self._judge_anew,
            closed_by_now=self._closed_by_now,
        )
        self.readers = Readers(sources, store, world, started_at=started_at, begin=self._open, end=self._resolve)
        self.strangers = Strangers(store)
        self.inventory: Facts | None = None  # the latest
        self.sightings = 0  # since the start
        self.faults: Counter[str] = Counter()  # kind of exception -> how many items ended by it
        self._memo = symptoms.ParseCache()
        self._tally = Tally(store)
        self._to_judge: list[Seen] = []  # of this turn
        self._left: list[Item] = []  # what came in and is for the next turn
        self._turn: Turn | None = None  # whose look at the machine is under way
        self._facts: Facts | None = None  # the latest
        self._looked = Looked(facts=None)  # of this turn
        self._lease_for: dict[int, str] = {}  # incident that may be acted on -> etcd group whose lease it needs
        self._last = started_at  # when the last turn was
        self._begin(started_at)

    def _begin(self, now: datetime) -> None:
        with self._transaction():
            self.store.clock_went_back(now, latest=now + INVENTORY_EVERY)  # as where it was wrong until this boot
            self.cures.begin(now)
            self.readers.start(now)
            self.store.recheck("inventory", None, now)

    # ------------------------------------------------------------ one turn

    def step(self, items: Sequence[Item], now: datetime) -> None:
        """Take a whole turn, and wait for what it needs and does. Raises StoreError where the disk refuses."""
        self.begin(items, now)
        while self._turn is not None:
            self.hear(now, timeout=TICK)
        self.hear(now)

    def begin(self, items: Sequence[Item], now: datetime) -> None:
        """Begin a turn with what came in and what is due. Only if none is under way."""
        turn = self._turn_of([*self._left, *items], now)
        request = turn.request
        known = request is None or (request.plain and self._is_fresh(now) and self._explains(turn))
        if request is None or known or self.workers.probe.busy:  # busy: it still hangs in what was given up
            self._finish(turn, now, None)
            return
        self._turn = turn
        self.workers.probe.begin(partial(look, request, self.world.senses, self.world.lock))

    def hear(self, now: datetime, *, timeout: float = 0.0) -> None:
        """Go on with what the workers have come to; waits for the probe at most `timeout` seconds."""
        turn = self._turn
        if turn is not None:
            found = self.workers.probe.result(timeout)
            while self.workers.probe.busy and found is not None and self.workers.probe.result(timeout) is not None:
                continue  # only the end of the job is left
            late = now - turn.began > LONGEST_PROBE
            if found is not None or late:
                self._turn = None
                if isinstance(found, Exception):
                    self._report(found, "the look at the machine")
                if late:
                    log.error("the look at the machine took more than %s and was given up", LONGEST_PROBE)
                self._finish(turn, now, found if isinstance(found, Looked) else None)
        elif self.workers.probe.busy:
            self.workers.probe.result(0)  # of a look that was given up
        # Deliveries first: a kill while an act is written down must not have them sent twice.
        self.teller.hear(now, self.workers.courier, self._transaction)
        self.cures.hear(now, self._transaction)

    def _turn_of(self, waiting: Sequence[Item], now: datetime) -> Turn:
        """Read the lines of a turn, and find out what it needs to know of the machine."""
        items: list[tuple[Item, Sighting | None]] = []
        new: dict[str, Sighting] = {}
        for item in waiting:
            if len(new) >= JUDGED_AT_ONCE:
                break
            sighting = None
            if isinstance(item, LogEntry) and item.origin.trust is not Trust.STRANGER:
                sighting = self._memo.parse(item)
                if sighting is not None and self._tally.is_due(sighting, now - DIAGNOSE_EVERY):
                    new[sighting.fold] = sighting
            items.append((item, sighting))
        self._left = list(waiting[len(items) :])
        due = self.store.due(now=now)
        return Turn(items=items, due=due, request=self._request(list(new.values()), due, now), began=now)

    def _request(self, new: Sequence[Sighting], due: Sequence[Recheck], now: datetime) -> Request | None:
        kinds = {recheck.kind for recheck in due}
        looked_at = [
            incident
            for recheck in due
            if recheck.incident is not None and recheck.kind in ("announce", "incident", "resume")
            if (incident := self.store.incident(recheck.incident)) is not None and incident.state != "resolved"
        ]
        if not (new or looked_at or kinds & {"inventory", "verify"}):
            return None
        acting = self.config.mode in ("approve", "remedy")
        return Request(
            at=now,
            looks=bool(looked_at) or "inventory" in kinds,
            learn=tuple(dict.fromkeys(one.entry.origin for one in new if one.entry.origin.trust is Trust.SYSTEM)),
            with_members=any(self._may_act_on(incident.diagnosis) for incident in looked_at),
            verifies="verify" in kinds,
            known_members=self.store.members() if acting and "inventory" in kinds else None,
            leases=frozenset(
                group for incident in looked_at if (group := self._lease_for.get(incident.id)) is not None
            ),
        )

    def _is_fresh(self, now: datetime) -> bool:
        return self._facts is not None and timedelta() <= now - self._facts.at < FACTS_FOR

    def _explains(self, turn: Turn) -> bool:
        """Whether the facts of a moment ago explain each new line. A file may have come since, with a volume that was just mounted."""
        facts = self._facts
        for _, sighting in turn.items:
            if sighting is not None and facts is not None and self._tally.is_new(sighting):
                time = sighting.entry.time
                diagnosis = doctor.diagnose(Fold(sighting=sighting, count=1, first_seen=time, last_seen=time), facts)
                if diagnosis is not None and diagnosis.cause is Cause.UNEXPLAINED:
                    return False
        return True

    def _finish(self, turn: Turn, now: datetime, looked: Looked | None) -> None:
        """Bring a turn through the core in one transaction, then have its effects performed."""
        self._looked = looked or Looked(facts=None)
        if self._looked.facts is not None:
            self._facts = self._looked.facts
        positions: dict[str, str | None] = {}
        self.world.notifier.refresh()  # its files are read here, and not within the transaction
        with self._transaction():
            self._mind_the_clock(now)
            for item, sighting in turn.items:
                self._passes("an item", partial(self._take, item, sighting, now))
                if isinstance(item, LogEntry | Progress):
                    positions[item.stream] = item.position
            self._judge(now)
            for recheck in turn.due:
                if not self._passes(f"the recheck {recheck.kind}", partial(self._look_again, recheck, now)):
                    self.store.recheck(recheck.kind, recheck.incident, now + LOOK_EVERY)
            self._tally.write_counts()
            self._tally.write_lines(now)
            self.strangers.write()
            self.store.settle(positions)
        self.cures.act(now)
        self.teller.deliver(now, self.workers.courier)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """A transaction; what it had to say to the journal is written once it is on the disk."""
        try:
            with self.store.transaction():
                yield
        except BaseException:
            self.journal.drop()
            raise
        self.journal.flush()

    def _passes(self, what: str, handle: Callable[[], None]) -> bool:
        """Handle one item, so that a fault in it ends that item alone; whether there was none. Within a transaction."""
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
        """Count a fault, and log the first of its kind with its place."""
        kind = type(error).__name__
        self.faults[kind] += 1
        if self.faults[kind] == 1:
            where = "".join(traceback.format_exception(error)[-2:])
            log.error("%s was passed over: %s. This is a fault of certmedic; please report it.\n%s", what, kind, where)

    def _mind_the_clock(self, now: datetime) -> None:
        """Have a clock that was set, or a machine that slept, neither stop what is due nor cut short what a cure may take."""
        gap, self._last = now - self._last, now
        if gap < timedelta() or self.store.is_ahead(now):
            self._tally.forget()
            self.store.clock_went_back(now, latest=now + LOOK_EVERY)
        elif gap > LONGEST_TURN:
            self.store.not_looked(gap)

    def _take(self, item: Item, sighting: Sighting | None, now: datetime) -> None:
        match item:
            case LogEntry() if item.origin.trust is Trust.STRANGER:
                if self.strangers.take(item, now):
                    self.world.journal.emit(message.strangers_fields())
            case LogEntry():
                if sighting is not None and not self._is_echo(sighting):
                    self.sightings += 1
                    self._see(sighting, now)
            case SourceDown() | SourceUp() | SourceStatus():
                self.readers.take(item, now)
            case Recheck():
                self._look_now(now)
            case Progress():
                pass

    def _look_now(self, now: datetime) -> None:
        """Files changed: take inventory at once, and look whether a person has just cured something."""
        self._facts = None
        self.store.recheck("inventory", None, now)
        for incident in self.store.incidents(unresolved=True):
            if verify.files_of(incident.diagnosis) and incident.announced_at is not None:
                self.store.recheck("incident", incident.id, now)

    def _is_echo(self, sighting: Sighting) -> bool:
        """Whether a line is our own probe's doing, or came in already by another source of trusted lines."""
        if self.world.senses.is_own_probe(sighting.fields.get("remote_addr", "")):
            return True
        return sighting.entry.origin.trust is Trust.SYSTEM and self._tally.is_echo(sighting)

    # ------------------------------------------------------------ seeing

    def _see(self, sighting: Sighting, now: datetime) -> None:
        seen = self._tally.count(sighting)
        if now - seen.diagnosed_at >= DIAGNOSE_EVERY:
            seen.diagnosed_at = now
            self._to_judge.append(seen)

    def _judge(self, now: datetime) -> None:
        """Diagnose what came in, in the transaction that moves the positions: a kill loses no line that was read."""
        due, self._to_judge = self._to_judge, []
        for seen in due:
            self._passes("a line", partial(self._judge_one, seen, now))

    def _judge_one(self, seen: Seen, now: datetime) -> None:
        fold = Fold(sighting=seen.sighting, count=seen.total, first_seen=seen.first, last_seen=seen.last)
        diagnosis = doctor.diagnose(fold, self._known(now))
        if diagnosis is not None and self.cures.accounts_for(diagnosis):
            diagnosis = None
        seen.incident = self._open(diagnosis, now).id if diagnosis is not None else None

    def _known(self, now: datetime) -> Facts:
        """Return the facts of this turn; if the look was given up, those of an earlier one."""
        return self._facts or Facts(at=now, host=self.world.host)

    def _may_act_on(self, diagnosis: Diagnosis) -> bool:
        own = diagnosis.suspect is Suspect.OWN and diagnosis.cause is not Cause.BLIND
        return own and self.config.mode in ("approve", "remedy")

    def _open(self, diagnosis: Diagnosis, now: datetime) -> Incident:
        known = self.store.lasting(diagnosis.key)
        if known is not None:
            diagnosis = verdict.joined_diagnosis(known.diagnosis, diagnosis)
        incident, new = self.store.open_incident(diagnosis, now=now)
        if new:
            self.teller.journal("opened", incident)
            self.store.event(
                incident.id, "opened", f"{diagnosis.cause}, {diagnosis.suspect}: {diagnosis.evidence[0]}", now=now
            )
            self._supersede(incident, now)
            # What breaks together is told, and judged, together.
            self.store.recheck("announce", incident.id, now + self.config.notify.group_for)
        return incident

    def _supersede(self, incident: Incident, now: datetime) -> None:
        """Close forecasts that came true or came nearer, without a word: the new incident says it all."""
        if incident.diagnosis.confidence is not Confidence.PROVEN or incident.diagnosis.trust is not Trust.SYSTEM:
            return
        files = set(verify.files_of(incident.diagnosis))
        for other in self.store.incidents(unresolved=True):
            forecast = other.diagnosis.cause is Cause.EXPIRES_SOON and other.id != incident.id
            if forecast and files & set(verify.files_of(other.diagnosis)):
                self.store.event(
                    other.id, "superseded", f"by incident {incident.id}: {incident.diagnosis.cause}", now=now
                )
                self.store.resolve(other.id, now=now)

    # ------------------------------------------------------------ looking again

    def _look_again(self, recheck: Recheck, now: datetime) -> None:
        self.store.no_recheck(recheck.kind, recheck.incident)
        if recheck.incident is None:
            whole = {"inventory": self._take_inventory, "blind": self.readers.look, "digest": self._send_digest}
            whole[recheck.kind](now)
            return
        incident = self.store.incident(recheck.incident)
        if incident is None or incident.state == "resolved":
            return
        {
            "announce": self._announce,
            "incident": self._reconsider,
            "verify": self._verify,
            "resume": self._resume,
            "remind": self._remind,
        }[recheck.kind](incident, now)

    def _verify(self, incident: Incident, now: datetime) -> None:
        if self._looked.for_verification is None:  # the look was given up
            self.store.recheck("verify", incident.id, now + LOOK_EVERY)
        else:
            self.cures.verify(incident, self._looked.for_verification, now)

    def _resume(self, incident: Incident, now: datetime) -> None:
        self.cures.resume(incident, self._known(now), now)

    def _take_inventory(self, now: datetime) -> None:
        """The silent case: what is expired or soon will be, though nothing failed yet."""
        facts = self.inventory = self._known(now)
        if self._looked.members:
            self.store.keep_members(self._looked.members)
        wanted = self.config.certificates

        def ahead(thresholds: Sequence[int]) -> timedelta:
            return max(timedelta(days=max(thresholds, default=0)), self.policy.plan_ahead)

        of_plane = {plane: ahead(days) for plane, days in wanted.plane.items()}
        for diagnosis in verdict.survey(facts, warn_within=ahead(wanted.warn_days), of_plane=of_plane):
            if self.cures.accounts_for(diagnosis):
                continue
            thresholds = wanted.plane.get(diagnosis.plane, wanted.warn_days)
            if diagnosis.cause is Cause.EXPIRES_SOON:
                diagnosis = message.forecast(diagnosis, thresholds, now)  # noqa: PLW2901 - the same, of its threshold
            self._passes("a certificate", partial(self._find, diagnosis, now))
        self.store.prune(now=now)
        # What ends before the next time is looked at as it does: an etcd before 3.3 says nothing of a client that it refuses.
        later = now + INVENTORY_EVERY
        soon = [
            stored.certificate.not_after + LOOK_EVERY
            for stored in facts.stored
            if now < stored.certificate.not_after < later
        ]
        self.store.recheck("inventory", None, min([later, *soon]))

    def _find(self, diagnosis: Diagnosis, now: datetime) -> None:
        self._open(diagnosis, now)

    def _announce(self, incident: Incident, now: datetime) -> None:
        """The first word to people, with the decision in it."""
        facts = self._known(now)
        if self._is_cured(incident, facts, now):
            return
        for diagnosis in verdict.survey(facts, warn_within=timedelta()):
            if diagnosis.key == incident.key:  # other files of the same owner that broke with it
                incident = self._open(diagnosis, now)
        if not self._decide(incident, facts, now):
            self.store.recheck("announce", incident.id, now)
            return
        if incident.diagnosis.cause is not Cause.EXPIRES_SOON:  # a forecast is said again at its next threshold
            self.store.recheck("remind", incident.id, now + self.config.notify.remind_every)
        self.store.recheck("incident", incident.id, now + look_every(incident))

    def _decide(self, incident: Incident, facts: Facts, now: datetime) -> bool:
        """Decide, tell people once that the incident is there, and write an act down where all gates are open.

        Returns False if the lease must be taken first, so that the incident is to be looked at again at once.
        """
        incident, decision = self._asked(incident, facts, now)
        if decision is None:
            return False
        diagnosis = incident.diagnosis
        changed = incident.decision is None or incident.decision.reason != decision.reason
        if changed:
            self.store.event(incident.id, "decided", decision.reason, now=now)
        self.store.decide(incident.id, decision)
        incident = replace(incident, decision=decision)
        if changed and decision.action is None and self._may_act_on(diagnosis):
            self.teller.journal("decided", incident)
        if incident.announced_at is None:
            self._announce_or_hold(incident, now)
        if decision.action is not None:
            self.store.intend(
                incident.id, diagnosis.remedy.target, decision.action, boot_id=self.world.boot_id, now=now
            )
            self.store.event(incident.id, "intent", decision.reason, now=now)
            self.teller.journal("intent", incident)
        return True

    def _announce_or_hold(self, incident: Incident, now: datetime) -> None:
        """Tell people that an incident is there, or have the next digest say that it is held back."""
        reason = self._held_back(incident, now)
        if reason is None:
            self.teller.tell(MessageKind.OPENED, incident, now)
        else:
            self.store.event_once(incident.id, HELD_BACK, reason, now=now)
            self.store.recheck_by("digest", None, now + DIGEST_AFTER)

    def _held_back(self, incident: Incident, now: datetime) -> str | None:
        """Return why people are not told of one more incident now; None if they are."""
        if incident.diagnosis.severity is Severity.INFO:
            return None
        told = [other for other in self.store.incidents(unresolved=True) if other.announced_at is not None]
        if sum(other.diagnosis.cause is incident.diagnosis.cause for other in told) >= MOST_OPEN:
            return f"{MOST_OPEN} incidents of this cause are open and were reported"
        if self.store.announced_since(now - DIGEST_EVERY, incident.diagnosis.severity) >= MOST_AN_HOUR:
            return f"{MOST_AN_HOUR} incidents of this severity were reported within the last hour"
        return None

    def _send_digest(self, now: datetime) -> None:
        """Say once in an hour how many incidents are held back."""
        held = [
            incident
            for incident in self.store.incidents(unresolved=True)
            if incident.announced_at is None and self.store.has_event(incident.id, HELD_BACK)
        ]
        if held and not self.teller.digest(held, now, every=DIGEST_EVERY):
            self.store.recheck("digest", None, now + DIGEST_EVERY)

    def _asked(
        self, incident: Incident, facts: Facts, now: datetime, act: Act | None = None
    ) -> tuple[Incident, Decision | None]:
        """Return an incident as it is known now, and what all gates say to it; of an `act` of an earlier run, as if it were not begun.

        No decision is returned if it needs the lease of its etcd group, which the probe then takes.
        """
        self._tally.write_counts()
        incident = self.store.incident(incident.id) or incident
        diagnosis = replace(
            incident.diagnosis, count=incident.count, last_seen=incident.system_seen if incident.count else None
        )
        history = History(
            # The lines that led to an act of an earlier run were fresh to it.
            started_at=self.started_at if act is None else min(self.started_at, act.at - FRESH_FOR),
            attempts=self.store.attempts(since=now - timedelta(days=1), but=act.id if act else 0),
            incident=incident.id,
            troubled=self._troubled(diagnosis),
            waiting_since=incident.opened_at,
            tripped=self.store.tripped(),
            approved=self.store.approved(incident.id, now=now),
        )
        decision = decide(diagnosis, facts, history, self.policy)
        group = self._lease_for.pop(incident.id, None)
        if decision.action is not None and decision.action.container is not None and self.world.lock is not None:
            lease = self._looked.leases.get(diagnosis.group) if group is not None else None
            if lease is None:
                self._lease_for[incident.id] = diagnosis.group
                return replace(incident, diagnosis=diagnosis), None
            decision = decide(diagnosis, replace(facts, lease=lease), history, self.policy)
        return replace(incident, diagnosis=diagnosis), decision

    def _closed_by_now(self, incident: Incident, act: Act, now: datetime) -> str | None:
        """Return why an act that an earlier run wrote down, and did not do, is not to be done any more; "" where it is.

        None: it needs the lease, and is to be looked at again at once.
        """
        _, decision = self._asked(incident, self._known(now), now, act)
        if decision is None:
            return None
        same = decision.action is not None and decision.action.container == act.action.container
        return "" if same else decision.reason if decision.action is None else "something else is to be done by now"

    def _troubled(self, diagnosis: Diagnosis) -> tuple[str, ...]:
        """Neighbours in the same etcd group whose certificates are being refused here."""
        return troubled((other.diagnosis for other in self.store.incidents(unresolved=True)), diagnosis.group)

    def _is_cured(self, incident: Incident, facts: Facts, now: datetime) -> bool:
        """Resolve an incident that is over; return whether it is."""
        diagnosis = incident.diagnosis
        judged = verdict.is_over(diagnosis, facts)
        if diagnosis.cause is Cause.BLIND:
            good, said = self.readers.is_over(incident, now)
        elif diagnosis.cause is Cause.EXPIRES_SOON:
            good, said = message.renewed(diagnosis, facts)
        elif judged is not None:
            good, said = judged
        else:
            good = now - max(incident.last_seen, incident.opened_at) > QUIET_FOR
            said = f"nothing more was seen for {int(QUIET_FOR.total_seconds() // 60)} minutes; it cannot be verified from here"
        if good:
            self._resolve(incident, said, now)
        return good

    def _reconsider(self, incident: Incident, now: datetime) -> None:
        """Look at an incident again: over, or may something be done by now?"""
        acts = self.store.acts(incident=incident.id)
        if any(act.state in UNDER_WAY for act in acts):
            self.store.recheck("incident", incident.id, now + LOOK_EVERY)
            return
        facts = self._known(now)
        if self._is_cured(incident, facts, now):
            return
        if incident.state == "open":
            if not self._decide(incident, facts, now):
                self.store.recheck("incident", incident.id, now)
                return
        elif incident.announced_at is None and acts:  # the silence under which it failed has ended
            self.teller.say(MessageKind.ESCALATED, incident, now, outcome=acts[-1].detail)
        self.store.recheck("incident", incident.id, now + look_every(incident))

    def _remind(self, incident: Incident, now: datetime) -> None:
        if incident.announced_at is not None:
            self.teller.tell(MessageKind.REMINDER, incident, now)
        self.store.recheck("remind", incident.id, now + self.config.notify.remind_every)

    # ------------------------------------------------------------ telling

    def _resolve(self, incident: Incident, said: str, now: datetime) -> None:
        self.store.event(incident.id, "resolved", said, now=now)
        if incident.announced_at is not None:
            self.teller.tell(MessageKind.RESOLVED, incident, now, outcome=said)
        else:
            self.teller.journal("resolved", incident, said)
        self.store.resolve(incident.id, now=now)
        self._judge_anew(incident)

    def _judge_anew(self, incident: Incident) -> None:
        """Have the next line of an incident judged by what is so then, and not as the one before it."""
        self._tally.forget(incident.id)

    # ------------------------------------------------------------ the loop

    def run(
        self, take: Callable[[float], Iterable[Item]], now: Callable[[], datetime], going: Callable[[], bool]
    ) -> None:
        """Turn until `going` says no. `take(seconds)` waits for items; `now` is asked for, and that is the time of the turn."""
        while going():
            moment = now()
            if self._turn is not None:
                self.hear(moment, timeout=TICK)
                continue
            self.hear(moment)
            due = self.store.next_due()
            wait = TICK if due is None else min(TICK, max(0.0, (due - moment).total_seconds()))
            if self.cures.busy or self.workers.courier.busy:
                wait = min(wait, WORKING_TICK)
            items = list(take(wait)) if not self._left else []
            moment = now()
            idle = not items and not self._left and (due is None or due > moment)
            if idle and timedelta() <= moment - self._last <= LONGEST_TURN:
                self._last = moment
            else:
                self.begin(items, moment)
        self.cures.end(now, self._transaction, seconds=LAST_ACT)


def look_every(incident: Incident) -> timedelta:
    """Return how soon an incident is looked at again: what is not urgent is not shaken hands with every few seconds."""
    return LOOK_EVERY if incident.diagnosis.severity is Severity.CRITICAL else QUIET_LOOK_EVERY
