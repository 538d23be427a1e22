"""Which member may be restarted and when: as tables, and for every small group."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certmedic.core import certificates, planes
from certmedic.core.decision import explain
from certmedic.core.decision.quorum import PATIENCE, quorum, safe_to_restart, turn
from certmedic.core.model import Member
from certmedic.core.planes import Cluster, cluster_from_flags
from certmedic.core.planes.cluster import member_ids
from labs.values import DAY, NOW, PEERS_CA

NONE = timedelta(0)


def shown(ends, begins=NOW - 400 * DAY):
    return certificates.parse(PEERS_CA.leaf("etcd", not_before=begins, not_after=ends).cert_pem, "")[0]


GOOD, LATER, BAD, EARLY = shown(NOW + DAY), shown(NOW + 400 * DAY), shown(NOW - DAY), shown(NOW + 9 * DAY, NOW + DAY)
# How a member looks: Good, good for Long, Expired, Not yet valid, Refused, Silent, expired only to its Clients
LOOKS = {"G": GOOD, "L": LATER, "E": BAD, "N": EARLY, "R": None, "S": None, "C": GOOD}


def group(looks, me="a"):
    """Return members a, b, c, ... that look like this, as `me` sees them."""
    return [
        Member(
            name=name,
            group="main",
            address=f"etcd-{name}",
            port=2380,
            serves=LOOKS[look],
            serves_clients=BAD if look == "C" else LOOKS[look],
            error={"R": "Connection refused", "S": "no answer within 2 s"}.get(look, ""),
            refused=look == "R",
            is_self=name == me,
            verified=LOOKS[look] is not None,
        )
        for name, look in zip("abcdefg", looks, strict=False)
    ]


# ---------------------------------------------------------------- safe to restart


@pytest.mark.parametrize(
    ("looks", "me", "passed", "why"),
    [
        # one has expired
        ("EGG", "a", True, "keeps its quorum: without this one 2 of 3"),
        ("GGE", "c", True, "keeps its quorum"),
        ("EGGGG", "a", True, "keeps its quorum"),
        ("CGG", "a", True, "keeps its quorum"),
        # all have expired: the first, the one gap, the last
        ("EEE", "a", True, "b, c, also expired, may hold the quorum by their old sessions"),
        ("GEE", "b", True, "with a, good already, this member makes the quorum; .* this one outage"),
        ("LGE", "c", True, "keeps its quorum"),
        ("EEEEE", "a", True, "sessions"),
        ("GEEEE", "b", True, "sessions"),
        ("GGEEE", "c", True, "this one outage"),
        ("GGGEE", "d", True, "keeps its quorum"),
        # planned, or for a certificate only in memory: never at the cost of the quorum
        ("GGG", "a", True, "keeps its quorum"),
        ("GEG", "a", False, "this member is good, and .*wait until b serves a good certificate"),
        ("GEE", "a", False, "this member is good"),
        ("GGE", "a", False, "this member is good"),
        ("GGGG", "a", True, "keeps its quorum"),
        ("GGGE", "a", False, "this member is good"),
        ("GGGGG", "a", True, "keeps its quorum"),
        # in a group of one or two any restart is an outage, and the reason says so
        (
            "GG",
            "a",
            True,
            "a group of 2 has no member to spare: etcd takes no writes while it restarts",
        ),
        ("G", "a", True, "a group of 1 has no member to spare"),
        ("GE", "a", False, "this member is good"),
        ("GR", "a", False, "the state of b is unknown"),
        ("GRR", "a", False, "the state of b, c is unknown"),
        # a member is being restarted, or its state is unknown
        (
            "ERG",
            "a",
            False,
            r"the state of b is unknown: b \(etcd-b:2380\) serves no certificate: Connection refused \(to pass: first see that b",
        ),
        ("ESG", "a", False, "no answer within 2 s"),
        ("ESS", "a", False, "the state of b, c is unknown"),
        ("ERE", "a", False, "the state of b is unknown"),
        ("ENG", "a", False, "the state of b is unknown.* expires"),
        ("EGGSS", "a", False, "the state of d, e is unknown"),
        ("EGGGS", "a", True, "keeps its quorum"),
        # nothing to lose
        ("RGE", "a", True, "does not run"),
        ("SGE", "a", False, "the state of a is unknown"),
        ("ERR", "a", True, "lost already: b, c do not run"),
        ("E", "a", True, "the only member"),
        ("C", "a", True, "the only member"),
        ("S", "a", False, "the state of a is unknown"),
        ("SGG", "a", True, "keeps its quorum"),
        # restarts alone do not cure a group of even size
        (
            "EE",
            "a",
            False,
            "the quorum is lost until another is fixed; restarts alone cannot avoid .* renew in place",
        ),
        ("EG", "a", True, "this one outage"),
        ("EEEE", "a", True, "sessions"),
        ("GEEE", "b", False, "cannot avoid that in a group of 4 .*wait until c, d"),
        ("GGEE", "c", True, "this one outage"),
        ("GGGE", "d", True, "keeps its quorum"),
    ],
)
def test_member_is_safe_to_restart_only_if_the_quorum_survives_or_an_outage_is_due(looks, me, passed, why):
    gate = safe_to_restart(group(looks, me), me, NOW)
    assert gate.name == "member safe"
    assert gate.passed is passed, gate.why
    assert bool(gate.opens) is not passed
    assert re.search(why, explain(gate)), explain(gate)


def test_uncertain_members_close_both_gates():
    for gate in (safe_to_restart, lambda m, n, t: turn(m, n, t, NONE, waiting_since=NOW)):
        assert "none was found" in gate([], "a", NOW).why
        assert "not among the known ones (a, b)" in gate(group("EG"), "x", NOW).why
        assert "the same name" in gate([*group("EG"), *group("E")], "b", NOW).why
        assert not any(
            gate(*args, NOW).passed for args in (([], "a"), (group("EG"), "x"), ([*group("EG"), *group("E")], "b"))
        )


# ---------------------------------------------------------------- turns


STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"


@pytest.mark.parametrize(
    ("looks", "me", "waited", "passed", "why"),
    [
        ("EEE", "a", NONE, True, "it comes first"),
        (
            "EEE",
            "b",
            NONE,
            False,
            rf"a comes first: .* serves a certificate that expires {STAMP} \(to pass: wait until a serves a good certificate, or {STAMP}\)$",
        ),
        ("EEE", "c", NONE, False, "a, b come first"),
        ("GEE", "b", NONE, True, "a comes first and is good"),
        ("GEE", "c", NONE, False, "b comes first"),
        ("GGE", "c", NONE, True, "a, b come first and are good"),
        ("CGE", "c", NONE, False, "a comes first"),
        ("GCC", "b", NONE, True, "a comes first and is good"),
        ("REE", "b", NONE, False, "a comes first: .*Connection refused"),
        ("SEE", "b", PATIENCE - DAY / 86400, False, "a comes first"),
        ("SEE", "b", PATIENCE, True, "it waits no longer"),
        ("SEE", "c", PATIENCE, False, "a, b come first"),
        ("SEE", "c", 2 * PATIENCE, True, "it waits no longer"),
        ("GGG", "a", NONE, False, "other members do not see that it is due"),
        ("GGG", "a", PATIENCE, True, "it waits no longer"),
    ],
)
def test_turn_comes_in_order_or_when_patience_ends(looks, me, waited, passed, why):
    gate = turn(group(looks, me), me, NOW, NONE, waiting_since=NOW - waited)
    assert gate.name == "turn"
    assert gate.passed is passed, gate.why
    assert bool(gate.opens) is not passed
    assert re.search(why, explain(gate)), explain(gate)


def test_planned_restart_waits_for_the_earlier_members_to_be_renewed():
    ahead = NOW + 14 * DAY

    def turns(looks):
        return [turn(group(looks, me), me, NOW, NONE, waiting_since=NOW, good_until=ahead).passed for me in "abc"]

    assert turns("GGG") == [True, False, False]
    assert turns("RGG")[1:] == [False, False]
    assert turns("LGG") == [False, True, False]
    assert turns("LLG") == [False, False, True]
    assert turns("LLL") == [False, False, False]


def test_turn_waits_for_jitter_and_for_a_clock_that_went_back():
    jitter = timedelta(seconds=7)
    assert not turn(group("EGG"), "a", NOW, jitter, waiting_since=NOW).passed
    assert turn(group("EGG"), "a", NOW + jitter, jitter, waiting_since=NOW).passed
    back = turn(group("EGG"), "a", NOW, NONE, waiting_since=NOW + DAY)
    assert not back.passed
    assert "the clock went back" in back.why


# ---------------------------------------------------------------- every small cluster

some_looks = st.text(alphabet="GLENRSC", min_size=1, max_size=7)
seconds = st.integers(0, int(PATIENCE.total_seconds()) - 1).map(lambda s: timedelta(seconds=s))


@given(
    some_looks, st.lists(st.tuples(seconds, seconds), min_size=7, max_size=7), st.sampled_from([None, NOW + 14 * DAY])
)
def test_at_most_one_member_has_its_turn_if_all_see_the_same(looks, waits, good_until):
    """True for all looks and waiting times below the patience."""
    names = "abcdefg"[: len(looks)]
    turns = [
        turn(group(looks, me), me, NOW, jitter, waiting_since=NOW - waited, good_until=good_until).passed
        for me, (waited, jitter) in zip(names, waits, strict=False)
    ]
    assert sum(turns) <= 1


@given(some_looks, st.randoms())
def test_gates_do_not_depend_on_the_order_of_members(looks, chance):
    for me in "abcdefg"[: len(looks)]:
        listed = group(looks, me)
        mixed = listed.copy()
        chance.shuffle(mixed)
        assert safe_to_restart(listed, me, NOW).passed is safe_to_restart(mixed, me, NOW).passed
        assert turn(listed, me, NOW, NONE, waiting_since=NOW) == turn(mixed, me, NOW, NONE, waiting_since=NOW)


@given(some_looks)
def test_good_member_is_restarted_only_if_the_others_keep_the_quorum(looks):
    if looks[0] in "GL":
        well = sum(look in "GLC" for look in looks[1:])
        spare = len(looks) > 2 or well < len(looks) - 1
        assert safe_to_restart(group(looks), "a", NOW).passed is (well >= quorum(len(looks)) or not spare)


class Raft:
    """A model of etcd as measured: a session outlives its certificates, and a new session needs two good ones."""

    def __init__(self, looks):
        self.looks = list(looks)
        everybody = range(len(looks))
        self.sessions = {frozenset(pair) for pair in itertools.combinations(everybody, 2)}

    def has_quorum(self):
        def reach(member):
            return 1 + sum(
                frozenset((member, other)) in self.sessions for other in range(len(self.looks)) if other != member
            )

        return any(
            reach(member) >= quorum(len(self.looks)) for member in range(len(self.looks)) if self.looks[member] != "R"
        )

    def stop(self, member):
        self.looks[member] = "R"
        self.sessions = {pair for pair in self.sessions if member not in pair}

    def start(self, member):
        self.looks[member] = "L"
        self.sessions |= {
            frozenset((member, other)) for other, look in enumerate(self.looks) if other != member and look in "GL"
        }


@pytest.mark.parametrize("size", [1, 3, 5, 7])
def test_odd_group_is_cured_member_by_member_with_at_most_one_outage(size):
    names = "abcdefg"[:size]
    for looks in itertools.product("GE", repeat=size):
        raft, gaps = Raft(looks), 0
        while "E" in raft.looks:
            view = "".join(raft.looks)
            go = [
                number
                for number, me in enumerate(names)
                if view[number] == "E"
                and turn(group(view, me), me, NOW, NONE, waiting_since=NOW).passed
                and safe_to_restart(group(view, me), me, NOW).passed
            ]
            assert len(go) == 1, view  # exactly one member is restarted
            why = safe_to_restart(group(view, names[go[0]]), names[go[0]], NOW).why
            raft.stop(go[0])
            down = "".join(raft.looks)
            for number, me in enumerate(names):  # no other member is restarted meanwhile
                if number != go[0] and down[number] == "E":
                    assert not turn(group(down, me), me, NOW, NONE, waiting_since=NOW).passed
            gap = not raft.has_quorum()
            gaps += gap
            assert not gap or "one outage" in why or size == 1  # the reason announced the outage
            raft.start(go[0])
            assert raft.has_quorum() or size == 1, view  # the outage lasts no longer than the restart
        assert gaps <= 1
        assert set(raft.looks) <= {"G", "L"}


@pytest.mark.parametrize("size", [2, 4, 6])
def test_even_group_keeps_its_quorum_after_each_restart_and_outages_are_announced(size):
    names = "abcdef"[:size]
    for looks in itertools.product("GE", repeat=size):
        raft, gaps = Raft(looks), 0
        while True:
            view = "".join(raft.looks)
            passed = {
                me: safe_to_restart(group(view, me), me, NOW)
                for number, me in enumerate(names)
                if view[number] == "E" and turn(group(view, me), me, NOW, NONE, waiting_since=NOW).passed
            }
            go = [me for me, gate in passed.items() if gate.passed]
            if not go:
                break
            number = names.index(go[0])
            raft.stop(number)
            gap = not raft.has_quorum()
            gaps += gap
            assert not gap or "one outage" in passed[go[0]].why
            raft.start(number)
            assert raft.has_quorum(), view
        assert gaps <= 1
        # Restarts do not cure a group in which more than half has expired; the gate then names the way.
        assert "E" not in raft.looks or looks.count("E") > size // 2
        assert all("renew in place" in gate.opens for gate in passed.values())


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_planned_restarts_reach_each_member_without_a_lasting_outage(size):
    names = "abcde"[:size]
    raft = Raft("G" * size)
    for number, me in enumerate(names):
        view = "".join(raft.looks)
        assert turn(group(view, me), me, NOW, NONE, waiting_since=NOW, good_until=NOW + 300 * DAY).passed
        gate = safe_to_restart(group(view, me), me, NOW)
        assert gate.passed
        raft.stop(number)
        assert raft.has_quorum() or "while it restarts" in gate.why
        raft.start(number)
        assert raft.has_quorum()


# ---------------------------------------------------------------- the members

FLAGS = ["etcd", "--name=etcd-a", "--initial-cluster", "etcd-a=https://a.example:2380,etcd-b=https://[fd00::2]:2380"]


@pytest.mark.parametrize(
    ("argv", "environ", "expected"),
    [
        (
            FLAGS,
            {},
            Cluster(
                name="etcd-a", members=(("etcd-a", "a.example", 2380), ("etcd-b", "fd00::2", 2380)), client_port=None
            ),
        ),
        (
            [*FLAGS, "--advertise-client-urls=https://a.example:4001", "--listen-client-urls=https://0.0.0.0:4001"],
            {},
            Cluster(
                name="etcd-a", members=(("etcd-a", "a.example", 2380), ("etcd-b", "fd00::2", 2380)), client_port=4001
            ),
        ),
        (
            ["/opt/etcd-v3.4.13-linux-amd64/etcd"],
            {
                "ETCD_NAME": "etcd-events-a",
                "ETCD_INITIAL_CLUSTER": "etcd-events-a=https://etcd-events-a.internal.example:2381",
                "ETCD_LISTEN_CLIENT_URLS": "https://0.0.0.0:4002",
                "ETCD_INITIAL_ADVERTISE_PEER_URLS": "https://etcd-events-a.internal.example:2381",
            },
            Cluster(
                name="etcd-events-a",
                members=(("etcd-events-a", "etcd-events-a.internal.example", 2381),),
                client_port=4002,
            ),
        ),
        (["etcd", "--initial-cluster=a=http://x:2380"], {}, None),
        (["etcd", "--initial-cluster=a=https://x:port,=https://y:1,,b"], {}, None),
        (["etcd", "--name=a", "--initial-advertise-peer-urls=https://x:2380"], {}, None),
        (["etcd"], {}, None),
    ],
)
def test_cluster_is_read_from_flags_and_environment(argv, environ, expected):
    assert cluster_from_flags(argv, environ) == expected


def test_ids_of_members_are_those_that_etcd_logs():  # etcd 3.4.23 with these flags: "added member d622127685879b3c"
    listed = "b=http://127.0.0.1:12380,c=http://127.0.0.1:12381"
    assert member_ids(listed, "tok") == {"d622127685879b3c": "b", "6f53dcab74102002": "c"}
    flags = ["etcd", "--name=b", "--initial-cluster=b=https://b:2380,c=https://c:2380,c=https://c:2390,=https://x:1"]
    cluster = cluster_from_flags(flags, {})
    assert cluster is not None
    assert sorted(cluster.ids.values()) == ["b", "c"]


@pytest.mark.parametrize(
    ("answer", "voters"),
    [
        (
            (
                b'[{"id":2,"peerURLs":["https://10.0.0.2:2380"],"name":"b","clientURLs":[]},'
                b'{"id":1,"peerURLs":["https://a.example:2381","https://x:1"],"name":"a"}]'
            ),
            (("a", "a.example", 2381), ("b", "10.0.0.2", 2380)),
        ),
        # a member that has not started yet counts, a learner does not
        (b'[{"id":2,"peerURLs":["https://10.0.0.2:2380"],"name":""}]', (("10.0.0.2:2380", "10.0.0.2", 2380),)),
        (b'[{"id":2,"peerURLs":["https://10.0.0.2:2380"],"name":"l","isLearner":true}]', ()),
        (b"[]", ()),
        (b"404 page not found", ()),
        (b'{"members": 5}', ()),
        (b'[{"peerURLs": []}]', ()),
        (b"[5]", ()),
        (b"\xff", ()),
    ],
)
def test_voters_are_read_from_the_reply_of_etcd(answer, voters):
    assert planes.voters_of(answer) == voters


def test_cluster_is_read_from_the_configuration_that_k3s_writes():
    text = "name: m1-5a\ndata-dir: /var/lib/rancher/k3s/server/db/etcd\ninitial-cluster: m1-5a=https://10.0.0.1:2380,m2-7b=https://10.0.0.2:2380\n"
    cluster = planes.cluster_from_config(text)
    assert (cluster.name, cluster.members) == ("m1-5a", (("m1-5a", "10.0.0.1", 2380), ("m2-7b", "10.0.0.2", 2380)))
    assert planes.cluster_from_config("name: x\n") is None


# ---------------------------------------------------------------- proof and patience


def test_unverified_member_never_counts_as_good():
    looks = group("EGG")
    unproven = [looks[0], *(replace(peer, verified=False) for peer in looks[1:])]

    gate = safe_to_restart(unproven, "a", NOW)

    assert not gate.passed
    assert "b (etcd-b:2380) does not prove that it is a member" in gate.why
    first = group("GEE", "b")
    assert turn(first, "b", NOW, NONE, waiting_since=NOW).passed
    assert not turn([replace(first[0], verified=False), *first[1:]], "b", NOW, NONE, waiting_since=NOW).passed
    expired = group("EEE")
    assert not safe_to_restart([expired[0], *(replace(o, verified=False) for o in expired[1:])], "a", NOW).passed


@pytest.mark.parametrize(("looks", "me", "minutes"), [("EEG", "b", 5), ("EEEGG", "c", 10)])
def test_member_waits_five_minutes_for_each_earlier_member(looks, me, minutes):
    waited = timedelta(minutes=minutes)
    assert turn(group(looks, me), me, NOW, NONE, waiting_since=NOW - waited).passed
    assert not turn(group(looks, me), me, NOW, NONE, waiting_since=NOW - waited + timedelta(seconds=1)).passed
