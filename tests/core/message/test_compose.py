from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certmedic.core import decision as decide
from certmedic.core import message, verdict
from certmedic.core.command import run
from certmedic.core.message import words
from certmedic.core.model import (
    Cause,
    Confidence,
    Decision,
    Diagnosis,
    Gate,
    GateName,
    Helps,
    MessageKind,
    Remedy,
    RemedyKind,
    Severity,
    Suspect,
    WaitsFor,
)
from labs import values
from labs.values import NOW

HOST = "master-a"
MINUTE = timedelta(minutes=1)


def own(*, old=False, **more):
    """The diagnosis and the decision where an etcd's peer certificate ran out nine minutes ago."""
    image = values.OLD_IMAGE if old else values.NEW_IMAGE
    facts = values.facts(values.member(peer_ends=NOW - 9 * MINUTE), containers=(values.container(image=image),))
    (found,) = verdict.survey(facts, warn_within=timedelta())
    found = replace(found, count=312, first_seen=NOW - 9 * MINUTE, last_seen=NOW, **more)
    return found, facts


def decided(found, facts, mode):
    policy = decide.Policy(mode=mode, restart=("etcd-manager",), cooldown=15 * MINUTE, per_day=2)
    return decide.decide(found, facts, decide.History(started_at=NOW - values.DAY), policy)


def neighbour(**more):
    told = {
        "key": "peer",
        "cause": Cause.EXPIRED,
        "suspect": Suspect.PEER,
        "confidence": Confidence.LIKELY,
        "certificates": (),
        "evidence": ('etcd refused the certificate of 10.0.0.2: rejected connection from "10.0.0.2:51234"',),
        "effect": "This master is not at fault.",
        "remedy": Remedy(
            kind=RemedyKind.NONE,
            helps=Helps.NO,
            why="The certificate at fault is on 10.0.0.2.",
        ),
        "neighbours": ("10.0.0.2",),
        "since": NOW - MINUTE,
    }
    return Diagnosis(**(told | more))


OF_ONE = [kind for kind in MessageKind if kind is not MessageKind.DIGEST]  # about one incident


def compose(kind, found, **more):
    return message.compose(kind, found, **({"incident": 12, "host": HOST, "now": NOW} | more))


# ---------------------------------------------------------------- what a tired person reads


def test_the_first_line_tells_host_verdict_and_the_one_thing_to_do_and_the_rest_holds_all_that_was_promised():
    found, facts = own()
    told = compose(MessageKind.OPENED, found, decision=decided(found, facts, "notify"))
    assert told.title == "master-a: etcd main: certificate expired: a restart fixes it"
    first, _, _rest = told.plain.partition("\n")
    assert first == "master-a: the certificate of etcd main has expired. Restart it (command below): that fixes it."
    for needed in (
        "this machine's own, kops main (certain: the certificate was read)",  # whose
        f"{values.VOLUME}/peers/me.crt (CN etcd-a), expired 2026-11-24 15:31:00 UTC",  # which file
        "Since: 2026-11-24 15:31:00 UTC (9 minutes ago)",
        found.effect,
        "Restart: fixes it. etcd-manager 3.0.20210228 reissues this certificate at every start",
        f"Type: {found.remedy.command}",
        'does nothing itself: mode is "notify" (to pass: set mode = "remedy").',
        "certmedic show 12",
        "journalctl -u certmedic -x CERTMEDIC_INCIDENT=12",
        "312 lines, 2026-11-24 15:31:00 UTC to 2026-11-24 15:40:00 UTC",
    ):
        assert needed in told.plain, needed
    assert told.severity is Severity.CRITICAL


def test_the_three_forms_say_the_same():
    found, facts = own()
    told = compose(MessageKind.OPENED, found, decision=decided(found, facts, "notify"))
    bare = re.sub(r"[`*]|^ *- ", "", told.markdown, flags=re.MULTILINE)
    assert re.sub(r"\s+", " ", bare) == re.sub(r"\s+", " ", told.plain)
    assert re.sub(r"\s+", "", text_of(told.html)) == re.sub(r"\s+", "", told.plain)


