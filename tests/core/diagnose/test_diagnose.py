"""Whose certificate, which file, does a restart help: the questions one by one, on certificates that were really signed."""

from dataclasses import replace
from datetime import timedelta

import pytest

from certmedic.core import diagnose as doctor
from certmedic.core import planes, remedies, verdict
from certmedic.core.model import (
    Cause,
    FileFault,
    Fold,
    Helps,
    RejectedBy,
    Role,
    Served,
    Sighting,
    Suspect,
    Symptom,
    Trust,
)
from labs import pki
from labs.values import (
    CLIENTS_CA,
    DAY,
    NEW_IMAGE,
    NOW,
    OLD_IMAGE,
    PEERS_CA,
    VOLUME,
    container,
    entry,
    facts,
    member,
    stored,
)

ENDED = NOW - 5 * DAY
ME, SERVER = f"{VOLUME}/peers/me.crt", f"{VOLUME}/clients/server.crt"
PEERS_CA_FILE = f"{VOLUME}/peers/ca.crt"
NAMES = {"dns": ("etcd-a.internal.example",), "ips": ("127.0.0.1",), "not_before": NOW - 400 * DAY}


def seen(
    symptom,
    rejected_by,
    role,
    *,
    program="etcd",
    remote="10.0.0.2:41000",
    not_after=None,
    said="the line",
    origin=None,
    **fields,
):
    if remote:
        fields["remote_addr"] = remote
    sighting = Sighting(
        entry=entry(said, **(origin or {})),
        rule="test",
        symptom=symptom,
        rejected_by=rejected_by,
        suspect=Suspect.OWN if rejected_by is RejectedBy.REMOTE else Suspect.PEER,
        role=role,
        program=program,
        message=said,
        meaning="",
        fields=fields,
        not_after=not_after,
    )
    return Fold(sighting=sighting, count=3, first_seen=NOW, last_seen=NOW)


def refused(symptom=Symptom.BAD_CERTIFICATE_ALERT, role=Role.SERVER, **more):
    """A remote side refused ours."""
    return seen(symptom, RejectedBy.REMOTE, role, **more)


def refusing(symptom=Symptom.EXPIRED, role=Role.SERVER, **more):
    """The logging process refused theirs."""
    return seen(symptom, RejectedBy.LOCAL, role, **more)


def judged(fold, files=None, **more):
    return doctor.diagnose(fold, facts(files, **more))


def paths(diagnosis):
    return [certificate.path for certificate in diagnosis.certificates]


@pytest.mark.parametrize(
    ("files", "cause", "named"),
    [
        (member(peer_ends=ENDED), Cause.EXPIRED, [ME]),
        (member(server_ends=ENDED), Cause.EXPIRED, [SERVER]),
        (member(peer_ends=ENDED, server_ends=ENDED), Cause.EXPIRED, [ME, SERVER]),
        (member(peer=PEERS_CA.leaf("etcd-a", **{**NAMES, "not_before": NOW + DAY})), Cause.NOT_YET_VALID, [ME]),
        (member(peer=CLIENTS_CA.leaf("etcd-a", **NAMES)), Cause.UNKNOWN_AUTHORITY, [ME]),
        (member(server=CLIENTS_CA.leaf("etcd-a", **NAMES, server=False)), Cause.USAGE, [SERVER]),
    ],
    ids=["peer", "server", "both", "future", "other-ca", "usage"],
)
def test_a_refusal_of_ours_is_laid_to_the_file_that_deserves_it(files, cause, named):
    found = judged(refused(), files)

    assert (found.cause, found.suspect, found.confidence) == (cause, "own", "proven")
    assert paths(found) == named
    assert found.remedy.helps == ("yes" if cause is Cause.EXPIRED else "no")


def test_an_expired_ca_is_named_instead_of_its_leaf_and_no_restart_helps():
    ca = pki.authority("etcd-peers-ca-main", not_before=NOW - 400 * DAY, not_after=ENDED)
    files = (
        stored(ca.leaf("etcd-a", not_after=NOW + DAY), ME, "peer", ca_path=PEERS_CA_FILE),
        stored(ca, PEERS_CA_FILE, "ca"),
    )

    found = judged(refused(), files)

    assert (found.cause, paths(found), found.since) == (Cause.CA_EXPIRED, [PEERS_CA_FILE], ENDED)
    assert found.remedy.helps is Helps.NO


