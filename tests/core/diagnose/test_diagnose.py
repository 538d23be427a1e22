"""Whose certificate is at fault, in which file, and whether a restart helps, with certificates that are really signed."""

from dataclasses import replace
from datetime import timedelta

import pytest

from certmedic.core import diagnose as doctor
from certmedic.core import planes, remedies, symptoms, verdict
from certmedic.core.certificates import revocations
from certmedic.core.command import shell
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
from certmedic.core.text import stamp
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
    message="the line",
    origin=None,
    **fields,
):
    if remote:
        fields["remote_addr"] = remote
    sighting = Sighting(
        entry=entry(message, **(origin or {})),
        rule="test",
        symptom=symptom,
        rejected_by=rejected_by,
        suspect=Suspect.OWN if rejected_by is RejectedBy.REMOTE else Suspect.PEER,
        role=role,
        program=program,
        message=message,
        meaning="",
        fields=fields,
        not_after=not_after,
    )
    return Fold(sighting=sighting, count=3, first_seen=NOW, last_seen=NOW)


def refused(symptom=Symptom.BAD_CERTIFICATE_ALERT, role=Role.SERVER, **more):
    """Return a fold in which a remote program rejected our certificate."""
    return seen(symptom, RejectedBy.REMOTE, role, **more)


def refusing(symptom=Symptom.EXPIRED, role=Role.SERVER, **more):
    """Return a fold in which the logging program rejected a remote certificate."""
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
def test_rejection_of_ours_is_attributed_to_the_faulty_file(files, cause, named):
    diagnosis = judged(refused(), files)

    assert (diagnosis.cause, diagnosis.suspect, diagnosis.confidence) == (cause, "own", "proven")
    assert paths(diagnosis) == named
    assert diagnosis.remedy.helps == ("yes" if cause is Cause.EXPIRED else "no")


def test_expired_ca_is_named_instead_of_its_leaf_and_no_restart_helps():
    ca = pki.authority("etcd-peers-ca-main", not_before=NOW - 400 * DAY, not_after=ENDED)
    files = (
        stored(ca.leaf("etcd-a", not_after=NOW + DAY), ME, "peer", ca_path=PEERS_CA_FILE),
        stored(ca, PEERS_CA_FILE, "ca"),
    )

    diagnosis = judged(refused(), files)

    assert (diagnosis.cause, paths(diagnosis), diagnosis.since) == (Cause.CA_EXPIRED, [PEERS_CA_FILE], ENDED)
    assert diagnosis.remedy.helps is Helps.NO


def test_key_of_another_certificate_is_a_key_mismatch():
    me, *others = member()
    files = (stored(PEERS_CA.leaf("etcd-a", **NAMES), ME, "peer", ca_path=me.place.ca_path, key_matches=False), *others)

    assert judged(refused(), files).cause is Cause.KEY_MISMATCH


def test_sni_that_the_certificate_lacks_is_a_name_mismatch():
    diagnosis = judged(refused(server_name="old-etcd-a.internal.example"))

    assert (diagnosis.cause, diagnosis.suspect) == (Cause.NAME_MISMATCH, "own")
    assert diagnosis.remedy.helps is Helps.NO


def test_precise_alert_of_another_tls_library_picks_the_matching_file():
    files = member(peer=CLIENTS_CA.leaf("etcd-a", **NAMES), server_ends=ENDED)

    assert paths(judged(refused(Symptom.EXPIRED_ALERT), files)) == [SERVER]
    assert paths(judged(refused(Symptom.UNKNOWN_CA_ALERT), files)) == [ME]


def test_file_is_chosen_by_the_endpoint_that_newer_etcd_logs():
    files = member(peer_ends=ENDED, server_ends=ENDED)

    assert paths(judged(refused(message="rejected connection on client endpoint"), files)) == [SERVER]
    assert paths(judged(refused(message="rejected connection on peer endpoint"), files)) == [ME]