def test_where_it_will_act_it_says_so_first_and_asks_nothing_of_the_reader():
    found, facts = own()
    told = compose(MessageKind.OPENED, found, decision=decided(found, facts, "remedy"))
    assert "certmedic restarts it now; nothing for you to do yet" in told.plain.splitlines()[0]
    assert told.title.endswith("certmedic restarts it")


def test_where_a_restart_could_cost_the_quorum_the_first_line_forbids_it():
    found, facts = own()
    policy = decide.Policy(mode="remedy", restart=("etcd-manager",), cooldown=15 * MINUTE, per_day=2)
    history = decide.History(started_at=NOW - values.DAY, troubled=("10.0.0.2",))
    told = compose(MessageKind.OPENED, found, decision=decide.decide(found, facts, history, policy))
    assert told.title == "master-a: etcd main: certificate expired: do NOT restart it now"
    first = told.plain.splitlines()[0]
    assert "do NOT restart it now: other members are refused too (10.0.0.2)" in first
    assert "Restart: fixes it, but not now. etcd-manager" in told.plain
    assert "Restart it (command below)" not in told.plain


def test_where_the_old_file_must_go_first_and_the_group_is_not_safe_nothing_is_to_be_typed_now():
    found, facts = own()
    found = replace(found, remedy=replace(found.remedy, kind=RemedyKind.REISSUE_AND_RESTART, helps=Helps.NO))
    unsafe = Gate(name=GateName.SAFE, passed=False, why="0 of 3 members serve good certificates", opens="fix etcd-b")
    decision = replace(decided(found, facts, "notify"), gates=(unsafe,))
    told = compose(MessageKind.OPENED, found, decision=decision)
    assert told.title.endswith("certificate expired: do NOT restart it now")
    assert "without the old file fixes it, but do NOT restart it now: 0 of 3 members" in told.plain.splitlines()[0]
    assert "\nType later, not now: " in told.plain
    alone = compose(MessageKind.OPENED, found, decision=replace(decision, gates=()))
    assert "move the old file away first (commands below)" in alone.plain.splitlines()[0]


def test_where_it_is_only_another_members_turn_nothing_is_asked_of_the_reader():
    found, facts = own()
    decision = decided(found, facts, "remedy")
    turn = Gate(name=GateName.TURN, passed=False, why="etcd-b comes first", opens="wait until it serves a good one")
    told = compose(
        MessageKind.OPENED,
        found,
        decision=replace(decision, action=None, gates=(*decision.gates, turn), reason="-", waits_for=WaitsFor.TURN),
    )
    assert told.title.endswith("certificate expired: certmedic waits its turn")
    assert "certmedic restarts it when its turn comes" in told.plain.splitlines()[0]


def test_a_forecast_still_asks_for_a_plan_where_no_restart_may_be_made_now():
    found, facts = own(cause=Cause.EXPIRES_SOON)
    unsafe = Gate(name=GateName.SAFE, passed=False, why="too few")
    decision = replace(decided(found, facts, "notify"), gates=(unsafe,))
    assert compose(MessageKind.OPENED, found, decision=decision).title.endswith("plan a restart")


def test_where_a_person_may_allow_the_cure_the_first_line_says_with_what():
    found, facts = own()
    policy = decide.Policy(mode="approve", restart=("etcd-manager",), cooldown=15 * MINUTE, per_day=2)
    history = decide.History(started_at=NOW - values.DAY, incident=12)
    told = compose(MessageKind.OPENED, found, decision=decide.decide(found, facts, history, policy))
    assert told.title == "master-a: etcd main: certificate expired: allow the fix: sudo certmedic approve 12"
    assert "Allow certmedic to fix it, with sudo certmedic approve 12, or do it yourself" in told.plain.splitlines()[0]
    assert f"Type one of:\n  sudo certmedic approve 12\n  {found.remedy.command}" in told.plain