def test_a_key_that_belongs_to_another_certificate_is_said():
    me, *others = member()
    files = (stored(PEERS_CA.leaf("etcd-a", **NAMES), ME, "peer", ca_path=me.place.ca_path, key_matches=False), *others)

    assert judged(refused(), files).cause is Cause.KEY_MISMATCH


def test_the_name_by_which_it_was_called_is_not_in_the_certificate():
    found = judged(refused(server_name="old-etcd-a.internal.example"))

    assert (found.cause, found.suspect) == (Cause.NAME_MISMATCH, "own")
    assert found.remedy.helps is Helps.NO


def test_the_precise_alert_of_an_other_tls_library_picks_the_file_it_is_about():
    files = member(peer=CLIENTS_CA.leaf("etcd-a", **NAMES), server_ends=ENDED)

    assert paths(judged(refused(Symptom.EXPIRED_ALERT), files)) == [SERVER]
    assert paths(judged(refused(Symptom.UNKNOWN_CA_ALERT), files)) == [ME]


def test_newer_etcd_says_which_port_was_called():
    files = member(peer_ends=ENDED, server_ends=ENDED)

    assert paths(judged(refused(said="rejected connection on client endpoint"), files)) == [SERVER]
    assert paths(judged(refused(said="rejected connection on peer endpoint"), files)) == [ME]


def test_good_certificates_that_are_refused_are_distrusted_and_nothing_is_promised():
    found = judged(refused())

    assert (found.cause, found.confidence, found.severity) == (Cause.DISTRUSTED, "possible", "info")
    assert found.remedy.helps is Helps.UNKNOWN


def test_a_refusal_of_a_program_whose_files_are_unknown_is_unexplained():
    assert judged(refused(), ()).cause is Cause.UNEXPLAINED


def test_a_good_file_and_an_old_certificate_served_is_stale_in_memory():
    old = stored(PEERS_CA.leaf("etcd-a", not_after=ENDED), ME)
    served = (Served(address="127.0.0.1", port=2380, certificate=old.certificate, trust=Trust.SYSTEM),)

    found = judged(refused(), served=served)

    assert (found.cause, found.suspect, found.confidence) == (Cause.STALE_IN_MEMORY, "own", "likely")


def test_a_neighbours_expired_certificate_is_the_neighbours():
    found = judged(refusing(not_after=ENDED))

    assert (found.cause, found.suspect, found.neighbours) == (Cause.EXPIRED, "peer", ("10.0.0.2",))
    assert (found.remedy.kind, found.remedy.helps) == ("none", "no")


@pytest.mark.parametrize(
    ("called", "whom"),
    [
        ("https://api.internal.example:6443/api/v1/nodes?limit=500", "api.internal.example:6443"),
        ("etcd-endpoints://0xc000/10.0.0.2:2379", "10.0.0.2:2379"),
        ("10.0.0.2:2379", "10.0.0.2:2379"),
    ],
)
def test_a_neighbour_is_named_by_its_door_and_not_by_what_was_asked_of_it(called, whom):
    found = judged(refusing(role=Role.CLIENT, remote="", not_after=ENDED, endpoint=called))

    assert (found.suspect, found.neighbours) == ("peer", (whom,))
    assert whom in found.remedy.why
    assert "limit" not in found.remedy.why


def test_a_member_that_is_known_by_its_id_alone_is_called_so_and_can_be_looked_up():
    found = judged(refusing(role=Role.CLIENT, remote="", not_after=ENDED, remote_peer_id="819c332cb7e87349"))
    assert found.neighbours == ("etcd member 819c332cb7e87349",)
    assert "etcdctl member list" in found.remedy.why
    known = judged(refusing(role=Role.CLIENT, not_after=ENDED, remote_peer_id="819c332cb7e87349"))
    assert known.neighbours == ("10.0.0.2",)
    assert "etcdctl" not in known.remedy.why


@pytest.mark.parametrize("host", ["10.0.0.1", "127.0.0.1"])
def test_a_certificate_shown_from_here_is_found_by_its_not_after(host):
    found = judged(refusing(not_after=ENDED, remote=f"{host}:5000"), member(server_ends=ENDED))

    assert (found.cause, found.suspect, paths(found)) == (Cause.EXPIRED, "own", [SERVER])


