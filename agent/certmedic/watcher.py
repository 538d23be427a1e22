"""The line, front door to back; the only module that knows both floors.

    LogEntry -> parse -> Sighting -> gather -> Facts -> diagnose -> Diagnosis -> decide -> Decision -> act, outbox -> settle

`Watcher.step` is one turn: what came in and what is due goes through the pure core inside one transaction, at whose end the
positions move; then, outside it, what was written down is done: acts first, then messages. Whatever must be looked at again
is a row with a due time. So a `kill -9` between any two lines of this file loses nothing and does nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from certmedic.config import Config, policy_of
from certmedic.core import diagnose as doctor
from certmedic.core import message, symptoms, verdict, verify
from certmedic.core.decision import FRESH_FOR, History, decide, troubled
from certmedic.core.lease import access
from certmedic.core.model import (
    Cause,
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
)
from certmedic.cures import UNDER_WAY, Cures
from certmedic.edge.store import Act, Incident, Store
from certmedic.readers import Readers
from certmedic.tally import Seen, Tally
from certmedic.teller import Teller, World

TICK = 1.0  # seconds that the loop waits at most: the watchdog, a stop and a new recheck are seen by then
DIAGNOSE_EVERY = timedelta(seconds=30)  # equal lines are judged anew no more often than this
LOOK_EVERY = timedelta(seconds=15)  # at an incident that can be verified by looking at files
QUIET_LOOK_EVERY = timedelta(minutes=1)
QUIET_FOR = timedelta(minutes=15)  # an incident that cannot be verified here ends when nothing more is seen
INVENTORY_EVERY = timedelta(minutes=10)
FACTS_FOR = timedelta(seconds=2)  # looked-up facts serve all sightings of one moment
# Kinds of lines in one turn: strangers can write as many kinds as they like, and what comes after waits.
JUDGED_AT_ONCE = 64
LONGEST_TURN = timedelta(minutes=3)  # a runtime that hangs, and machines around that do not answer


class Watcher:
    """The owner in the middle: all state passes through here, on one thread."""

    def __init__(
        self, *, config: Config, store: Store, world: World, started_at: datetime, sources: Mapping[str, bool]
    ) -> None:
        self.config = config
        self.store = store
        self.world = world
        self.started_at = started_at
        self.policy = policy_of(config)
        self.teller = Teller(config.mode, store, world, config.notify.route, config.notify.maintenance)
        self.cures = Cures(
            store,
            world,
            self.teller,
            verify_for=config.remedy.verify_for,
            resolve=self._resolve,
            judge_anew=self._judge_anew,
            closed_by_now=self._closed_by_now,
        )
        self.readers = Readers(sources, store, world, started_at=started_at, begin=self._open, end=self._resolve)
        self.inventory: Facts | None = None  # the latest
        self.sightings = 0  # since the start
        self._memo = symptoms.Memo()
        self._tally = Tally(store)
        self._to_judge: list[Seen] = []  # of this turn
        self._left: list[Item] = []  # what came in and is for the next turn
        self._facts: Facts | None = None
        self._last = started_at  # when the last turn was
        self._begin(started_at)

    def _begin(self, now: datetime) -> None:
        with self.store.transaction():
            self.store.clock_went_back(now, latest=now + INVENTORY_EVERY)  # as where it was wrong until this boot
            self.cures.begin(now)
            self.readers.start(now)
            self.store.recheck("inventory", None, now)

    # ------------------------------------------------------------ one turn

    def step(self, items: Sequence[Item], now: datetime) -> None:
        """Take what came in and what is due, then do what was written down. Raises StoreError where the disk refuses."""
        positions: dict[str, str | None] = {}
        waiting = [*self._left, *items]
        with self.store.transaction():
            self._mind_the_clock(now)
            handled = 0
            for item in waiting:
                if len(self._to_judge) >= JUDGED_AT_ONCE:
                    break
                handled += 1
                self._take(item, now)
                if isinstance(item, LogEntry | Progress):
                    positions[item.stream] = item.position
            self._left = waiting[handled:]
            self._judge(now)
            for recheck in self.store.due(now=now):
                self._look_again(recheck, now)
            self._tally.write_counts()
            self._tally.write_lines(now)
            self.store.settle(positions)
        self.cures.act(now)
        self.teller.deliver(now)

    def _mind_the_clock(self, now: datetime) -> None:
        """Have a clock that was set, or a machine that slept, neither stop what is due nor cut short what a cure may take."""
        gap, self._last = now - self._last, now
        if gap < timedelta():
            self._tally.forget()
            self.store.clock_went_back(now, latest=now + LOOK_EVERY)
        elif gap > LONGEST_TURN:
            self.store.not_looked(gap)

    def _take(self, item: Item, now: datetime) -> None:
        match item:
            case LogEntry():
                sighting = self._memo.parse(item)
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
        """Whether a line is our own probe's doing, or came in already by another source."""
        own = self.world.senses.is_own_probe(sighting.fields.get("remote_addr", ""))
        return own or self._tally.is_echo(sighting)

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
            self.world.senses.learn(seen.sighting.entry.origin)
            fold = Fold(sighting=seen.sighting, count=seen.total, first_seen=seen.first, last_seen=seen.last)
            facts = self._gather(now)
            diagnosis = doctor.diagnose(fold, facts)
            if diagnosis is not None and diagnosis.cause is Cause.UNEXPLAINED and facts.at < now:
                # Its file may have come since the last look, with a volume that was just mounted.
                self._facts = None
                diagnosis = doctor.diagnose(fold, self._gather(now))
            if diagnosis is not None and self.cures.accounts_for(diagnosis):
                diagnosis = None
            seen.incident = self._open(diagnosis, now).id if diagnosis is not None else None

    def _gather(self, now: datetime) -> Facts:
        if self._facts is None or not timedelta() <= now - self._facts.at < FACTS_FOR:
            self._facts = self.world.senses.gather(now=now)
        return self._facts

    def _gather_for_act(self, incident: Incident, now: datetime) -> Facts:
        """Return fresh facts, with the other members where an act on this machine may follow from them."""
        self._facts = self.world.senses.gather(now=now, with_members=self._may_act_on(incident.diagnosis))
        return self._facts

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
            {"inventory": self._take_inventory, "blind": self.readers.look}[recheck.kind](now)
            return
        incident = self.store.incident(recheck.incident)
        if incident is None or incident.state == "resolved":
            return
        {
            "announce": self._announce,
            "incident": self._reconsider,
            "verify": self.cures.verify,
            "resume": self.cures.resume,
            "remind": self._remind,
        }[recheck.kind](incident, now)

    def _take_inventory(self, now: datetime) -> None:
        """The silent case: what is expired or soon will be, though nothing failed yet."""
        facts = self.inventory = self._gather(now)
        if self.config.mode in ("approve", "remedy"):
            known = self.store.members()
            told = self.world.senses.meet(known)
            if told != known:
                self.store.keep_members(told)
        wanted = self.config.certificates

        def ahead(thresholds: Sequence[int]) -> timedelta:
            return max(timedelta(days=max(thresholds, default=0)), self.policy.plan_ahead)

        of_plane = {plane: ahead(days) for plane, days in wanted.plane.items()}
        for diagnosis in verdict.survey(facts, warn_within=ahead(wanted.warn_days), of_plane=of_plane):
            if self.cures.accounts_for(diagnosis):
                continue
            thresholds = wanted.plane.get(diagnosis.plane, wanted.warn_days)
            self._open(
                message.forecast(diagnosis, thresholds, now) if diagnosis.cause is Cause.EXPIRES_SOON else diagnosis,
                now,
            )
        self.store.prune(now=now)
        # What ends before the next time is looked at as it does: an etcd before 3.3 says nothing of a client that it refuses.
        ends = [
            stored.certificate.not_after + LOOK_EVERY for stored in facts.stored if stored.certificate.not_after > now
        ]
        self.store.recheck("inventory", None, min([now + INVENTORY_EVERY, *ends]))

    def _announce(self, incident: Incident, now: datetime) -> None:
        """The first word to people, with the decision in it."""
        facts = self._gather_for_act(incident, now)
        if self._is_cured(incident, facts, now):
            return
        for diagnosis in verdict.survey(facts, warn_within=timedelta()):
            if diagnosis.key == incident.key:  # other files of the same owner that broke with it
                incident = self._open(diagnosis, now)
        self._decide(incident, facts, now)
        if incident.diagnosis.cause is not Cause.EXPIRES_SOON:  # a forecast is said again at its next threshold
            self.store.recheck("remind", incident.id, now + self.config.notify.remind_every)
        self.store.recheck("incident", incident.id, now + look_every(incident))

    def _decide(self, incident: Incident, facts: Facts, now: datetime) -> None:
        """Decide, tell people once that the incident is there, and write an act down where all gates are open."""
        incident, decision = self._asked(incident, facts, now)
        diagnosis = incident.diagnosis
        changed = incident.decision is None or incident.decision.reason != decision.reason
        if changed:
            self.store.event(incident.id, "decided", decision.reason, now=now)
        self.store.decide(incident.id, decision)
        incident = replace(incident, decision=decision)
        if changed and decision.action is None and self._may_act_on(diagnosis):
            self.teller.journal("decided", incident)
        if incident.announced_at is None:
            self.teller.tell(MessageKind.OPENED, incident, now)
        if decision.action is not None:
            self.store.intend(
                incident.id, diagnosis.remedy.target, decision.action, boot_id=self.world.boot_id, now=now
            )
            self.store.event(incident.id, "intent", decision.reason, now=now)
            self.teller.journal("intent", incident)

    def _asked(
        self, incident: Incident, facts: Facts, now: datetime, act: Act | None = None
    ) -> tuple[Incident, Decision]:
        """Return an incident as it is known now, and what all gates say to it; of an `act` of an earlier run, as if it were not begun."""
        self._tally.write_counts()
        incident = self.store.incident(incident.id) or incident
        diagnosis = replace(
            incident.diagnosis, count=incident.count, last_seen=incident.last_seen if incident.count else None
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
        if decision.action is not None and decision.action.container is not None and self.world.lock is not None:
            lease = self.world.lock.take(diagnosis.group, access(facts, diagnosis.group))
            decision = decide(diagnosis, replace(facts, lease=lease), history, self.policy)
        return replace(incident, diagnosis=diagnosis), decision

    def _closed_by_now(self, incident: Incident, act: Act, now: datetime) -> str:
        """Return why an act that an earlier run wrote down, and did not do, is not to be done any more; "" where it is."""
        _, decision = self._asked(incident, self._gather_for_act(incident, now), now, act)
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
        facts = self._gather_for_act(incident, now)
        if self._is_cured(incident, facts, now):
            return
        if incident.state == "open":
            self._decide(incident, facts, now)
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
            due = self.store.next_due()
            wait = TICK if due is None else min(TICK, max(0.0, (due - now()).total_seconds()))
            items = list(take(wait)) if not self._left else []
            moment = now()
            idle = not items and not self._left and (due is None or due > moment)
            if idle and timedelta() <= moment - self._last <= LONGEST_TURN:
                self._last = moment
            else:
                self.step(items, moment)


def look_every(incident: Incident) -> timedelta:
    """Return how soon an incident is looked at again: what is not urgent is not shaken hands with every few seconds."""
    return LOOK_EVERY if incident.diagnosis.severity is Severity.CRITICAL else QUIET_LOOK_EVERY