@pytest.mark.parametrize(
    ("mode", "history", "head"),
    [
        ("notify", {}, "Type: "),
        ("remedy", {}, "Type, if it fails: "),
        ("remedy", {"troubled": ("x",)}, "Type later, not now: "),
    ],
)
def test_what_is_to_be_typed_stands_under_a_head_that_says_when(mode, history, head):
    found, facts = own()
    policy = decide.Policy(mode=mode, restart=("etcd-manager",), cooldown=15 * MINUTE, per_day=2)
    history = decide.History(started_at=NOW - values.DAY, **history)
    told = compose(MessageKind.OPENED, found, decision=decide.decide(found, facts, history, policy))
    assert f"\n{head}{found.remedy.command}\n" in told.plain


def test_where_it_signs_anew_in_place_nothing_speaks_of_a_restart_that_it_makes():
    found, facts = own()
    facts = replace(facts, signable=frozenset({found.certificates[0].path}))
    policy = decide.Policy(mode="remedy", restart=(), cooldown=15 * MINUTE, per_day=2, renew=True)
    decision = decide.decide(found, facts, decide.History(started_at=NOW - values.DAY), policy)
    assert decision.action is not None
    told = compose(MessageKind.OPENED, found, decision=decision)
    assert told.title.endswith("certificate expired: certmedic renews it")
    assert "restarts it" not in told.plain
    told = compose(MessageKind.ACTED, found, decision=decision, outcome="renewed me.crt in place")
    assert told.title.endswith("certificate expired: renewed, verifying")
    assert "certmedic renewed the certificate of etcd main, because" in told.plain
    assert "restarted" not in told.plain


def test_where_a_restart_keeps_the_old_file_the_first_line_warns_of_it():
    found, facts = own(old=True)
    told = compose(MessageKind.OPENED, found, decision=decided(found, facts, "remedy"))
    assert "A restart alone does NOT fix it" in told.plain.splitlines()[0]
    assert told.title.endswith("a restart does NOT fix it")
    assert "Restart: does NOT fix it. etcd-manager 3.0.20200307 keeps an expired certificate" in told.plain
    assert "does nothing itself: no restart is known to fix this" in told.plain


def test_a_neighbours_fault_names_the_neighbour_and_keeps_hands_off_this_machine():
    told = compose(MessageKind.OPENED, neighbour())
    assert told.title == "master-a: 10.0.0.2: certificate expired: look there, not here"
    first = told.plain.splitlines()[0]
    assert "the certificate of 10.0.0.2 has expired" in first
    assert "Do not restart anything on this machine" in first
    assert told.severity is Severity.WARNING


def test_a_neighbour_that_no_line_names_is_still_one():
    assert "a neighbour" in compose(MessageKind.OPENED, neighbour(neighbours=())).title


@pytest.mark.parametrize("cause", list(Cause))
@pytest.mark.parametrize("suspect", list(Suspect))
@pytest.mark.parametrize("kind", OF_ONE)
def test_every_cause_suspect_and_kind_has_its_words(cause, suspect, kind):
    found, facts = own(cause=cause, suspect=suspect)
    told = compose(kind, found, decision=decided(found, facts, "notify"), outcome="It is so.", opened_at=NOW - MINUTE)
    for text in (told.title, told.plain, told.markdown, told.html):
        assert HOST in text
        assert "{}" not in text
        assert "None" not in text


@pytest.mark.parametrize("helps", list(Helps))
@pytest.mark.parametrize("kind", list(RemedyKind))
def test_title_and_first_line_never_contradict_the_remedy(kind, helps):
    found, _ = own(remedy=Remedy(kind=kind, helps=helps, why="So it is."))
    told = compose(MessageKind.OPENED, found)
    first = told.plain.splitlines()[0]
    assert ("that fixes it" in first) == (helps is Helps.YES)
    assert ("does NOT fix it" in first) == (helps is Helps.NO)
    assert ("does NOT" in told.title) == (helps is Helps.NO)
    assert "Type:" not in told.plain  # nothing to type, no empty head


def test_a_forecast_tells_the_day_and_to_plan():
    facts = values.facts(values.member(peer_ends=NOW + 6 * values.DAY))
    (found,) = verdict.survey(facts, warn_within=timedelta(days=7))
    told = compose(MessageKind.OPENED, found)
    assert told.title.endswith("certificate expires in 6 days: plan a restart")
    assert told.plain.startswith("master-a: the certificate of etcd main expires in 6 days. A restart renews it")
    assert "Expires: 2026-11-30 15:40:00 UTC (in 6 days)" in told.plain
    assert told.severity is Severity.WARNING


