"""Programs that hold what their files held before: as a diagnosis, and whether they are over it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from certmedic.core import cures, holders, planes, remedies
from certmedic.core.model import Cause, Confidence, Diagnosis, Facts, Stored, Suspect, Trust
from certmedic.core.text import stamp
from certmedic.core.verify import BACK_OFF_ENDS

OF_PODS = frozenset({"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"})
# Without a certificate of these uses the API of this master is down.
OF_THE_API = frozenset({"apiserver", "apiserver-etcd-client", "server", "peer"})


def of_files(
    files: Sequence[Stored], facts: Facts, evidence: Sequence[str], confidence: Confidence, since: datetime | None
) -> Diagnosis:
    """Return the diagnosis that programs still hold what these files held before; `since` is when that expired."""
    programs = [program for stored in files for program in holders.behind(stored, facts)]
    names = tuple(dict.fromkeys([program.name for program in programs] or filter(None, map(holders.holder_of, files))))
    runs = [f"{program.name} runs since {stamp(program.started_at)}" for program in programs]
    place = files[0].place
    refused = [planes.use_of(stored.place.use).refused for stored in files]
    return Diagnosis(
        key=f"own|{place.plane}/|{'+'.join(sorted(names))}|{Cause.STALE_IN_MEMORY}",
        cause=Cause.STALE_IN_MEMORY,
        suspect=Suspect.OWN,
        confidence=confidence,
        certificates=tuple(stored.certificate for stored in files),
        evidence=tuple(dict.fromkeys((*evidence, *runs))),
        effect=" ".join(dict.fromkeys(filter(None, refused))) or "The programs that hold it are refused.",
        remedy=remedies.for_holders(names, place.plane, pids=[program.pid for program in programs]),
        plane=place.plane,
        since=since,
        holders=names,
    )


def survey(facts: Facts) -> Iterator[Diagnosis]:
    """Yield a diagnosis for each plane whose programs hold certificates that have expired, whether or not a line reports it."""
    ended: dict[str, datetime] = {}
    for old in facts.replaced:  # the latest last: that is what a program holds that started before it was replaced
        ended[old.path] = old.not_after
    late: dict[str, list[Stored]] = {}
    for stored in facts.stored:
        path = stored.certificate.path
        if stored.trust is not Trust.SYSTEM or path not in ended:
            continue
        if ended[path] < facts.at <= stored.certificate.not_after and holders.behind(stored, facts):
            late.setdefault(stored.place.plane, []).append(stored)
    for files in late.values():
        why = [
            f"{s.certificate.path} held a certificate until {stamp(holders.moment_of(s, facts))} that expired"
            f" {stamp(ended[s.certificate.path])}"
            for s in files
        ]
        since = min(ended[s.certificate.path] for s in files)
        yield of_files(files, facts, why, Confidence.PROVEN, since)


def survey_memory(facts: Facts, within: timedelta) -> Iterator[Diagnosis]:
    """Yield a diagnosis for each certificate in a program's memory that has expired or expires `within` a time."""
    for stored in facts.memory:
        leaf, program = stored.certificate, stored.place.renewer
        left = leaf.not_after - facts.at
        if left > within:
            continue
        cause = Cause.STALE_IN_MEMORY if left < timedelta() else Cause.EXPIRES_SOON
        when = f"expired {stamp(leaf.not_after)}" if left < timedelta() else f"expires {stamp(leaf.not_after)}"
        refused = next((kept.refused for kept in planes.IN_MEMORY if kept.program == program), "")
        yield Diagnosis(
            key=f"own|{stored.place.plane}/|{program}|{cause}|memory",
            cause=cause,
            suspect=Suspect.OWN,
            confidence=Confidence.PROVEN,
            certificates=(leaf,),
            evidence=(f"{program} serves a certificate that is in no file: it {when}",),
            effect=f"At that time: {refused}" if cause is Cause.EXPIRES_SOON else refused,
            remedy=remedies.for_holders([program], stored.place.plane, why=f"{program} signs a new one at its start."),
            plane=stored.place.plane,
            since=leaf.not_after,
            holders=(program,),
        )


def still_held(paths: Sequence[str], facts: Facts) -> str:
    """Return who does not use the present files yet, or that the API server does not answer, in a sentence; "" if all do."""
    late = holders.held(paths, facts)
    files = [s for s in facts.stored if s.certificate.path in paths]
    names = dict.fromkeys(program.name for programs in late.values() for program in programs)
    if names:
        return f"the files are good by now; restart {' and '.join(names)}, which started before they changed"
    late_pods = [name for name in _pods(files, facts) if sees_pods(facts) and not holders.named(name, facts)]
    if late_pods:
        return f"the files are good by now; {' and '.join(late_pods)} does not run yet: {BACK_OFF_ENDS}"
    is_of_api = any(
        s.place.use in OF_THE_API or holders.holder_of(s) == "kube-apiserver" or cures.readers_of_ca(s) for s in files
    )
    return api_down(facts) if is_of_api else ""


def sees_pods(facts: Facts) -> bool:
    """Whether processes of static pods are known as such here. They are not if the kubelet makes no control groups for pods."""
    return any(program.trust is Trust.SYSTEM and program.name in OF_PODS for program in facts.programs)


def _pods(files: Sequence[Stored], facts: Facts) -> dict[str, None]:
    """Return the static pods that read these files only when they start. Other planes run them under other names."""
    static = (stored for stored in files if stored.place.plane in ("kubeadm", "kops"))
    return dict.fromkeys(name for s in static for name in holders.readers(s, facts) if name.startswith("kube-"))


def api_down(facts: Facts) -> str:
    """Return that the API server of this machine does not answer, in a sentence; "" if it does, or if that was not looked at."""
    ports = silent_ports(facts)
    return f"the API server does not answer on port {', '.join(map(str, sorted(ports)))} yet" if ports else ""


def silent_ports(facts: Facts) -> frozenset[int]:
    """Return the ports of the API server of this machine if none of them answers; none if that was not looked at."""
    ports = frozenset(port for s in facts.stored if s.place.use == "apiserver" for port in s.place.ports)
    answers = any(s.port in ports and s.certificate is not None for s in facts.served)
    return ports if sees_pods(facts) and not answers else frozenset()


def is_over(diagnosis: Diagnosis, facts: Facts) -> tuple[bool, str] | None:
    """Whether the holders of a diagnosis were restarted since, and why; None if no process shows it."""
    if not diagnosis.holders or not facts.programs or (diagnosis.first_seen is None and diagnosis.since is None):
        return None
    paths = [c.path for c in diagnosis.certificates if c.path and not c.is_ca]
    changed = [holders.moment_of(s, facts) for s in facts.stored if s.certificate.path in paths]
    # A line shows the old certificate in use: whoever holds it started before that.
    lines = [diagnosis.first_seen] if diagnosis.first_seen is not None else []
    after = max([*changed, *lines], default=diagnosis.since)
    for name in diagnosis.holders:
        running = holders.named(name, facts)
        if not running:
            return False, f"{name} does not run"
        if any(after is not None and program.started_at < after - holders.SLACK for program in running):
            return False, f"{name} still runs as before"
    return True, f"{' and '.join(diagnosis.holders)} started again and read the files of now"