def test_rejected_good_certificates_are_distrusted_and_the_remedy_is_unknown():
    diagnosis = judged(refused())

    assert (diagnosis.cause, diagnosis.confidence, diagnosis.severity) == (Cause.DISTRUSTED, "possible", "info")
    assert diagnosis.remedy.helps is Helps.UNKNOWN


def test_rejection_of_a_program_with_unknown_files_is_unexplained():
    assert judged(refused(), ()).cause is Cause.UNEXPLAINED


def test_good_file_with_an_old_certificate_served_is_stale_in_memory():
    old = stored(PEERS_CA.leaf("etcd-a", not_after=ENDED), ME)
    served = (Served(address="127.0.0.1", port=2380, certificate=old.certificate, trust=Trust.SYSTEM),)

    diagnosis = judged(refused(), served=served)

    assert (diagnosis.cause, diagnosis.suspect, diagnosis.confidence) == (Cause.STALE_IN_MEMORY, "own", "likely")


def test_expired_certificate_of_a_peer_is_the_fault_of_the_peer():
    diagnosis = judged(refusing(not_after=ENDED))

    assert (diagnosis.cause, diagnosis.suspect, diagnosis.neighbours) == (Cause.EXPIRED, "peer", ("10.0.0.2",))
    assert (diagnosis.remedy.kind, diagnosis.remedy.helps) == ("none", "no")


@pytest.mark.parametrize(
    ("called", "whom"),
    [
        ("https://api.internal.example:6443/api/v1/nodes?limit=500", "api.internal.example:6443"),
        ("etcd-endpoints://0xc000/10.0.0.2:2379", "10.0.0.2:2379"),
        ("10.0.0.2:2379", "10.0.0.2:2379"),
    ],
)
def test_peer_is_named_by_its_endpoint_without_the_request(called, whom):
    diagnosis = judged(refusing(role=Role.CLIENT, remote="", not_after=ENDED, endpoint=called))

    assert (diagnosis.suspect, diagnosis.neighbours) == ("peer", (whom,))
    assert whom in diagnosis.remedy.why
    assert "limit" not in diagnosis.remedy.why


def test_member_known_only_by_its_id_comes_with_a_command_to_look_it_up():
    diagnosis = judged(refusing(role=Role.CLIENT, remote="", not_after=ENDED, remote_peer_id="819c332cb7e87349"))
    assert diagnosis.neighbours == ("etcd member 819c332cb7e87349",)
    assert "etcdctl member list" in diagnosis.remedy.why
    known = judged(refusing(role=Role.CLIENT, not_after=ENDED, remote_peer_id="819c332cb7e87349"))
    assert known.neighbours == ("10.0.0.2",)
    assert "etcdctl" not in known.remedy.why


@pytest.mark.parametrize(
    ("line", "whom"),
    [
        ({"remote": "10.0.0.2:5000"}, "etcd-b at 10.0.0.2"),
        ({"remote": "", "role": Role.CLIENT, "endpoint": "b.example:2380"}, "b.example"),
        ({"remote": "", "role": Role.CLIENT, "remote_peer_id": "819c332cb7e87349"}, "etcd-b"),
        ({"remote": "", "role": Role.CLIENT, "remote_peer_id": "8211f1d0f64f3269"}, ""),
    ],
)
def test_member_has_its_name_however_the_line_calls_it(line, whom):
    names = {"10.0.0.2": "etcd-b", "b.example": "b.example", "819c332cb7e87349": "etcd-b"}
    diagnosis = judged(refusing(not_after=ENDED, **line), names=names)
    assert (diagnosis.suspect, diagnosis.whom) == ("peer", whom)
    assert whom in diagnosis.remedy.why
    assert ("etcdctl" in diagnosis.remedy.why) is (whom == "")