def test_a_certificate_from_the_future_is_not_called_expired():
    early = values.PEERS_CA.leaf("etcd-a", not_before=NOW + MINUTE, not_after=NOW + values.DAY)
    stored = values.stored(early, "/x/me.crt")
    found, _ = own(cause=Cause.NOT_YET_VALID, certificates=(stored.certificate,))
    assert "valid only from 2026-11-24 15:41:00 UTC" in compose(MessageKind.OPENED, found).plain


def test_gates_that_are_in_the_way_are_told_but_not_all_of_them():
    found, facts = own()
    policy = decide.Policy(mode="notify", restart=(), cooldown=15 * MINUTE, per_day=0)
    decision = decide.decide(found, facts, decide.History(started_at=NOW + MINUTE, troubled=("10.0.0.2",)), policy)
    line = next(
        line
        for line in compose(MessageKind.OPENED, found, decision=decision).plain.splitlines()
        if line.startswith("certmedic:")
    )
    assert "before this agent started" in line
    assert "other members are refused too (10.0.0.2)" in line
    assert line.count(";") >= 2
    assert 'mode is "notify"' not in line  # the fourth reason is in `certmedic show`


@pytest.mark.parametrize(("closed", "shown"), [(1, 1), (3, 3), (4, 3)])
def test_three_closed_gates_are_named_at_most(closed, shown):
    gates = tuple(Gate(name=name, passed=False, why=f"why-{name}") for name in list(GateName)[3 : 3 + closed])
    subject, _ = own()
    text = compose(MessageKind.OPENED, subject, decision=Decision(reason="r", gates=gates)).plain
    assert text.count("why-") == shown


def test_acted_says_what_was_done_and_that_more_follows():
    found, facts = own()
    told = compose(MessageKind.ACTED, found, decision=decided(found, facts, "remedy"), outcome="c1 was restarted.")
    assert told.title == "master-a: etcd main: certificate expired: restarted, verifying"
    assert "Done: c1 was restarted." in told.plain
    assert "the result follows" in told.plain.splitlines()[0]
    assert told.severity is Severity.CRITICAL


def test_resolved_tells_the_verified_fact_and_is_no_alarm():
    found, _ = own()
    fact = "me.crt is valid until 2028-11-23 15:40:00 UTC, and 127.0.0.1:2380 serves it"
    told = compose(MessageKind.RESOLVED, found, outcome=fact, opened_at=NOW - 4 * MINUTE)
    assert told.title.endswith("RESOLVED")
    assert fact in told.plain
    assert "resolved after 4 minutes" in told.plain.splitlines()[0]
    assert told.severity is Severity.INFO
    assert "Type:" not in told.plain


def test_escalated_says_what_was_tried_what_to_do_next_and_that_it_stops():
    found, facts = own()
    told = compose(
        MessageKind.ESCALATED, found, decision=decided(found, facts, "remedy"), outcome="me.crt is still the old one."
    )
    assert "NOT FIXED, a person is needed" in told.title
    assert "Tried: me.crt is still the old one." in told.plain
    assert "Next: Find out why" in told.plain
    assert "should have fixed it" in told.plain
    assert "restarts it now" not in told.plain  # the decision of then is not news


def test_a_reminder_says_for_how_long_and_does_not_announce_an_act_of_the_past():
    found, facts = own()
    told = compose(
        MessageKind.REMINDER, found, decision=decided(found, facts, "remedy"), opened_at=NOW - timedelta(hours=6)
    )
    assert "still open after 6 hours" in told.plain.splitlines()[0]
    assert "still open" in told.title
    assert "restarts it" not in told.plain + told.title


@pytest.mark.parametrize("kind", OF_ONE)
def test_title_and_first_line_begin_with_mark_and_host(kind):
    # The drill marks its messages by the name of its host.
    diagnosis, _ = own()
    written = compose(kind, diagnosis, host="[DRILL] a", outcome="It is so.", mark="[TEST] ")
    for text in (written.title, written.plain, written.markdown.replace("`", ""), text_of(written.html)):
        assert text.startswith("[TEST] [DRILL] a: ")


