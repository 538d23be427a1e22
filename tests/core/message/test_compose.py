"""Messages about incidents: their title and first line, their three formats, and text of strangers in them."""

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
from certmedic.core.message.render import TITLE
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
from certmedic.core.text import cut
from labs import letters, values
from labs.values import NOW

HOST = "master-a"
MINUTE = timedelta(minutes=1)


def own(*, old=False, **more):
    """Return the diagnosis and facts for an etcd whose peer certificate expired nine minutes ago."""
    image = values.OLD_IMAGE if old else values.NEW_IMAGE
    facts = values.facts(values.member(peer_ends=NOW - 9 * MINUTE), containers=(values.container(image=image),))
    (expired,) = verdict.survey(facts, warn_within=timedelta())
    expired = replace(expired, count=312, first_seen=NOW - 9 * MINUTE, last_seen=NOW, **more)
    return expired, facts


def decided(diagnosis, facts, mode):
    policy = decide.Policy(mode=mode, restart=("etcd-manager",), cooldown=15 * MINUTE, per_day=2)
    return decide.decide(diagnosis, facts, decide.History(started_at=NOW - values.DAY), policy)


def neighbour(**more):
    usual = {
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
    return Diagnosis(**(usual | more))


OF_ONE = [kind for kind in MessageKind if kind is not MessageKind.DIGEST]  # about one incident


def compose(kind, diagnosis, **more):
    return message.compose(kind, diagnosis, **({"incident": 12, "host": HOST, "now": NOW} | more))


# ---------------------------------------------------------------- title and first line


def test_message_begins_with_host_verdict_and_action_and_lists_all_facts():
    diagnosis, facts = own()
    composed = compose(MessageKind.OPENED, diagnosis, decision=decided(diagnosis, facts, "notify"))
    assert composed.title == "[CRITICAL] master-a: etcd main: certificate expired: restart etcd-manager"
    first, _, _rest = composed.plain.partition("\n")
    assert first == (
        "master-a: the etcd peer certificate of group main expired 9 minutes ago, on 2026-11-24 15:31 UTC."
        " Restart etcd-manager (command below): that fixes it."
    )
    for needed in (
        f"File: {values.VOLUME}/peers/me.crt (etcd peer certificate)",
        f"Breaks: {diagnosis.effect}",
        "Fix: A restart fixes it. etcd-manager 3.0.20210228 reissues this certificate at every start",
        f"Type: {diagnosis.remedy.command}",
        'certmedic: does not act: mode is "notify" (to pass: set mode = "remedy").',
        "certmedic show 12",
    ):
        assert needed in composed.plain, needed
    assert composed.severity is Severity.CRITICAL


@pytest.mark.parametrize("kind", [kind for kind in MessageKind if kind is not MessageKind.DIGEST])
def test_cluster_stands_before_the_machine_in_title_and_first_line(kind):
    diagnosis, facts = own()
    more = {"decision": decided(diagnosis, facts, "notify"), "outcome": "It is so."}
    composed = compose(kind, diagnosis, cluster="prod.example.com", **more)
    alone = compose(kind, diagnosis, **more)
    assert composed.title == cut(alone.title.replace(HOST, f"prod.example.com {HOST}"), TITLE)
    first, same = composed.plain.splitlines()[0], alone.plain.splitlines()[0]
    assert first == same.replace(HOST, f"prod.example.com {HOST}", 1)
    long = compose(kind, diagnosis, cluster="c" * 100, host="h" * 100, **more)
    assert "c" * 47 + "… " + "h" * 47 + "…: etcd main" in long.title
    assert len(long.title) <= TITLE


def test_plain_markdown_and_html_have_the_same_text():
    diagnosis, facts = own()
    composed = compose(MessageKind.OPENED, diagnosis, decision=decided(diagnosis, facts, "notify"))
    bare = re.sub(r"[`*]|^ *- ", "", composed.markdown, flags=re.MULTILINE)
    assert re.sub(r"\s+", " ", bare) == re.sub(r"\s+", " ", composed.plain)
    assert re.sub(r"\s+", "", text_of(composed.html)) == re.sub(r"\s+", "", composed.plain)


def test_first_line_announces_the_agents_action_and_asks_nothing():
    diagnosis, facts = own()
    composed = compose(MessageKind.OPENED, diagnosis, decision=decided(diagnosis, facts, "remedy"))
    assert "certmedic restarts etcd-manager now. Nothing for you to do yet" in composed.plain.splitlines()[0]
    assert composed.title.endswith("certmedic restarts etcd-manager")


def test_first_line_forbids_a_restart_that_could_cost_the_quorum():
    diagnosis, facts = own()
    policy = decide.Policy(mode="remedy", restart=("etcd-manager",), cooldown=15 * MINUTE, per_day=2)
    history = decide.History(started_at=NOW - values.DAY, troubled=("10.0.0.2",))
    composed = compose(MessageKind.OPENED, diagnosis, decision=decide.decide(diagnosis, facts, history, policy))
    assert composed.title == "[CRITICAL] master-a: etcd main: certificate expired: do NOT restart it now"
    first = composed.plain.splitlines()[0]
    assert "Do NOT restart it now: other members are refused too (10.0.0.2)" in first
    assert "Fix: A restart fixes it, but not now. etcd-manager" in composed.plain
    assert "Restart etcd-manager" not in composed.plain


def test_reissue_is_for_later_while_the_group_is_not_safe():
    diagnosis, facts = own()
    diagnosis = replace(
        diagnosis, remedy=replace(diagnosis.remedy, kind=RemedyKind.REISSUE_AND_RESTART, helps=Helps.NO)
    )
    unsafe = Gate(name=GateName.SAFE, passed=False, why="0 of 3 members serve good certificates", opens="fix etcd-b")
    decision = replace(decided(diagnosis, facts, "notify"), gates=(unsafe,))
    composed = compose(MessageKind.OPENED, diagnosis, decision=decision)
    assert composed.title.endswith("certificate expired: do NOT restart it now")
    assert (
        "Do NOT restart it now: 0 of 3 members serve good certificates. Fix etcd-b." in composed.plain.splitlines()[0]
    )
    assert "\nType later, not now: " in composed.plain
    alone = compose(MessageKind.OPENED, diagnosis, decision=replace(decision, gates=()))
    assert "Move the old file away, then restart (command below)" in alone.plain.splitlines()[0]


def test_message_asks_nothing_while_the_agent_waits_for_its_turn():
    diagnosis, facts = own()
    decision = decided(diagnosis, facts, "remedy")
    turn = Gate(name=GateName.TURN, passed=False, why="etcd-b comes first", opens="wait until it serves a good one")
    composed = compose(
        MessageKind.OPENED,
        diagnosis,
        decision=replace(decision, action=None, gates=(*decision.gates, turn), reason="-", waits_for=WaitsFor.TURN),
    )
    assert composed.title.endswith("certificate expired: certmedic waits its turn")
    assert "certmedic restarts etcd-manager when its turn comes" in composed.plain.splitlines()[0]


def test_expiry_warning_asks_for_a_plan_even_if_no_restart_is_safe_now():
    diagnosis, facts = own(cause=Cause.EXPIRES_SOON)
    unsafe = Gate(name=GateName.SAFE, passed=False, why="too few")
    decision = replace(decided(diagnosis, facts, "notify"), gates=(unsafe,))
    assert compose(MessageKind.OPENED, diagnosis, decision=decision).title.endswith("plan a restart")


def test_first_line_gives_the_command_that_approves_the_fix():
    diagnosis, facts = own()
    policy = decide.Policy(mode="approve", restart=("etcd-manager",), cooldown=15 * MINUTE, per_day=2)
    history = decide.History(started_at=NOW - values.DAY, incident=12)
    composed = compose(MessageKind.OPENED, diagnosis, decision=decide.decide(diagnosis, facts, history, policy))
    assert (
        composed.title
        == "[CRITICAL] master-a: etcd main: certificate expired: allow the fix: sudo certmedic approve 12"
    )
    assert "Allow certmedic to fix it: sudo certmedic approve 12" in composed.plain.splitlines()[0]
    assert f"Type one of:\n  sudo certmedic approve 12\n  {diagnosis.remedy.command}" in composed.plain


@pytest.mark.parametrize(
    ("mode", "history", "head"),
    [
        ("notify", {}, "Type: "),
        ("remedy", {}, "Type, if it fails: "),
        ("remedy", {"troubled": ("x",)}, "Type later, not now: "),
    ],
)
def test_heading_of_the_commands_says_when_to_type_them(mode, history, head):
    diagnosis, facts = own()
    policy = decide.Policy(mode=mode, restart=("etcd-manager",), cooldown=15 * MINUTE, per_day=2)
    history = decide.History(started_at=NOW - values.DAY, **history)
    composed = compose(MessageKind.OPENED, diagnosis, decision=decide.decide(diagnosis, facts, history, policy))
    assert f"\n{head}{diagnosis.remedy.command}\n" in composed.plain


def test_message_about_a_renewal_in_place_mentions_no_restart():
    diagnosis, facts = own()
    facts = replace(facts, signable=frozenset({diagnosis.certificates[0].path}))
    policy = decide.Policy(mode="remedy", restart=(), cooldown=15 * MINUTE, per_day=2, renew=True)
    decision = decide.decide(diagnosis, facts, decide.History(started_at=NOW - values.DAY), policy)
    assert decision.action is not None
    composed = compose(MessageKind.OPENED, diagnosis, decision=decision)
    assert composed.title.endswith("certificate expired: certmedic renews it")
    assert "restarts it" not in composed.plain
    composed = compose(MessageKind.RESOLVED, diagnosis, decision=decision, outcome="me.crt is valid until 2028")
    assert "Done: certmedic renewed the certificate of etcd main in place." in composed.plain
    assert "restarted" not in composed.plain


def test_first_line_warns_if_a_restart_keeps_the_old_file():
    diagnosis, facts = own(old=True)
    composed = compose(MessageKind.OPENED, diagnosis, decision=decided(diagnosis, facts, "remedy"))
    assert "Move the old file away, then restart (command below)." in composed.plain.splitlines()[0]
    assert composed.title.endswith("move the old file, then restart")
    assert "Fix: A restart alone does not fix it. etcd-manager 3.0.20200307 keeps an expired" in composed.plain
    assert "certmedic: does not act. To change that: set remedy.reissue" in composed.plain


@pytest.mark.parametrize("ends", [NOW - MINUTE, NOW + MINUTE])
@pytest.mark.parametrize("cluster", ["", "production.eu-central-1.example.com"])
def test_message_for_a_group_always_has_room_for_the_other_masters(cluster, ends):
    facts = values.facts(letters.of_kubeadm(ends=ends))
    (diagnosis,) = verdict.survey(facts, warn_within=values.DAY)
    composed = compose(
        MessageKind.OPENED,
        diagnosis,
        decision=decided(diagnosis, facts, "notify"),
        cluster=cluster,
        host=f"{HOST}.{cluster}",
        outcome="master-b, master-c",
    )
    assert len(diagnosis.certificates) == 10
    for text in (composed.plain, composed.markdown, text_of(composed.html)):
        assert "master-b, master-c" in text
        assert "This message is for all of them" in text


def test_message_about_a_peer_names_it_and_advises_against_a_restart_here():
    composed = compose(MessageKind.OPENED, neighbour())
    assert composed.title == "[WARNING] master-a: 10.0.0.2: certificate expired: fix it there, not here"
    first = composed.plain.splitlines()[0]
    assert "the certificate of 10.0.0.2 expired 1 minute ago" in first
    assert "A restart on this machine does not help." in first
    assert composed.severity is Severity.WARNING


def test_peer_without_a_known_address_is_called_a_neighbour():
    assert "a neighbour" in compose(MessageKind.OPENED, neighbour(neighbours=())).title


@pytest.mark.parametrize("cause", list(Cause))
@pytest.mark.parametrize("suspect", list(Suspect))
@pytest.mark.parametrize("kind", OF_ONE)
def test_every_cause_suspect_and_kind_has_its_text(cause, suspect, kind):
    diagnosis, facts = own(cause=cause, suspect=suspect)
    composed = compose(
        kind, diagnosis, decision=decided(diagnosis, facts, "notify"), outcome="It is so.", opened_at=NOW - MINUTE
    )
    for text in (composed.title, composed.plain, composed.markdown, composed.html):
        assert HOST in text
        assert "{}" not in text
        assert "None" not in text


@pytest.mark.parametrize("helps", list(Helps))
@pytest.mark.parametrize("kind", list(RemedyKind))
def test_title_and_first_line_never_contradict_the_remedy(kind, helps):
    diagnosis, _ = own(remedy=Remedy(kind=kind, helps=helps, why="So it is."))
    composed = compose(MessageKind.OPENED, diagnosis)
    first = composed.plain.splitlines()[0]
    assert ("that fixes it" in first) == (helps is Helps.YES)
    by_hand = kind in (RemedyKind.RENEW, RemedyKind.REISSUE_AND_RESTART)
    assert ("does NOT fix it" in first) == ("does NOT" in composed.title) == (helps is Helps.NO and not by_hand)
    assert "Type:" not in composed.plain  # without a command there is no heading


def test_expiry_warning_gives_the_day_and_asks_for_a_plan():
    facts = values.facts(values.member(peer_ends=NOW + 6 * values.DAY))
    (diagnosis,) = verdict.survey(facts, warn_within=timedelta(days=7))
    composed = compose(MessageKind.OPENED, diagnosis)
    assert composed.title.endswith("certificate expires in 6 days: plan a restart")
    assert composed.plain.startswith(
        "master-a: the etcd peer certificate of group main expires in 6 days, on 2026-11-30 15:40 UTC. Plan a restart before then"
    )
    assert composed.severity is Severity.WARNING


def test_certificate_that_is_not_yet_valid_is_not_called_expired():
    early = values.PEERS_CA.leaf("etcd-a", not_before=NOW + MINUTE, not_after=NOW + values.DAY)
    stored = values.stored(early, "/x/me.crt")
    diagnosis, _ = own(cause=Cause.NOT_YET_VALID, certificates=(stored.certificate,))
    assert "valid only from 2026-11-24 15:41 UTC" in compose(MessageKind.OPENED, diagnosis).plain


def test_message_gives_the_reasons_of_the_first_closed_gates_only():
    diagnosis, facts = own()
    policy = decide.Policy(mode="notify", restart=(), cooldown=15 * MINUTE, per_day=0)
    decision = decide.decide(diagnosis, facts, decide.History(started_at=NOW + MINUTE, troubled=("10.0.0.2",)), policy)
    line = next(
        line
        for line in compose(MessageKind.OPENED, diagnosis, decision=decision).plain.splitlines()
        if line.startswith("certmedic:")
    )
    assert "before this agent started" in line
    assert line.endswith(" And 3 more reasons.")  # `certmedic show` gives them
    assert 'mode is "notify"' not in line


@pytest.mark.parametrize(("closed", "rest"), [(1, ""), (2, " And 1 more reason."), (4, " And 3 more reasons.")])
def test_message_names_one_closed_gate_and_counts_the_others(closed, rest):
    gates = tuple(Gate(name=name, passed=False, why=f"why-{name}") for name in list(GateName)[3 : 3 + closed])
    subject, _ = own()
    text = compose(MessageKind.OPENED, subject, decision=Decision(reason="r", gates=gates)).plain
    assert f"certmedic: does not act: why-CA valid.{rest}\n" in text


def test_end_after_a_failed_action_says_that_certmedic_acts_no_more():
    diagnosis, facts = own()
    decision = decided(diagnosis, facts, "remedy")
    for failed in (True, False):
        text = compose(MessageKind.RESOLVED, diagnosis, decision=decision, failed=failed, outcome="It is good.").plain
        assert ("sudo certmedic reset" in text) is failed
        assert ("Done: certmedic restarted etcd-manager." in text) is not failed


def test_resolved_message_gives_the_verified_fact_as_information():
    diagnosis, _ = own()
    fact = "me.crt is valid until 2028-11-23 15:40:00 UTC, and 127.0.0.1:2380 serves it"
    composed = compose(MessageKind.RESOLVED, diagnosis, outcome=fact, opened_at=NOW - 4 * MINUTE)
    assert composed.title == "[RESOLVED] master-a: etcd main: certificate expired: resolved"
    assert fact in composed.plain
    assert "resolved after 4 minutes" in composed.plain.splitlines()[0]
    assert composed.severity is Severity.INFO
    assert "Type:" not in composed.plain


def test_end_of_a_fault_that_other_members_still_have_names_them_first():
    """Whoever reads the title alone must not take it for the end of all."""
    diagnosis, _ = own()
    composed = compose(
        MessageKind.RESOLVED, diagnosis, outcome="It is good.", sick="etcd-b, etcd-c", opened_at=NOW - MINUTE
    )
    assert (
        composed.title
        == "[RESOLVED] master-a: etcd main: certificate expired: resolved here, not yet on etcd-b, etcd-c"
    )
    assert composed.plain.startswith("master-a: resolved after 1 minute here, not yet on etcd-b, etcd-c. It was: ")


def test_escalation_says_what_was_tried_and_what_to_do_next():
    diagnosis, facts = own()
    composed = compose(
        MessageKind.ESCALATED,
        diagnosis,
        decision=decided(diagnosis, facts, "remedy"),
        outcome="me.crt is still the old one.",
    )
    assert "NOT FIXED, a person is needed" in composed.title
    assert "Tried: to restart etcd-manager: me.crt is still the old one." in composed.plain
    assert "certmedic: does nothing more until a person types: sudo certmedic reset" in composed.plain
    assert composed.severity is Severity.CRITICAL
    assert "should have fixed it" in composed.plain
    assert "restarts it now" not in composed.plain  # the message does not repeat the old decision


def test_reminder_gives_the_duration_and_announces_no_past_action():
    diagnosis, facts = own()
    composed = compose(
        MessageKind.REMINDER,
        diagnosis,
        decision=decided(diagnosis, facts, "remedy"),
        opened_at=NOW - timedelta(hours=6),
    )
    assert "still open after 6 hours" in composed.plain.splitlines()[0]
    assert "still open" in composed.title
    assert "restarts it" not in composed.plain + composed.title


@pytest.mark.parametrize("kind", OF_ONE)
def test_title_and_each_format_begin_with_mark_and_host(kind):
    # The drill marks its messages in the host name.
    diagnosis, _ = own()
    written = compose(kind, diagnosis, host="[DRILL] a", outcome="It is so.", mark="[TEST] ")
    for text in (written.title, written.plain, written.markdown.replace("`", ""), text_of(written.html)):
        assert text.startswith("[TEST] [DRILL] a: ")


def test_test_message_is_information():
    composed = message.test_message(HOST, NOW)
    assert composed.severity is Severity.INFO
    assert "Nothing is wrong" in composed.plain
    assert HOST in composed.title


# ---------------------------------------------------------------- limits


def test_long_message_drops_files_and_facts_but_keeps_the_commands():
    diagnosis, facts = own()
    many = tuple(replace(diagnosis.certificates[0], path=f"/mnt/volume/{n:03}/" + "x" * 90) for n in range(9))
    long = replace(diagnosis, certificates=many, evidence=tuple(f"line {n} " + "e" * 300 for n in range(12)))
    composed = compose(MessageKind.OPENED, long, decision=decided(diagnosis, facts, "notify"))
    for text in (composed.plain, composed.markdown):
        assert len(composed.title) + 1 + len(text) <= 1200
        assert "and 7 more" in text
        assert diagnosis.remedy.command in text
        assert "certmedic show 12" in text


def test_too_long_command_is_replaced_and_never_cut():
    diagnosis, _ = own()
    typed = (run("sudo", "rm", "-f", *(f"/mnt/volume/{n:04}/me.crt" for n in range(60))),)
    composed = compose(MessageKind.OPENED, replace(diagnosis, remedy=replace(diagnosis.remedy, commands=typed)))
    assert "sudo rm" not in composed.plain + composed.markdown + composed.html
    assert "Type: sudo certmedic show 12  # the command is too long for a message" in re.sub(
        r" +#", "  #", composed.plain
    )


MENTION = re.compile(r"(?i)@(?:everyone|here|channel|all)\b|(?<![a-z0-9._-])@|@(?![a-z0-9._-])")
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
    """Return a diagnosis with hostile text in every field that strangers can fill."""
    diagnosis, _ = own()
    suspect = draw(st.sampled_from(list(Suspect)))
    return replace(
        diagnosis,
        cause=draw(st.sampled_from(list(Cause))),
        suspect=suspect,
        group=draw(st.sampled_from(["", "main"])),
        certificates=tuple(
            replace(diagnosis.certificates[0], path=draw(hostile), subject_cn=draw(hostile))
            for _ in range(draw(st.integers(0, 5)))
        ),
        evidence=tuple(draw(st.lists(hostile, max_size=12))),
        effect=draw(hostile),
        remedy=replace(
            diagnosis.remedy,
            why=draw(hostile),
            commands=draw(st.sampled_from([diagnosis.remedy.commands, (run("mv", draw(hostile), "x"),)])),
        ),
        neighbours=tuple(draw(st.lists(hostile, max_size=8))),
    )


class Strict(HTMLParser):
    """Accepts only the tags of our messages, closed and without attributes."""

    ALLOWED = frozenset({"p", "b", "br", "code", "ul", "li"})

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open = []
        self.text = []

    def handle_starttag(self, tag, attrs):
        assert tag in self.ALLOWED, tag
        assert not attrs
        self.open.append(tag)
        if tag not in ("b", "code"):  # these tags begin a new line
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


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a slow machine is no failure
@given(
    diagnosis=diagnoses(),
    kind=st.sampled_from(OF_ONE),
    outcome=hostile,
    host=hostile,
)
def test_text_of_strangers_cannot_mention_format_link_or_hide_anything(diagnosis, kind, outcome, host):
    composed = compose(kind, diagnosis, outcome=outcome, host=host, opened_at=NOW - MINUTE)
    composed.html.encode(), composed.plain.encode(), composed.markdown.encode()  # no lone surrogate

    assert len(composed.title) <= TITLE
    assert "\n" not in composed.title
    assert len(composed.title) + 1 + len(composed.plain) <= 1900
    assert len(composed.title) + 1 + len(composed.markdown) <= 1900

    for text in (composed.title, composed.plain, composed.markdown, text_of(composed.html)):
        assert not MENTION.search(text)  # a unit in a command, such as etcd@main.service, mentions nobody
        assert "\uff20" not in text
        assert "<" not in text
        assert "://" not in text
        assert "](" not in text
        assert not re.search(r"(?i)\bwww\.", text)
        assert not [c for c in text if c != "\n" and not c.isprintable()], ascii(text)
    for text in (composed.title, composed.plain):
        assert "`" not in text

    for line in composed.markdown.splitlines():
        assert line.count("`") % 2 == 0
        bare = re.sub(r"`[^`]*`", "", line)  # the text outside code
        bare = re.sub(r"^( *- )?(\*[A-Za-z ]+:\*)?", "", bare)  # our own marks
        bare = re.sub(r"(?<!\S)[/=](?!\S)", "", bare)  # alone they are markup nowhere
        assert not re.search(r"[\\*_~|#\[\]{}<>$^=+/]", bare), line
        assert not re.search(r"\w\.\w|:[A-Za-z]\w*:", bare), line


@settings(deadline=None)
@given(hostile)
def test_harmless_text_stays_the_same_if_it_is_cleaned_again(text):
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
def test_harmless_keeps_lines_of_real_programs(line):
    assert words.harmless(line) == line


def test_url_in_a_line_is_readable_but_no_link():
    assert words.harmless('endpoint "https://10.0.0.2:2380"') == 'endpoint "https: //10.0.0.2:2380"'


def test_our_command_is_verbatim_in_every_format():
    diagnosis, facts = own(old=True)
    typed = diagnosis.remedy.command
    assert "&&" in typed
    assert "$(" in typed
    composed = compose(MessageKind.OPENED, diagnosis, decision=decided(diagnosis, facts, "notify"))
    assert f"Type: {typed}\n" in composed.plain
    assert f"`{typed}`" in composed.markdown
    assert typed in text_of(composed.html)
    assert message.event_fields("opened", diagnosis, incident=1, decision=None)["CERTMEDIC_COMMAND"] == typed


def test_journal_field_never_contains_a_truncated_command():
    diagnosis, _ = own()
    long = replace(diagnosis.remedy, commands=(run("rm", *(f"/mnt/{n}/me.crt" for n in range(200))),))
    fields = message.event_fields("opened", replace(diagnosis, remedy=long), incident=12, decision=None)
    assert fields["CERTMEDIC_COMMAND"] == "sudo certmedic show 12"


@pytest.mark.parametrize(("path", "shown"), [("/x/me.crt", "/x/me.crt"), ("/x/$(id).crt", "CERTIFICATE-FILE")])
def test_run_book_commands_use_a_plain_path_or_a_placeholder(path, shown):
    diagnosis, _ = own()
    diagnosis = replace(diagnosis, certificates=(replace(diagnosis.certificates[0], path=path),))
    fields = message.event_fields("opened", diagnosis, incident=1, decision=None)
    assert (fields["CERTMEDIC_CERT"], fields["CERTMEDIC_FILE"]) == (path, shown)


def test_files_that_end_at_different_times_have_their_dates():
    diagnosis, _ = own()
    first = diagnosis.certificates[0]
    later = replace(first, path="/x/later.crt", not_after=NOW + values.DAY)
    text = compose(MessageKind.OPENED, replace(diagnosis, certificates=(first, later))).plain
    assert f"{first.path} (etcd peer certificate, expired 2026-11-24 15:31 UTC)" in text
    assert "/x/later.crt (CN etcd-a, valid until 2026-11-25 15:40 UTC)" in text


def test_restart_that_certmedic_does_not_make_is_left_to_a_person():
    diagnosis, facts = own(cause=Cause.STALE_IN_MEMORY)
    text = compose(MessageKind.OPENED, diagnosis, decision=decided(diagnosis, facts, "remedy")).plain
    assert "certmedic: restarts programs only for a certificate that expires. Restart this one by hand." in text
    assert "cannot fix" not in text