@pytest.mark.parametrize("host", ["10.0.0.1", "127.0.0.1"])
def test_certificate_that_this_machine_served_is_identified_by_its_not_after(host):
    diagnosis = judged(refusing(not_after=ENDED, remote=f"{host}:5000"), member(server_ends=ENDED))

    assert (diagnosis.cause, diagnosis.suspect, paths(diagnosis)) == (Cause.EXPIRED, "own", [SERVER])


def test_equal_not_after_of_another_machine_does_not_accuse_ours():
    diagnosis = judged(refusing(not_after=ENDED), member(server_ends=ENDED))

    assert diagnosis.suspect is Suspect.PEER


def test_not_after_of_a_local_ca_means_that_the_ca_has_expired():
    ca = pki.authority("etcd-peers-ca-main", not_before=NOW - 400 * DAY, not_after=ENDED)

    diagnosis = judged(refusing(not_after=ENDED), (stored(ca, PEERS_CA_FILE, "ca"),))

    assert (diagnosis.cause, diagnosis.suspect) == (Cause.CA_EXPIRED, "own")


def test_certificate_in_etcd_managers_memory_is_identified_and_a_restart_cures_it():
    origin = {"pod": "etcd-manager-main-ip-10-0-0-1"}

    diagnosis = judged(refusing(not_after=ENDED, remote="127.0.0.1:5000", origin=origin))

    assert (diagnosis.cause, diagnosis.suspect, diagnosis.remedy.helps) == (Cause.STALE_IN_MEMORY, "own", "yes")


@pytest.mark.parametrize(
    ("host", "program", "suspect"), [("master-a", "etcd", "own"), ("", "etcd", "peer"), ("", "kube-apiserver", "own")]
)
def test_local_client_is_ours_but_in_logs_of_several_members(host, program, suspect):
    here = replace(facts(), host=host)
    assert doctor.diagnose(refusing(not_after=ENDED, remote="127.0.0.1:5000", program=program), here).suspect == suspect


@pytest.mark.parametrize("symptom", [Symptom.USAGE, Symptom.MISSING_CLIENT_CERT])
def test_known_noise_of_local_callers_is_no_diagnosis(symptom):
    old = member(server=CLIENTS_CA.leaf("etcd-a", **NAMES, client=False))

    assert judged(refusing(symptom, remote="127.0.0.1:5000"), old) is None
    assert judged(refusing(symptom), old) is not None


def test_usage_rejection_is_no_noise_if_the_gateway_cannot_be_the_caller():
    named = refusing(Symptom.USAGE, remote="127.0.0.1:5000", server_name="etcd-a")

    assert judged(named, member(server=CLIENTS_CA.leaf("etcd-a", **NAMES, client=False))).cause is Cause.USAGE
    assert judged(refusing(Symptom.USAGE, remote="127.0.0.1:5000")).suspect is Suspect.OWN


def test_local_client_of_the_wrong_usage_is_not_the_gateway():
    fold = refusing(Symptom.USAGE, remote="127.0.0.1:40000", server_name="")
    fold = replace(fold, sighting=replace(fold.sighting, suspect=Suspect.OWN))  # as the parser reads the line

    diagnosis = judged(fold)

    assert (diagnosis.suspect, diagnosis.cause, diagnosis.remedy.helps) == ("own", "usage", "no")


def _chained(**changed):
    """Return a member's other files, its peer certificate, and the intermediate CA that signed it."""
    between = pki.authority("between", issuer=PEERS_CA, **{"not_before": NOW - 400 * DAY, **changed})
    leaf = between.leaf("etcd-a", **NAMES)
    files = tuple(file for file in member() if file.certificate.path != ME)
    return files, stored(leaf, ME, ca_path=PEERS_CA_FILE), stored(between, ME, "ca", index=1)


def test_intermediate_ca_in_the_file_is_part_of_the_chain():
    others, leaf, between = _chained()

    assert judged(refused(), (*others, leaf, between)).cause is Cause.DISTRUSTED
    assert judged(refused(), (*others, leaf)).cause is Cause.UNKNOWN_AUTHORITY


