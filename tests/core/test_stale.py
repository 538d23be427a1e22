"""Programs that hold what their files held before: late without a line, and over only after their restart."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from certmedic.core import stale, verdict
from certmedic.core.model import Cause, Confidence, Served, Severity, Trust
from labs.held import CA, CA_FILE, LEAF, OF, old, program, scheduler
from labs.values import DAY, NOW, facts, stored

API = stored(LEAF, "/etc/kubernetes/pki/apiserver.crt", "apiserver", ports=(6443,), **OF)
CLIENT = stored(LEAF, "/etc/kubernetes/pki/apiserver-etcd-client.crt", "apiserver-etcd-client", **OF)


def test_renewed_file_that_nobody_read_again_is_reported_without_a_line():
    here = facts((scheduler(),), programs=(program(),), replaced=(old(at=NOW),))
    (late,) = verdict.survey(here, warn_within=DAY)

    assert (late.cause, late.suspect, late.confidence) == (Cause.STALE_IN_MEMORY, "own", Confidence.PROVEN)
    assert (late.severity, late.holders, late.since) == (Severity.CRITICAL, ("kube-scheduler",), NOW - DAY)
    assert "no new pod" in late.effect
    assert "mv /etc/kubernetes/manifests/kube-scheduler.yaml /root/" in late.remedy.command
    assert "process 7" in late.remedy.why


@pytest.mark.parametrize(
    ("change", "more"),
    [
        ({}, {"replaced": (old(not_after=NOW + DAY, at=NOW),)}),  # it still holds a good one
        ({}, {"replaced": ()}),
        ({}, {"programs": (program(started=NOW + DAY),)}),
        ({"trust": Trust.STRANGER}, {}),
        ({"certificate": replace(scheduler().certificate, is_ca=True)}, {}),
    ],
)
def test_nothing_is_reported_while_nobody_holds_an_expired_certificate(change, more):
    here = facts((replace(scheduler(), **change),), **{"programs": (program(),), "replaced": (old(at=NOW),), **more})
    assert list(stale.survey(here)) == []


def test_program_that_holds_an_expired_ca_is_reported_without_a_line():
    ca = stored(CA, CA_FILE, "ca", **OF)
    seen = {"programs": (program(),), "replaced": (old(path=CA_FILE, at=NOW),)}
    (late,) = stale.survey(facts((scheduler(), ca), **seen))
    assert (late.holders, [leaf.path for leaf in late.certificates]) == (("kube-scheduler",), [CA_FILE])
    again = {**seen, "programs": (program(started=NOW), program("kube-apiserver"))}  # which reads its CA files again
    assert list(stale.survey(facts((scheduler(), ca), **again))) == []


def test_resolved_ca_means_that_every_holder_was_restarted():
    expired = replace(stored(CA, CA_FILE, "ca", **OF).certificate, not_after=NOW - DAY)
    (diagnosis,) = verdict.survey(
        facts((replace(stored(CA, CA_FILE, "ca", **OF), certificate=expired),)), warn_within=DAY
    )
    files = (API, replace(scheduler(), modified=NOW - 2 * DAY), stored(CA, CA_FILE, "ca", **OF))
    manager = program("kube-controller-manager", started=NOW)
    serves = (Served(address="::1", port=6443, certificate=API.certificate, trust=Trust.SYSTEM),)
    good, why = verdict.is_over(diagnosis, facts(files, programs=(program(), manager), served=serves))
    assert (good, "restart kube-scheduler" in why) == (False, True)
    assert verdict.is_over(diagnosis, facts(files, programs=(program(started=NOW), manager), served=serves))[0]


def test_resolved_means_that_every_holder_was_restarted():
    ended = replace(scheduler().certificate, not_after=NOW - DAY)
    broken = replace(scheduler(), certificate=ended)
    (diagnosis,) = verdict.survey(facts((broken,)), warn_within=DAY)

    behind = facts((scheduler(),), programs=(program(),))
    good, why = verdict.is_over(diagnosis, behind)
    assert not good
    assert "restart kube-scheduler" in why
    assert verdict.is_over(diagnosis, facts((scheduler(),), programs=(program(started=NOW),)))[0]
    assert verdict.is_over(diagnosis, facts((scheduler(),)))[0]  # no process was looked at


@pytest.mark.parametrize(
    ("served", "good"), [((), False), ((Served(address="::1", port=6443, certificate=API.certificate),), True)]
)
def test_resolved_means_that_the_api_answers_if_its_certificate_failed(served, good):
    (diagnosis,) = verdict.survey(
        facts((replace(CLIENT, certificate=replace(CLIENT.certificate, not_after=NOW - DAY)),)), warn_within=DAY
    )
    served = tuple(replace(seen, trust=Trust.SYSTEM) for seen in served)
    here = facts((API, CLIENT), programs=(program("kube-apiserver"),), served=served)
    assert verdict.is_over(diagnosis, here)[0] is good
    assert stale.api_down(facts((CLIENT,), programs=(program(),))) == ""  # no API server on this machine


@pytest.mark.parametrize(
    ("file", "running", "served", "good"),
    [
        (scheduler(), ("kube-scheduler",), False, True),
        (scheduler(), ("etcd",), False, False),  # its manifest was moved away
        (scheduler(), ("kubelet",), False, True),  # no static pod is known as such
        (replace(scheduler(), place=replace(scheduler().place, plane="microk8s")), ("kubelite",), False, True),
        (replace(API, place=replace(API.place, use="front-proxy-client")), ("kube-apiserver",), True, True),
        (replace(API, place=replace(API.place, use="front-proxy-client")), ("kube-apiserver",), False, False),
        (replace(API, place=replace(API.place, use="front-proxy-client")), ("kubelet",), False, True),
    ],
)
def test_resolved_means_that_the_static_pod_of_the_file_works(file, running, served, good):
    path = (
        "/etc/kubernetes/pki/front-proxy-client.crt"
        if file.place.use == "front-proxy-client"
        else file.certificate.path
    )
    file = replace(file, certificate=replace(file.certificate, path=path))
    answers = Served(address="::1", port=6443, certificate=API.certificate, trust=Trust.SYSTEM)
    here = facts((API, file), programs=tuple(program(name, started=NOW) for name in running))
    assert (stale.still_held([path], replace(here, served=(answers,) if served else ())) == "") is good


# A file of each program that checks others against a CA of kubeadm.
OF_CAS = tuple(
    stored(LEAF, f"/etc/kubernetes/{name}", use, ca_path=f"/etc/kubernetes/pki/{ca}.crt", **OF)
    for name, use, ca in (
        ("scheduler.conf", "scheduler-client", "ca"),
        ("controller-manager.conf", "controller-manager-client", "ca"),
        ("pki/etcd/server.crt", "server", "etcd/ca"),
        ("pki/apiserver-etcd-client.crt", "apiserver-etcd-client", "etcd/ca"),
        ("pki/front-proxy-client.crt", "front-proxy-client", "front-proxy-ca"),
    )
)


@pytest.mark.parametrize(
    ("ca", "running", "serves", "late"),
    [
        ("ca", {"kube-controller-manager": NOW, "kube-scheduler": NOW}, True, ""),
        ("ca", {"kube-controller-manager": NOW, "kube-scheduler": NOW - DAY}, True, "restart kube-scheduler"),
        ("ca", {"kube-controller-manager": NOW}, True, "kube-scheduler does not run yet"),
        ("ca", {"kube-controller-manager": NOW, "kube-scheduler": NOW}, False, "the API server does not answer"),
        ("etcd/ca", {"etcd": NOW - DAY}, True, "restart etcd"),
        ("etcd/ca", {"etcd": NOW, "kube-apiserver": NOW - DAY}, True, "restart kube-apiserver"),
        ("front-proxy-ca", {"kube-apiserver": NOW - DAY}, True, ""),  # it rereads all but the CA of etcd
    ],
)
def test_ca_that_was_signed_again_is_held_once_its_readers_have_started_again(ca, running, serves, late):
    path = f"/etc/kubernetes/pki/{ca}.crt"
    seen = (Served(address="::1", port=6443, certificate=API.certificate, trust=Trust.SYSTEM),) if serves else ()
    programs = tuple(program(name, started=at) for name, at in running.items())
    here = facts((API, stored(CA, path, "ca", **OF), *OF_CAS), programs=programs, served=seen)
    assert late in stale.still_held([path], here)
    assert bool(stale.still_held([path], here)) is bool(late)


def test_stale_program_is_over_it_once_it_started_again():
    (late,) = stale.survey(facts((scheduler(),), programs=(program(),), replaced=(old(at=NOW),)))
    at = {"replaced": (old(at=NOW),)}
    assert verdict.is_over(late, facts((scheduler(),), programs=(program(),), **at)) == (
        False,
        "kube-scheduler still runs as before",
    )
    assert verdict.is_over(late, facts((scheduler(),), programs=(program("etcd"),), **at)) == (
        False,
        "kube-scheduler does not run",
    )
    later = program(started=NOW + timedelta(seconds=9))
    assert verdict.is_over(late, facts((scheduler(),), programs=(later,), **at))[0]
    assert verdict.is_over(late, facts((scheduler(),), **at)) is None
    assert verdict.is_over(replace(late, holders=()), facts((scheduler(),), programs=(later,), **at)) is None
    nothing = replace(late, certificates=(), since=None)
    assert verdict.is_over(nothing, facts((scheduler(),), programs=(later,), **at)) is None


def test_holder_without_a_file_is_over_it_if_it_started_after_the_first_line():
    (late,) = stale.survey(facts((scheduler(),), programs=(program(),), replaced=(old(at=NOW),)))
    loopback = replace(late, certificates=(), first_seen=NOW, holders=("kube-apiserver",))
    for started, good in ((NOW - DAY, False), (NOW + DAY, True)):
        here = facts((), programs=(program("kube-apiserver", started=started),))
        assert verdict.is_over(loopback, here)[0] is good


def test_files_whose_holder_is_not_known_name_no_program():
    unknown = stored(LEAF, "/f.crt", "client", plane="", group="", renewer="unknown")
    late = stale.of_files([unknown], facts((unknown,)), ["x"], Confidence.LIKELY, None)
    assert (late.holders, late.remedy.commands, late.effect) == ((), (), "The programs that hold it are refused.")


@pytest.mark.parametrize(
    ("left", "cause", "severity"),
    [
        (DAY, Cause.EXPIRES_SOON, Severity.WARNING),
        (-DAY, Cause.STALE_IN_MEMORY, Severity.CRITICAL),
        (40 * DAY, None, None),
    ],
)
def test_certificate_in_memory_is_forecast_and_its_restart_renews_it(left, cause, severity):
    inner = replace(API, certificate=replace(API.certificate, path="(memory of kube-apiserver)", not_after=NOW + left))
    inner = replace(inner, place=replace(inner.place, use="memory", renewer="kube-apiserver"))
    here = facts((), memory=(inner,))
    diagnoses = verdict.survey(here, warn_within=30 * DAY)
    assert [(d.cause, d.severity, d.holders) for d in diagnoses] == (
        [(cause, severity, ("kube-apiserver",))] if cause else []
    )
    for diagnosis in diagnoses:
        assert "admission" in diagnosis.effect
        assert "kube-apiserver.yaml" in diagnosis.remedy.command
    assert here.by_path["(memory of kube-apiserver)"] == (inner.certificate,)