def test_the_same_not_after_elsewhere_does_not_make_it_ours():
    found = judged(refusing(not_after=ENDED), member(server_ends=ENDED))

    assert found.suspect is Suspect.PEER


def test_not_after_of_a_ca_here_means_that_the_ca_has_expired():
    ca = pki.authority("etcd-peers-ca-main", not_before=NOW - 400 * DAY, not_after=ENDED)

    found = judged(refusing(not_after=ENDED), (stored(ca, PEERS_CA_FILE, "ca"),))

    assert (found.cause, found.suspect) == (Cause.CA_EXPIRED, "own")


def test_what_etcd_manager_holds_in_memory_is_found_and_a_restart_cures_it():
    origin = {"pod": "etcd-manager-main-ip-10-0-0-1"}

    found = judged(refusing(not_after=ENDED, remote="127.0.0.1:5000", origin=origin))

    assert (found.cause, found.suspect, found.remedy.helps) == (Cause.STALE_IN_MEMORY, "own", "yes")


def test_without_etcd_manager_a_local_client_is_a_client_and_not_this_etcd():
    assert judged(refusing(not_after=ENDED, remote="127.0.0.1:5000")).suspect is Suspect.PEER


@pytest.mark.parametrize("symptom", [Symptom.USAGE, Symptom.MISSING_CLIENT_CERT])
def test_known_noise_from_this_machine_is_no_diagnosis(symptom):
    old = member(server=CLIENTS_CA.leaf("etcd-a", **NAMES, client=False))

    assert judged(refusing(symptom, remote="127.0.0.1:5000"), old) is None
    assert judged(refusing(symptom), old) is not None


def test_a_usage_refused_here_is_no_noise_where_the_gateway_cannot_be_the_caller():
    named = refusing(Symptom.USAGE, remote="127.0.0.1:5000", server_name="etcd-a")

    assert judged(named, member(server=CLIENTS_CA.leaf("etcd-a", **NAMES, client=False))).cause is Cause.USAGE
    assert judged(refusing(Symptom.USAGE, remote="127.0.0.1:5000")).suspect is Suspect.PEER


def test_a_local_client_of_the_wrong_usage_is_not_the_gateway_and_not_ours():
    fold = refusing(Symptom.USAGE, remote="127.0.0.1:40000", server_name="")
    fold = replace(fold, sighting=replace(fold.sighting, suspect=Suspect.OWN))  # as the line alone is read

    found = judged(fold)

    assert (found.suspect, found.cause, found.remedy.helps) == ("peer", "usage", "no")


def _chained(**changed):
    """A member whose peer certificate was signed by an authority in between, which its file holds too."""
    between = pki.authority("between", issuer=PEERS_CA, **{"not_before": NOW - 400 * DAY, **changed})
    leaf = between.leaf("etcd-a", **NAMES)
    files = tuple(one for one in member() if one.certificate.path != ME)
    return files, stored(leaf, ME, ca_path=PEERS_CA_FILE), stored(between, ME, "ca", index=1)


def test_an_authority_in_between_that_the_file_holds_is_part_of_the_chain():
    others, leaf, between = _chained()

    assert judged(refused(), (*others, leaf, between)).cause is Cause.DISTRUSTED
    assert judged(refused(), (*others, leaf)).cause is Cause.UNKNOWN_AUTHORITY


def test_an_authority_in_between_that_has_expired_is_the_culprit():
    others, leaf, between = _chained(not_before=NOW - 400 * DAY, not_after=ENDED)

    found = judged(refused(), (*others, leaf, between))

    assert (found.cause, found.remedy.helps, found.since) == (Cause.CA_EXPIRED, "no", ENDED)
    assert paths(found) == [ME]


def test_a_file_full_of_authorities_that_signed_each_other_ends():
    key = pki.new_key()
    crowd = [pki.authority("crowd", key=key) for _ in range(40)]
    leaf = crowd[0].leaf("etcd-a", **NAMES)
    files = tuple(one for one in member() if one.certificate.path != ME)
    bundle = [stored(ca, ME, "ca", index=number + 1) for number, ca in enumerate(crowd)]

    assert (
        judged(refused(), (*files, stored(leaf, ME, ca_path=PEERS_CA_FILE), *bundle)).cause is Cause.UNKNOWN_AUTHORITY
    )