def test_expired_intermediate_ca_is_the_culprit():
    others, leaf, between = _chained(not_before=NOW - 400 * DAY, not_after=ENDED)

    diagnosis = judged(refused(), (*others, leaf, between))

    assert (diagnosis.cause, diagnosis.remedy.helps, diagnosis.since) == (Cause.CA_EXPIRED, "no", ENDED)
    assert paths(diagnosis) == [ME]


def test_file_of_authorities_that_signed_each_other_is_examined_in_bounded_time():
    key = pki.new_key()
    crowd = [pki.authority("crowd", key=key) for _ in range(40)]
    leaf = crowd[0].leaf("etcd-a", **NAMES)
    files = tuple(file for file in member() if file.certificate.path != ME)
    bundle = [stored(ca, ME, "ca", index=number + 1) for number, ca in enumerate(crowd)]

    assert (
        judged(refused(), (*files, stored(leaf, ME, ca_path=PEERS_CA_FILE), *bundle)).cause is Cause.UNKNOWN_AUTHORITY
    )


def test_restart_does_not_help_a_ca_that_is_not_valid_yet():
    ca = pki.authority("etcd-peers-ca-main", not_before=NOW + DAY)
    leaf = ca.leaf("etcd-a", **{**NAMES, "not_before": NOW - DAY})
    files = tuple(file for file in member() if not file.certificate.path.startswith(f"{VOLUME}/peers"))

    diagnosis = judged(refused(), (*files, stored(leaf, ME, ca_path=PEERS_CA_FILE), stored(ca, PEERS_CA_FILE, "ca")))

    assert (diagnosis.cause, diagnosis.remedy.helps) == (Cause.NOT_YET_VALID, "no")
    assert paths(diagnosis) == [PEERS_CA_FILE]


def test_program_with_a_foreign_ca_file_is_itself_at_fault():
    other = pki.authority("etcd-peers-ca-main")
    files = tuple(file for file in member() if file.certificate.path != PEERS_CA_FILE)

    diagnosis = judged(refusing(Symptom.UNKNOWN_AUTHORITY), (*files, stored(other, PEERS_CA_FILE, "ca")))

    assert (diagnosis.suspect, diagnosis.cause) == ("own", Cause.UNKNOWN_AUTHORITY)
    assert paths(diagnosis) == [PEERS_CA_FILE]


def test_key_mismatch_that_a_program_reports_needs_no_copy_of_the_key():
    fold = refusing(Symptom.OTHER, remote="", message="tls: private key does not match public key")
    fold = replace(fold, sighting=replace(fold.sighting, suspect=Suspect.OWN, rule="own-key-mismatch"))

    assert paths(judged(fold, used={"/elsewhere/peers/me.crt": "peer"})) == [
        ME
    ]  # the second file is not in the command line
    diagnosis = judged(fold, used={"/elsewhere/peers/me.crt": "peer", "/elsewhere/clients/server.crt": "server"})
    assert (diagnosis.cause, diagnosis.severity, diagnosis.remedy.helps) == (Cause.KEY_MISMATCH, "critical", "no")
    assert paths(diagnosis) == [ME, SERVER]


def own_file(rule, **fields):
    """Return a fold in which a program complains about one of its files."""
    fold = refusing(Symptom.OTHER, Role.UNKNOWN, remote="", message="open it: no", **fields)
    return replace(fold, sighting=replace(fold.sighting, suspect=Suspect.OWN, rule=rule))


def test_unreadable_file_is_named_with_its_known_fault():
    diagnosis = judged(own_file("own-file-missing", cert_file=ME))
    assert (diagnosis.suspect, diagnosis.cause, diagnosis.severity, diagnosis.remedy.helps) == (
        "own",
        "unexplained",
        "warning",
        "unknown",
    )
    assert f"it names {ME}" in diagnosis.evidence
    assert diagnosis.remedy.command == f"sudo ls -l {ME}"
    assert ME in diagnosis.remedy.why

    fault = FileFault(path=ME, reason="empty", detail="the file is empty")
    assert (
        f"{ME}: empty: the file is empty"
        in judged(own_file("own-file-missing", cert_file=ME), faults=(fault,)).evidence
    )