def test_the_test_message_is_no_alarm():
    told = message.test_message(HOST, NOW)
    assert told.severity is Severity.INFO
    assert "Nothing is wrong" in told.plain
    assert HOST in told.title


# ---------------------------------------------------------------- what it may not grow to


def test_evidence_goes_first_then_files_and_what_is_left_ends_with_a_whole_line():
    found, facts = own()
    many = tuple(replace(found.certificates[0], path=f"/mnt/volume/{n:03}/" + "x" * 90) for n in range(9))
    long = replace(found, certificates=many, evidence=tuple(f"line {n} " + "e" * 300 for n in range(12)))
    told = compose(MessageKind.OPENED, long, decision=decided(found, facts, "notify"))
    for text in (told.plain, told.markdown):
        assert len(told.title) + 1 + len(text) <= 1900
        assert "line 11" not in text
        assert "and 7 more" in text
        assert found.remedy.command in text
        assert "certmedic show 12" in text
    assert "line 11" in told.html
    assert "/mnt/volume/008" in told.html


def test_a_command_is_never_cut_into_another_command():
    found, _ = own()
    typed = (run("sudo", "rm", "-f", *(f"/mnt/volume/{n:04}/me.crt" for n in range(60))),)
    told = compose(MessageKind.OPENED, replace(found, remedy=replace(found.remedy, commands=typed)))
    assert "sudo rm" not in told.plain + told.markdown + told.html
    assert "Type: sudo certmedic show 12  # the command is too long for a message" in re.sub(r" +#", "  #", told.plain)


hostile = st.one_of(
    st.text(max_size=60),
    st.lists(
        st.sampled_from(
            [
                "@everyone", "@here", "<!channel>", "<@U12345>", "<!here|x>", "@all", "\uff20everyone", "@\u200beveryone",
                "http://evil.example/x", "HTTPS://e", "www.evil.example", "[a](javascript:x)", "![i](//e/x.png)", "[a][b]",
                "`", "```\n", "**b**", "_i_", "~~s~~", "||s||", "# h", "> q", "<b>", "</code>", "<script>", "&lt;b&gt;", ":fire:",
                "\u202e", "\u2066", "\x1b[31m", "\r", "\x00", "\x85", "\u2028", "\ud800", "a.example", "\n- x", "$(id)", "\\`",
            ]
        ),
        max_size=12,
    ).map("".join),
    st.text(min_size=1, max_size=20).map(lambda text: text * 200),
)  # fmt: skip


@st.composite
def diagnoses(draw):
    """A diagnosis in which every word that can come from strangers is hostile."""
    found, _ = own()
    suspect = draw(st.sampled_from(list(Suspect)))
    return replace(
        found,
        cause=draw(st.sampled_from(list(Cause))),
        suspect=suspect,
        group=draw(st.sampled_from(["", "main"])),
        certificates=tuple(
            replace(found.certificates[0], path=draw(hostile), subject_cn=draw(hostile))
            for _ in range(draw(st.integers(0, 5)))
        ),
        evidence=tuple(draw(st.lists(hostile, max_size=12))),
        effect=draw(hostile),
        remedy=replace(
            found.remedy,
            why=draw(hostile),
            commands=draw(st.sampled_from([found.remedy.commands, (run("mv", draw(hostile), "x"),)])),
        ),
        neighbours=tuple(draw(st.lists(hostile, max_size=8))),
    )


class Strict(HTMLParser):
    """Takes only the few tags that a message is made of, all closed, without attributes."""

    ALLOWED = frozenset({"p", "b", "br", "code", "ul", "li"})

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open = []
        self.text = []

    def handle_starttag(self, tag, attrs):
        assert tag in self.ALLOWED, tag
        assert not attrs
        self.open.append(tag)
        if tag not in ("b", "code"):  # what begins a line is no part of the one before
            self.text.append("\n")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def handle_comment(self, data):
        raise AssertionError(data)

    handle_decl = handle_pi = unknown_decl = handle_comment