def test_an_authority_that_is_not_valid_yet_is_no_matter_for_a_restart():
    ca = pki.authority("etcd-peers-ca-main", not_before=NOW + DAY)
    leaf = ca.leaf("etcd-a", **{**NAMES, "not_before": NOW - DAY})
    files = tuple(one for one in member() if not one.certificate.path.startswith(f"{VOLUME}/peers"))

    found = judged(refused(), (*files, stored(leaf, ME, ca_path=PEERS_CA_FILE), stored(ca, PEERS_CA_FILE, "ca")))

    assert (found.cause, found.remedy.helps) == (Cause.NOT_YET_VALID, "no")
    assert paths(found) == [PEERS_CA_FILE]


def test_who_trusts_another_authority_than_his_own_is_the_stranger():
    other = pki.authority("etcd-peers-ca-main")
    files = tuple(one for one in member() if one.certificate.path != PEERS_CA_FILE)

    found = judged(refusing(Symptom.UNKNOWN_AUTHORITY), (*files, stored(other, PEERS_CA_FILE, "ca")))

    assert (found.suspect, found.cause) == ("own", Cause.UNKNOWN_AUTHORITY)
    assert paths(found) == [PEERS_CA_FILE]


def test_a_key_that_does_not_fit_is_told_by_the_program_though_no_key_was_copied():
    fold = refusing(Symptom.OTHER, remote="", said="tls: private key does not match public key")
    fold = replace(fold, sighting=replace(fold.sighting, suspect=Suspect.OWN, rule="own-key-mismatch"))

    assert paths(judged(fold, used={"/elsewhere/peers/me.crt": "peer"})) == [ME]  # it had named nothing more by then
    found = judged(fold, used={"/elsewhere/peers/me.crt": "peer", "/elsewhere/clients/server.crt": "server"})
    assert (found.cause, found.severity, found.remedy.helps) == (Cause.KEY_MISMATCH, "critical", "no")
    assert paths(found) == [ME, SERVER]


def own_file(rule, **fields):
    """A program finds fault with a file of its own."""
    fold = refusing(Symptom.OTHER, Role.UNKNOWN, remote="", said="open it: no", **fields)
    return replace(fold, sighting=replace(fold.sighting, suspect=Suspect.OWN, rule=rule))


def test_a_file_that_a_program_cannot_open_is_named_and_so_is_what_is_known_of_it():
    found = judged(own_file("own-file-missing", cert_file=ME))
    assert (found.suspect, found.cause, found.severity, found.remedy.helps) == (
        "own",
        "unexplained",
        "warning",
        "unknown",
    )
    assert f"it names {ME}" in found.evidence
    assert found.remedy.command == f"sudo ls -l {ME}"
    assert ME in found.remedy.why

    fault = FileFault(path=ME, reason="empty", detail="the file is empty")
    assert (
        f"{ME}: empty: the file is empty"
        in judged(own_file("own-file-missing", cert_file=ME), faults=(fault,)).evidence
    )


def test_a_file_that_a_program_cannot_use_and_does_not_name_is_one_that_cannot_be_used_here_either():
    faults = tuple(FileFault(path=path, reason="empty", detail="the file is empty") for path in (ME, SERVER))
    said = [f"{path}: empty: the file is empty" for path in (ME, SERVER)]

    told = judged(own_file("own-file-unusable"), faults=faults, used={ME: "peer"})
    assert said[0] in told.evidence
    assert said[1] not in told.evidence  # it had not come to that one
    assert told.remedy.command == f"sudo ls -l {ME}"
    assert set(said) <= set(judged(own_file("own-file-unusable"), faults=faults).evidence)
    assert "no file on this machine explains it" in judged(own_file("own-file-unusable")).evidence


def test_where_the_file_of_authorities_cannot_be_used_nobody_is_trusted_and_that_is_our_fault():
    fault = FileFault(path=PEERS_CA_FILE, reason="not_a_certificate", detail="it is text without a certificate")
    files = tuple(one for one in member() if one.certificate.path != PEERS_CA_FILE)

    found = judged(refusing(Symptom.UNKNOWN_AUTHORITY), files, faults=(fault,))

    assert (found.suspect, found.cause, found.remedy.helps) == ("own", Cause.UNKNOWN_AUTHORITY, "unknown")
    assert f"{PEERS_CA_FILE}: not_a_certificate: it is text without a certificate" in found.evidence
    assert judged(refusing(Symptom.UNKNOWN_AUTHORITY), files).suspect == "peer"