def test_unusable_file_without_a_name_is_matched_with_known_file_faults():
    faults = tuple(FileFault(path=path, reason="empty", detail="the file is empty") for path in (ME, SERVER))
    lines = [f"{path}: empty: the file is empty" for path in (ME, SERVER)]

    diagnosis = judged(own_file("own-file-unusable"), faults=faults, used={ME: "peer"})
    assert lines[0] in diagnosis.evidence
    assert lines[1] not in diagnosis.evidence  # the program does not use that file
    assert diagnosis.remedy.command == f"sudo ls -l {ME}"
    assert set(lines) <= set(judged(own_file("own-file-unusable"), faults=faults).evidence)
    assert "no file on this machine explains it" in judged(own_file("own-file-unusable")).evidence


def test_unusable_ca_file_is_our_fault_and_not_that_of_the_peer():
    fault = FileFault(path=PEERS_CA_FILE, reason="not_a_certificate", detail="it is text without a certificate")
    files = tuple(file for file in member() if file.certificate.path != PEERS_CA_FILE)

    diagnosis = judged(refusing(Symptom.UNKNOWN_AUTHORITY), files, faults=(fault,))

    assert (diagnosis.suspect, diagnosis.cause, diagnosis.remedy.helps) == ("own", Cause.UNKNOWN_AUTHORITY, "unknown")
    assert f"{PEERS_CA_FILE}: not_a_certificate: it is text without a certificate" in diagnosis.evidence
    assert judged(refusing(Symptom.UNKNOWN_AUTHORITY), files).suspect == "peer"


def test_grpc_gateway_of_etcd_is_rejected_for_the_server_certificate():
    message = 'grpc: addrConn.createTransport failed to connect to {127.0.0.1:4001 <nil> 0 <nil>}. Err :connection error: desc = "transport: authentication handshake failed: remote error: tls: bad certificate"'
    diagnosis = judged(
        refused(role=Role.CLIENT, remote="", endpoint="127.0.0.1:4001", message=message), member(server_ends=ENDED)
    )

    assert (diagnosis.cause, paths(diagnosis)) == (Cause.EXPIRED, [SERVER])


API = "/srv/kubernetes/kube-apiserver/server.crt"


def test_rejected_server_on_this_machine_is_no_peer():
    leaf = CLIENTS_CA.leaf("kubernetes-master", **{**NAMES, "not_after": ENDED})
    api = stored(leaf, API, "apiserver", renewer="nodeup", group="", ports=(443,))
    calling = {"role": Role.CLIENT, "remote": "", "program": "kube-scheduler"}

    diagnosis = judged(refusing(Symptom.EXPIRED, endpoint="https://127.0.0.1:443/api", **calling), (*member(), api))
    assert (diagnosis.suspect, diagnosis.cause, paths(diagnosis), diagnosis.remedy.helps) == (
        "own",
        Cause.EXPIRED,
        [API],
        "no",
    )
    by_default = judged(refusing(Symptom.EXPIRED, endpoint="https://127.0.0.1/api", **calling), (*member(), api))
    assert paths(by_default) == [API]

    unseen = judged(refusing(Symptom.UNKNOWN_AUTHORITY, endpoint="https://10.0.0.1:443/api", **calling))
    assert (unseen.suspect, unseen.cause, unseen.remedy.helps) == ("own", Cause.UNKNOWN_AUTHORITY, "unknown")
    other = judged(refusing(Symptom.UNKNOWN_AUTHORITY, endpoint="https://10.0.0.2:443/api", **calling))
    assert (other.suspect, other.remedy.kind) == ("peer", "none")