def text_of(html):
    parser = Strict()
    parser.feed(html)
    parser.close()
    assert not parser.open
    return "".join(parser.text).lstrip()


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # how fast the machine is proves nothing
@given(
    found=diagnoses(),
    kind=st.sampled_from(OF_ONE),
    outcome=hostile,
    host=hostile,
)
def test_words_of_strangers_call_nobody_format_nothing_link_nowhere_and_hide_nothing(found, kind, outcome, host):
    told = compose(kind, found, outcome=outcome, host=host, opened_at=NOW - MINUTE)
    told.html.encode(), told.plain.encode(), told.markdown.encode()  # no lone surrogate

    assert len(told.title) <= 120
    assert "\n" not in told.title
    assert len(told.title) + 1 + len(told.plain) <= 1900
    assert len(told.title) + 1 + len(told.markdown) <= 1900

    for text in (told.title, told.plain, told.markdown, text_of(told.html)):
        assert "@" not in text
        assert "\uff20" not in text
        assert "<" not in text
        assert "://" not in text
        assert "](" not in text
        assert not re.search(r"(?i)\bwww\.", text)
        assert not [c for c in text if c != "\n" and not c.isprintable()], ascii(text)
    for text in (told.title, told.plain):
        assert "`" not in text

    for line in told.markdown.splitlines():
        assert line.count("`") % 2 == 0
        bare = re.sub(r"`[^`]*`", "", line)  # all that is not code
        bare = re.sub(r"^( *- )?(\*[A-Za-z ]+:\*)?", "", bare)  # our own marks
        assert not re.search(r"[\\*_~|#\[\]{}<>$^=+/]", bare), line
        assert not re.search(r"\w\.\w|:[A-Za-z]\w*:", bare), line


@settings(deadline=None)
@given(hostile)
def test_harmless_text_stays_harmless_and_honest_text_stays_as_it_is(text):
    once = words.harmless(text)
    assert words.harmless(once) == once
    assert "".join(piece for _, piece in words.spans(once)) == once


@pytest.mark.parametrize(
    "line",
    [
        'rejected connection from "10.0.0.2:51234" (error "remote error: tls: bad certificate", ServerName "etcd-a.internal.example")',
        "x509: certificate has expired or is not yet valid: current time 2026-11-24T15:40:00Z is after 2026-11-24T15:31:00Z",
        "/mnt/master-vol-01/pki/T0k_en-x/peers/me.crt: expired",
        "dial tcp [::1]:2379: connect: connection refused",
    ],
)
def test_what_real_programs_log_is_shown_as_it_was(line):
    assert words.harmless(line) == line


def test_an_address_in_a_line_can_be_read_but_is_no_link():
    assert words.harmless('endpoint "https://10.0.0.2:2380"') == 'endpoint "https: //10.0.0.2:2380"'


def test_a_command_of_ours_is_shown_as_it_is_to_be_typed():
    found, facts = own(old=True)
    typed = found.remedy.command
    assert "&&" in typed
    assert "$(" in typed
    told = compose(MessageKind.OPENED, found, decision=decided(found, facts, "notify"))
    assert f"Type: {typed}\n" in told.plain
    assert f"`{typed}`" in told.markdown
    assert typed in text_of(told.html)
    assert message.event_fields("opened", found, incident=1, decision=None)["CERTMEDIC_COMMAND"] == typed


def test_a_field_of_the_journal_never_holds_half_a_command():
    found, _ = own()
    long = replace(found.remedy, commands=(run("rm", *(f"/mnt/{n}/me.crt" for n in range(200))),))
    fields = message.event_fields("opened", replace(found, remedy=long), incident=12, decision=None)
    assert fields["CERTMEDIC_COMMAND"] == "sudo certmedic show 12"


@pytest.mark.parametrize(("path", "shown"), [("/x/me.crt", "/x/me.crt"), ("/x/$(id).crt", "CERTIFICATE-FILE")])
def test_the_run_books_commands_name_a_plain_path_or_none(path, shown):
    found, _ = own()
    found = replace(found, certificates=(replace(found.certificates[0], path=path),))
    fields = message.event_fields("opened", found, incident=1, decision=None)
    assert (fields["CERTMEDIC_CERT"], fields["CERTMEDIC_FILE"]) == (path, shown)