def test_etcds_gateway_calls_its_own_port_over_grpc_and_shows_the_server_certificate():
    said = 'grpc: addrConn.createTransport failed to connect to {127.0.0.1:4001 <nil> 0 <nil>}. Err :connection error: desc = "transport: authentication handshake failed: remote error: tls: bad certificate"'
    found = judged(
        refused(role=Role.CLIENT, remote="", endpoint="127.0.0.1:4001", said=said), member(server_ends=ENDED)
    )

    assert (found.cause, paths(found)) == (Cause.EXPIRED, [SERVER])


API = "/srv/kubernetes/kube-apiserver/server.crt"


def test_a_server_on_this_machine_that_is_refused_here_is_no_neighbour():
    leaf = CLIENTS_CA.leaf("kubernetes-master", **{**NAMES, "not_after": ENDED})
    api = stored(leaf, API, "apiserver", renewer="nodeup", group="", ports=(443,))
    calling = {"role": Role.CLIENT, "remote": "", "program": "kube-scheduler"}

    found = judged(refusing(Symptom.EXPIRED, endpoint="https://127.0.0.1:443/api", **calling), (*member(), api))
    assert (found.suspect, found.cause, paths(found), found.remedy.helps) == ("own", Cause.EXPIRED, [API], "no")
    by_default = judged(refusing(Symptom.EXPIRED, endpoint="https://127.0.0.1/api", **calling), (*member(), api))
    assert paths(by_default) == [API]

    unseen = judged(refusing(Symptom.UNKNOWN_AUTHORITY, endpoint="https://10.0.0.1:443/api", **calling))
    assert (unseen.suspect, unseen.cause, unseen.remedy.helps) == ("own", Cause.UNKNOWN_AUTHORITY, "unknown")
    other = judged(refusing(Symptom.UNKNOWN_AUTHORITY, endpoint="https://10.0.0.2:443/api", **calling))
    assert (other.suspect, other.remedy.kind) == ("peer", "none")


def test_an_address_of_this_machine_may_be_of_six():
    here = replace(facts(member(server_ends=ENDED)), addresses=frozenset({"fd00::7"}))
    own, other = (refusing(remote=f"[fd00::{number}]:41000", not_after=ENDED) for number in (7, 8))

    assert paths(doctor.diagnose(own, here)) == [SERVER]
    assert doctor.diagnose(other, here).suspect == "peer"


def test_a_line_that_says_it_is_ours_is_ours_though_no_file_explains_it():
    fold = refusing(
        Symptom.EXPIRED, role=Role.CLIENT, program="kube-apiserver", remote="", endpoint="https://[::1]:6443"
    )
    fold = replace(fold, sighting=replace(fold.sighting, suspect=Suspect.OWN))

    found = judged(fold)

    assert (found.suspect, found.cause, found.remedy.helps) == ("own", Cause.EXPIRED, "unknown")


def test_events_and_main_are_told_apart_by_the_name_that_was_called():
    names = {"dns": ("etcd-events-a", "etcd-events-a.internal.example"), "not_before": NOW - 400 * DAY}
    events = VOLUME.replace("01", "02")
    ended = stored(PEERS_CA.leaf("etcd-events-a", **names, not_after=ENDED), f"{events}/peers/me.crt", group="events")
    good = stored(CLIENTS_CA.leaf("etcd-events-a", **names), f"{events}/clients/server.crt", "server", group="events")

    assert judged(refused(server_name="etcd-a"), (*member(), ended, good)).cause is Cause.DISTRUSTED
    assert paths(judged(refused(server_name="etcd-events-a"), (*member(), ended, good))) == [f"{events}/peers/me.crt"]
    assert judged(refused(server_name="old-a"), (*member(), good)).cause is Cause.NAME_MISMATCH


def test_events_and_main_are_told_apart_by_who_wrote_the_line():
    files = member(peer_ends=ENDED)
    events = {"container": "k8s_etcd-manager_etcd-manager-events-ip-10-0-0-1_kube-system_01_0"}

    assert judged(refused(), files).cause is Cause.EXPIRED
    assert judged(refused(origin=events), files).cause is not Cause.EXPIRED