def test_ipv6_address_of_this_machine_is_recognised():
    here = replace(facts(member(server_ends=ENDED)), addresses=frozenset({"fd00::7"}))
    own, other = (refusing(remote=f"[fd00::{number}]:41000", not_after=ENDED) for number in (7, 8))

    assert paths(doctor.diagnose(own, here)) == [SERVER]
    assert doctor.diagnose(other, here).suspect == "peer"


def test_line_that_accuses_this_machine_needs_no_faulty_file():
    fold = refusing(
        Symptom.EXPIRED, role=Role.CLIENT, program="kube-apiserver", remote="", endpoint="https://[::1]:6443"
    )
    fold = replace(fold, sighting=replace(fold.sighting, suspect=Suspect.OWN))

    diagnosis = judged(fold)

    assert (diagnosis.suspect, diagnosis.cause, diagnosis.remedy.helps) == ("own", Cause.EXPIRED, "unknown")


def test_events_and_main_are_distinguished_by_sni():
    names = {"dns": ("etcd-events-a", "etcd-events-a.internal.example"), "not_before": NOW - 400 * DAY}
    events = VOLUME.replace("01", "02")
    ended = stored(PEERS_CA.leaf("etcd-events-a", **names, not_after=ENDED), f"{events}/peers/me.crt", group="events")
    good = stored(CLIENTS_CA.leaf("etcd-events-a", **names), f"{events}/clients/server.crt", "server", group="events")

    assert judged(refused(server_name="etcd-a"), (*member(), ended, good)).cause is Cause.DISTRUSTED
    assert paths(judged(refused(server_name="etcd-events-a"), (*member(), ended, good))) == [f"{events}/peers/me.crt"]
    assert judged(refused(server_name="old-a"), (*member(), good)).cause is Cause.NAME_MISMATCH


def test_events_and_main_are_distinguished_by_the_logging_container():
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
def test_restart_helps_depending_on_the_version(change, helps, kind):
    diagnosis = judged(refused(), member(peer_ends=ENDED), **change)

    assert (diagnosis.remedy.helps, diagnosis.remedy.kind) == (helps, kind)


def test_no_restart_helps_etcd_client_crt_which_nodeup_issues():
    path = "/srv/kubernetes/kube-apiserver/etcd-client.crt"
    client = stored(
        CLIENTS_CA.leaf("kube-apiserver", not_after=ENDED), path, "apiserver-etcd-client", renewer="nodeup", group=""
    )

    diagnosis = judged(refused(role=Role.CLIENT, program="kube-apiserver", remote=""), (client,))

    assert (diagnosis.cause, paths(diagnosis), diagnosis.remedy.helps) == (Cause.EXPIRED, [path], "no")


def test_survey_reports_expired_and_expiring_files_without_any_line():
    diagnoses = verdict.survey(
        facts(member(peer_ends=ENDED, server_ends=NOW + 3 * DAY)), warn_within=timedelta(days=30)
    )

    assert {(d.cause, *paths(d)) for d in diagnoses} == {("expired", ME), ("expires_soon", SERVER)}


def test_files_of_one_owner_share_a_diagnosis_and_the_gravest_comes_first():
    files = member(peer_ends=ENDED, server_ends=ENDED)
    both = [judged(refused(), files), judged(refusing(not_after=NOW - DAY), files)]

    merged = verdict.merge([*both, *verdict.survey(facts(files), warn_within=timedelta())])

    assert [(d.suspect, d.cause, len(d.certificates), d.count) for d in merged] == [
        ("own", "expired", 2, 3),
        ("peer", "expired", 0, 3),
    ]


def test_sentences_that_differ_only_in_a_port_appear_once():
    sentences = [
        'refused: "10.0.0.2:40001" (15:31:00)',
        'refused: "10.0.0.2:40061" (15:31:00)',
        'refused: "[::1]:40061"',
        "x",
    ]
    assert verdict.distinct(sentences) == (sentences[0], *sentences[2:])