@pytest.mark.parametrize(
    ("change", "helps", "kind"),
    [
        ({}, "yes", "restart"),
        ({"containers": (container(image=OLD_IMAGE),)}, "no", "reissue_and_restart"),
        ({"containers": ()}, "unknown", "manual"),
        (
            {"containers": (), "images": {"main": "registry.k8s.io/etcdadm/etcd-manager:v3.0.20220617"}},
            "yes",
            "restart",
        ),
    ],
    ids=["new", "old", "unknown", "manifest"],
)
def test_whether_a_restart_helps_depends_on_the_version(change, helps, kind):
    found = judged(refused(), member(peer_ends=ENDED), **change)

    assert (found.remedy.helps, found.remedy.kind) == (helps, kind)


def test_etcd_client_crt_is_issued_by_nodeup_and_no_restart_helps():
    path = "/srv/kubernetes/kube-apiserver/etcd-client.crt"
    client = stored(
        CLIENTS_CA.leaf("kube-apiserver", not_after=ENDED), path, "apiserver-etcd-client", renewer="nodeup", group=""
    )

    found = judged(refused(role=Role.CLIENT, program="kube-apiserver", remote=""), (client,))

    assert (found.cause, paths(found), found.remedy.helps) == (Cause.EXPIRED, [path], "no")


def test_the_silent_case_is_found_without_a_line():
    found = verdict.survey(facts(member(peer_ends=ENDED, server_ends=NOW + 3 * DAY)), warn_within=timedelta(days=30))

    assert {(d.cause, *paths(d)) for d in found} == {("expired", ME), ("expires_soon", SERVER)}


def test_several_files_of_one_owner_are_one_diagnosis_and_the_gravest_comes_first():
    files = member(peer_ends=ENDED, server_ends=ENDED)
    both = [judged(refused(), files), judged(refusing(not_after=NOW - DAY), files)]

    merged = verdict.merge([*both, *verdict.survey(facts(files), warn_within=timedelta())])

    assert [(d.suspect, d.cause, len(d.certificates), d.count) for d in merged] == [
        ("own", "expired", 2, 3),
        ("peer", "expired", 0, 3),
    ]


def test_sentences_that_differ_in_a_port_only_are_told_once():
    said = [
        'refused: "10.0.0.2:40001" (15:31:00)',
        'refused: "10.0.0.2:40061" (15:31:00)',
        'refused: "[::1]:40061"',
        "x",
    ]
    assert verdict.distinct(said) == (said[0], *said[2:])


def _every_place():
    """What each kind of file of each plane is for, as the inventory has it."""
    for plane in planes.PLANES.values():
        for kind in plane.files:
            path = kind.glob.replace("*", "main")
            place = planes.place(path)
            yield pytest.param(path, replace(place, group=place.group or "main"), id=f"{plane.name}:{path}")


@pytest.mark.parametrize("image", [OLD_IMAGE, NEW_IMAGE, ""], ids=["old", "new", "unknown"])
@pytest.mark.parametrize(("path", "place"), list(_every_place()))
def test_a_restart_is_said_to_help_only_where_it_issues(path, place, image):
    running = tuple(container(group, image) for group in planes.KOPS.groups) if image else ()
    leaf = PEERS_CA.leaf("x", **{**NAMES, "not_after": ENDED})
    one = replace(stored(leaf, path), place=place)
    at_hand = facts((one,), containers=running)

    for cause in Cause:
        if cause in remedies.MANUAL:
            assert remedies.for_own(cause, [one], at_hand).helps == "no", cause
        assert remedies.for_peer(cause, "b").helps == "no"
        assert remedies.for_peer(cause, "b").kind == "none"
    expired = remedies.for_own(Cause.EXPIRED, [one], at_hand)
    issues = place.renewer in ("k3s", "rke2") and place.use not in ("ca", "dynamic-listener")
    issues |= place.renewer == "etcd-manager" and place.use != "ca" and image == NEW_IMAGE
    assert (expired.helps == "yes") == issues
    if path.endswith("etcd-client.crt"):
        assert expired.helps == "no"
    assert verdict.survey(at_hand, warn_within=0 * DAY)[0].remedy == expired