def _every_place():
    """Yield a path and its place for each kind of file of each plane."""
    for plane in planes.PLANES.values():
        for kind in plane.files:
            path = kind.glob.replace("*", "main")
            place = planes.place(path)
            yield pytest.param(path, replace(place, group=place.group or "main"), id=f"{plane.name}:{path}")


@pytest.mark.parametrize("image", [OLD_IMAGE, NEW_IMAGE, ""], ids=["old", "new", "unknown"])
@pytest.mark.parametrize(("path", "place"), list(_every_place()))
def test_restart_helps_only_if_it_issues_a_new_certificate(path, place, image):
    running = tuple(container(group, image) for group in planes.KOPS.groups) if image else ()
    leaf = PEERS_CA.leaf("x", **{**NAMES, "not_after": ENDED})
    file = replace(stored(leaf, path), place=place)
    at_hand = facts((file,), containers=running)

    for cause in Cause:
        if cause in remedies.MANUAL:
            assert remedies.for_own(cause, [file], at_hand).helps == "no", cause
        assert remedies.for_peer(cause, "b").helps == "no"
        assert remedies.for_peer(cause, "b").kind == "none"
    expired = remedies.for_own(Cause.EXPIRED, [file], at_hand)
    issues = place.renewer in ("k3s", "rke2") and place.use not in ("ca", "dynamic-listener")
    issues |= place.renewer == "etcd-manager" and place.use != "ca" and image == NEW_IMAGE
    assert (expired.helps == "yes") == issues
    if path.endswith("etcd-client.crt"):
        assert expired.helps == "no"
    assert verdict.survey(at_hand, warn_within=0 * DAY)[0].remedy == expired


CRL_LINE = "client SSL certificate verify error: (12:CRL has expired) while reading client request headers"
PASSED, TO_COME = NOW - DAY, NOW + DAY


@pytest.mark.parametrize("expired_leaf", [False, True])
def test_expired_revocation_list_is_not_called_an_expired_certificate(expired_leaf):
    """A program that checks callers against an expired list says so; whatever else has expired is another story."""
    lists = tuple(
        replace(crl, trust=trust)
        for path, ends, trust in (
            ("/etc/nginx/old.pem", PASSED, Trust.SYSTEM),
            ("/etc/nginx/new.pem", TO_COME, Trust.SYSTEM),
            ("/home/eve/old.pem", PASSED, Trust.STRANGER),
        )
        for crl in revocations(CLIENTS_CA.revoking(ends=ends, begins=NOW - 30 * DAY), path)
    )
    files = member(server_ends=ENDED) if expired_leaf else member()
    sighting = symptoms.parse(entry(CRL_LINE, unit="nginx.service"))
    fold = Fold(sighting=sighting, count=1, first_seen=NOW, last_seen=NOW)

    diagnosis = doctor.diagnose(fold, facts(files, revocations=lists))

    assert (diagnosis.cause, diagnosis.suspect, diagnosis.remedy.helps) == (Cause.CRL_EXPIRED, Suspect.OWN, Helps.NO)
    assert diagnosis.since == PASSED
    assert diagnosis.evidence[1:] == (f"/etc/nginx/old.pem: its nextUpdate was {stamp(PASSED)}",)
    assert shell(diagnosis.remedy.commands) == "openssl crl -noout -issuer -nextupdate -in /etc/nginx/old.pem"


def test_expired_revocation_list_that_is_in_no_known_file_is_reported_as_such():
    sighting = symptoms.parse(entry(CRL_LINE, unit="nginx.service"))
    diagnosis = doctor.diagnose(Fold(sighting=sighting, count=1, first_seen=NOW, last_seen=NOW), facts())
    assert (diagnosis.cause, diagnosis.since, diagnosis.remedy.commands) == (Cause.CRL_EXPIRED, None, ())
    assert diagnosis.evidence[1:] == ("no list of revoked certificates that certmedic reads has expired",)
