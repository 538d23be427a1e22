from __future__ import annotations

import html
import http.server
import json
import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests

from certmedic.core import message, verdict
from certmedic.core.message import page
from certmedic.core.model import MessageKind, Severity
from certmedic.edge import notify
from certmedic.edge.notify import READ_AGAIN, AppriseNotifier, threads
from certmedic.edge.notify import attempt as attempts
from labs import receivers, values
from labs.waiting import until

pytestmark = pytest.mark.slow

TAGS = {"critical": "oncall", "warning": "team", "info": "team"}
CIRCLE = "\U0001f534"
SECRET = "S3cr3tT0kenThatNobodyMaySee"


@pytest.fixture
def mailbox():
    server = receivers.Mailbox()
    yield server
    server.close()


@pytest.fixture(scope="module")
def opened():
    facts = values.facts(values.member(peer_ends=values.NOW - timedelta(minutes=9)))
    (diagnosis,) = verdict.survey(facts, warn_within=timedelta())
    return message.compose(MessageKind.OPENED, diagnosis, incident=12, host="master-a", now=values.NOW)


def written(tmp_path, text, name="apprise.conf"):
    path = tmp_path / name
    path.write_text(text)
    return str(path)


def only(notifier, severity=Severity.CRITICAL):
    (channel,) = notifier.channels(severity)
    return channel.id


def in_child(code, **environment):
    """Run code in a new Python that can import the agent."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, "PYTHONPATH": str(Path(notify.__file__).parents[3]), **environment},
        check=True,
        capture_output=True,
        text=True,
        timeout=90,
    )


def hosts(notifier, severity):
    """Return the hosts of the channels of a severity, sorted."""
    return sorted(notifier._loaded()[channel.id].host for channel in notifier.channels(severity))


# ---------------------------------------------------------------- routing


def test_text_and_yaml_files_route_by_tag_and_untagged_gets_all(tmp_path):
    text = written(
        tmp_path,
        "# a comment\noncall=json://pager.example\nteam=json://team.example\nbilling=json://other.example\njson://all.example\n",
    )
    yaml = written(tmp_path, "urls:\n  - json://yaml.example:\n      tag: oncall, team\n", "apprise.yml")
    notifier = AppriseNotifier([text, yaml], TAGS)
    assert hosts(notifier, Severity.CRITICAL) == ["all.example", "pager.example", "yaml.example"]
    assert hosts(notifier, Severity.WARNING) == ["all.example", "team.example", "yaml.example"]
    assert hosts(notifier, Severity.INFO) == ["all.example", "team.example", "yaml.example"]
    assert notifier.faults() == ()


def test_tags_all_and_always_get_every_message(tmp_path):
    notifier = AppriseNotifier([written(tmp_path, "all=json://a.example\nalways=json://b.example\n")], TAGS)
    assert hosts(notifier, Severity.WARNING) == ["a.example", "b.example"]


def test_all_addresses_are_used_if_no_tag_is_configured(tmp_path):
    notifier = AppriseNotifier([written(tmp_path, "x=json://a.example\njson://b.example\n")], {})
    assert hosts(notifier, Severity.CRITICAL) == ["a.example", "b.example"]


def test_severity_without_a_tagged_address_goes_to_other_tags(tmp_path):
    notifier = AppriseNotifier([written(tmp_path, "team=json://team.example\nbilling=json://other.example\n")], TAGS)
    assert hosts(notifier, Severity.CRITICAL) == ["team.example"]


def test_address_in_two_files_is_one_channel_with_the_tags_of_both(tmp_path):
    first = written(tmp_path, "oncall=json://a.example/x?cto=3\n", "1.conf")
    second = written(tmp_path, "team=json://a.example/x\n", "2.conf")
    notifier = AppriseNotifier([first, second], TAGS)
    assert hosts(notifier, Severity.CRITICAL) == hosts(notifier, Severity.WARNING) == ["a.example"]
    assert notifier.channels(Severity.CRITICAL) == notifier.channels(Severity.WARNING)


def test_file_can_include_another(tmp_path):
    written(tmp_path, "oncall=json://inner.example\n", "inner.conf")
    assert hosts(AppriseNotifier([written(tmp_path, "include inner.conf\n")], TAGS), Severity.CRITICAL) == [
        "inner.example"
    ]


@pytest.mark.parametrize(
    "content",
    [
        "oncall=json://cred.example\n",
        "json://cred.example\n",
        "# whom\n\nurls:\n  - json://cred.example\n",
        "---\nversion: 1\nurls:\n  - json://cred.example:\n      tag: oncall\n",
    ],
)
def test_credentials_are_read_from_the_folder_of_systemd(tmp_path, monkeypatch, content):
    written(tmp_path, content, "apprise")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert hosts(AppriseNotifier(["credential:apprise"], TAGS), Severity.CRITICAL) == ["cred.example"]


def test_faulty_entry_is_reported_with_the_reason_of_apprise(tmp_path):
    entries = "".join(f"  - json://good.example/{number}:\n      - tag: oncall\n" for number in range(4))
    yaml = written(tmp_path, f"urls:\n{entries}  - bogus://{SECRET}\n", "channels.yml")
    text = written(tmp_path, f"json://good.example\nnonsense {SECRET}\n", "channels.conf")
    faults = AppriseNotifier([yaml, text], TAGS).faults()

    # A newer apprise does not give the number of the entry.
    assert faults[0] in (
        f"{yaml}: entry 5: apprise cannot use it: Unparseable URL",
        f"{yaml}: holds something that apprise cannot use: Unparseable URL",
    )
    assert faults[1:] in [
        (f"{text}: line 2: apprise cannot use it: {reason}",)
        for reason in ("Invalid Apprise TEXT configuration format", "Unparseable tag assignment")
    ]
    assert SECRET not in "".join(faults)


def test_unusable_files_are_reported_by_line_without_the_address(tmp_path):
    missing = str(tmp_path / "missing.conf")
    bad = written(tmp_path, f"json://good.example\nbogus://{SECRET}\n")
    broken = written(tmp_path, f"urls:\n  - bogus://{SECRET}\n", "broken.yml")
    empty = written(tmp_path, "# nothing\n", "empty.conf")
    notifier = AppriseNotifier([missing, bad, broken, empty], TAGS, [f"nonsense://{SECRET}"])
    faults = "\n".join(notifier.faults())
    assert f"{missing}: cannot be read: No such file or directory" in faults
    newer = f"{bad}: holds something that apprise cannot use"  # a newer apprise does not give the line
    assert f"{bad}: line 2: apprise cannot use it" in faults or newer in faults
    assert f"{broken}: entry 1: apprise" in faults or f"{broken}: holds no address that apprise can use" in faults
    assert f"{empty}: holds no address that apprise can use" in faults
    assert "address number 1: apprise knows no service 'nonsense'" in faults
    assert SECRET not in faults
    assert hosts(notifier, Severity.CRITICAL) == ["good.example"]  # the remaining address is used


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("slak://{}", "apprise knows no service 'slak'; did you mean slack?"),
        ("slack://{}", "apprise cannot use it"),
        ("{}", "apprise cannot use it"),
        ("{}://host", "apprise cannot use it"),
    ],
)
def test_address_names_the_nearest_service_and_no_secret(url, fault):
    (error,) = AppriseNotifier([], TAGS, [url.replace("{}", "Token_123")]).faults()
    assert error == f"notify.apprise: address number 1: {fault}"


def test_missing_file_names_its_neighbour(tmp_path):
    written(tmp_path, "json://good.example\n", "apprise.yml")
    (fault,) = AppriseNotifier([f"{tmp_path}/apprise.yaml"], TAGS).faults()
    assert fault.endswith("/apprise.yaml: cannot be read: No such file or directory; did you mean apprise.yml?")


def test_repaired_file_is_read_without_a_restart(tmp_path):
    path = str(tmp_path / "apprise.conf")
    notifier = AppriseNotifier([path], TAGS)
    assert notifier.channels(Severity.CRITICAL) == []
    Path(path).write_text("json://late.example\n")
    time.sleep(READ_AGAIN)
    notifier.refresh()
    assert hosts(notifier, Severity.CRITICAL) == ["late.example"]


def test_channel_keeps_its_id_over_restarts(tmp_path):
    config = written(
        tmp_path,
        "mailto://u:p@mail.example?from=a@x.example&to=b@x.example&cc=c@x.example,d@x.example,e@x.example,f@x.example\n",
    )
    code = (
        "from certmedic.edge.notify import AppriseNotifier as A; from certmedic.core.model import Severity as S;"
        f"print(A([{config!r}], {{}}).channels(S.INFO)[0].id)"
    )
    ids = {in_child(code, PYTHONHASHSEED=str(seed)).stdout for seed in range(4)}
    assert len(ids) == 1


# ---------------------------------------------------------------- real receivers


def test_mail_has_a_title_html_and_plain_text(mailbox, opened):
    url = f"mailto://u:p@localhost:{mailbox.port}?from=certmedic@x.example&to=oncall@x.example"
    notifier = AppriseNotifier([], TAGS, [url])
    assert notifier.send(only(notifier), opened).ok
    (mail,) = mailbox.mails
    assert mail["Subject"] == opened.title
    assert "oncall@x.example" in mail["To"]
    assert mail.get_body(("html",)).get_content().replace("\r\n", "\n").strip() == page(opened)
    plain = mail.get_body(("plain",)).get_content()
    assert "Restart etcd-manager (command below): that fixes it." in plain
    assert "sudo docker stop $(sudo docker ps" in plain
    assert "File: /mnt/master-vol-01/pki/etcd-cluster-token-etcd/peers/me.crt (etcd peer certificate)" in plain
    assert not re.search(r"prefers-color-scheme|display:", plain)


def test_mails_of_one_trouble_are_one_thread(mailbox, opened):
    url = f"mailto://u:p@localhost:{mailbox.port}?from=certmedic@x.example&to=oncall@x.example&+X-Team=a"
    notifier = AppriseNotifier([], TAGS, [url])
    for sent in (opened, replace(opened, kind=MessageKind.RESOLVED), replace(opened, thread="other")):
        assert notifier.send(only(notifier), sent).ok
    first, second, other = mailbox.mails
    assert first["References"] == first["In-Reply-To"] == second["References"] != other["References"]
    assert {mail["X-Team"] for mail in mailbox.mails} == {"a"}


@pytest.fixture
def slack_api():
    """The part of Slack's API that posts a message: it numbers the messages, and knows the threads that they begin."""
    posts = []

    class Api(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            post = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            posts.append(post)
            known = post.get("thread_ts") in (None, "7.7", *(f"{number}.0" for number in range(len(posts) - 1)))
            reply = {"ok": known, "channel": "C1", "ts": f"{len(posts) - 1}.0"}
            body = json.dumps(reply if known else {"ok": False, "error": "thread_not_found"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield SimpleNamespace(port=server.server_port, posts=posts)
    server.shutdown()
    server.server_close()


BOT = "slack://xoxb-1234-1234-abc124"


def of_slack(api, url):
    """Return a notifier with this address of Slack, whose API the fake is, and its channel."""
    notifier = AppriseNotifier([], TAGS, [url])
    channel = only(notifier)
    server = notifier._loaded()[channel]
    server.api_url, server.request_rate_per_sec = f"http://127.0.0.1:{api.port}/api/{{}}", 0
    return notifier, channel


def test_messages_of_one_trouble_are_one_thread_in_slack(slack_api, opened):
    notifier, channel = of_slack(slack_api, f"{BOT}/#ops/#dba")
    for sent in (
        opened,
        replace(opened, kind=MessageKind.RESOLVED),
        replace(opened, thread="other"),
        replace(opened, thread=""),
    ):
        assert notifier.send(channel, sent).ok
    seen = [(post["channel"], post.get("thread_ts"), post.get("reply_broadcast")) for post in slack_api.posts]
    assert seen == [
        *[("#dba", None, None), ("#ops", None, None)],  # apprise takes the last channel first
        *[("#dba", "0.0", True), ("#ops", "1.0", True)],
        *[("#dba", None, None), ("#ops", None, None)] * 2,
    ]


def test_thread_whose_first_message_is_gone_begins_again_at_the_next_try(slack_api, opened):
    notifier, channel = of_slack(slack_api, f"{BOT}/#ops")
    assert notifier.send(channel, opened).ok
    notifier._threads[channel]._first[opened.thread, "#ops"] = "99.0"
    assert not notifier.send(channel, opened).ok
    assert notifier.send(channel, opened).ok
    assert notifier.send(channel, opened).ok
    assert [post.get("thread_ts") for post in slack_api.posts] == [None, "99.0", None, "2.0"]


@pytest.mark.parametrize("url", ["mailto://u:p@localhost", "gchat://workspace/key/token", f"{BOT}/#ops"])
def test_service_is_as_before_after_a_message_of_a_thread_that_failed(opened, monkeypatch, url):
    notifier = AppriseNotifier([], TAGS, [url])
    server = notifier._loaded()[only(notifier)]
    before = dict(vars(server))

    def broken(*_, **__):
        raise ValueError("no")

    server.notify = broken
    assert not notifier.send(only(notifier), opened).ok
    del server.notify
    assert vars(server) == before


def test_number_of_threads_in_memory_is_limited(slack_api, opened, monkeypatch):
    monkeypatch.setattr(threads, "MOST", 2)
    notifier, channel = of_slack(slack_api, f"{BOT}/#ops")
    for thread in ("a", "b", "c", "a"):
        assert notifier.send(channel, replace(opened, thread=thread)).ok
    assert len(notifier._threads[channel]._first) == 2
    assert [post.get("thread_ts") for post in slack_api.posts] == [None] * 4


@pytest.mark.parametrize(("own", "thread"), [("", "t1"), ("/team", "team")])
def test_messages_of_one_trouble_have_one_key_in_google_chat(monkeypatch, opened, own, thread):
    posts = []

    def post(_, method, url, **how):
        posts.append((how.get("params") or {}, json.loads(how["data"])))
        reply = requests.Response()
        reply.status_code = 200
        return reply

    monkeypatch.setattr(requests.Session, "request", post)
    notifier = AppriseNotifier([], TAGS, [f"gchat://workspace/key/token{own}"])
    channel = only(notifier)
    notifier._loaded()[channel].request_rate_per_sec = 0
    for sent in ("t1", "t1", ""):
        assert notifier.send(channel, replace(opened, thread=sent)).ok
    keys = [params.get("threadKey") or body.get("thread", {}).get("thread_key") for params, body in posts]
    assert keys == [thread, thread, own[1:] or None]


def test_web_hook_gets_plain_text_and_the_severity(hook, opened):
    notifier = AppriseNotifier([], TAGS, [f"json://127.0.0.1:{hook.port}/hook"])
    for severity, kind in (("critical", "failure"), ("warning", "warning"), ("info", "info")):
        assert notifier.send(only(notifier), replace(opened, severity=Severity(severity))).ok
        assert hook.messages[-1]["type"] == kind
    assert notifier.send(only(notifier), replace(opened, kind=MessageKind.RESOLVED)).ok
    assert hook.messages[-1]["type"] == "success"
    assert hook.messages[0]["title"] == opened.title
    assert hook.messages[0]["message"].replace("\r\n", "\n") == opened.plain


def test_chat_gets_unchanged_markdown(hook, opened):
    notifier = AppriseNotifier([], TAGS, [f"mmost://127.0.0.1:{hook.port}/{'3' * 32}"])
    assert notifier.send(only(notifier), opened).ok
    assert hook.messages[0]["text"].replace("\r\n", "\n") == f"{CIRCLE} [CRITICAL] {opened.markdown}"
    assert hook.requests[0][0] == f"/hooks/{'3' * 32}"


def test_short_chat_message_has_whole_lines_and_its_commands(hook, opened):
    url = f"rocket://{'a' * 24}/{'b' * 24}@127.0.0.1:{hook.port}/#general"
    notifier = AppriseNotifier([], TAGS, [url])
    facts, typed, commands = opened.markdown.partition("- *Type:*")
    long = replace(opened, markdown=facts + "- *Fact:* `x`\n" * 30 + typed + commands)
    assert notifier.send(only(notifier), long).ok
    text = hook.messages[0]["text"].replace("\r\n", "\n")
    assert 900 < len(text) <= 1000
    assert text.startswith(f"{CIRCLE} [CRITICAL] {facts}")
    assert text.endswith(f"- *Fact:* `x`\n{typed}{commands}")


@pytest.mark.parametrize(
    ("url", "attribute"),
    [
        ("discord://123456789012345678/abcdefghijklmnopqrstuvwxyz", "markdown"),
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general", "markdown"),
        ("tgram://123456789:abcdefghijklmnopqrstuvwxyz012345678/12315544/", "html"),
        ("gotify://127.0.0.1/token", "plain"),
        ("json://127.0.0.1?format=markdown", "markdown"),
        ("json://127.0.0.1?format=html", "html"),
    ],
)
def test_every_service_gets_the_format_it_can_display(url, attribute, opened):
    notifier = AppriseNotifier([], TAGS, [url])
    _, text = attempts.form_of(notifier._loaded()[only(notifier)], opened)
    assert text == getattr(opened, attribute)


def redirected(notifier, hook):
    """Point the only channel at the hook instead of its service, so that apprise still formats the message."""
    server = notifier._loaded()[only(notifier)]
    for name in ("notify_url", "webhook_url"):
        if hasattr(server, name):
            setattr(server, name, f"http://127.0.0.1:{hook.port}/")
    return only(notifier)


def test_telegram_gets_every_line_with_supported_tags_only(hook, opened):
    notifier = AppriseNotifier([], TAGS, ["tgram://123456789:abcdefghijklmnopqrstuvwxyz012345678/12315544/"])
    assert notifier.send(redirected(notifier, hook), opened).ok
    (sent,) = hook.messages
    assert sent["parse_mode"] == "HTML"
    assert set(re.findall(r"</?([a-z]+)", sent["text"])) == {"b", "code"}
    shown = html.unescape(re.sub(r"</?(b|code)>", "", sent["text"]))
    word, _, shown = shown.partition("] ")
    assert word == f"{CIRCLE} [CRITICAL"
    assert re.sub(r"\s+|^- ?", "", shown, flags=re.MULTILINE) == re.sub(r"\s+", "", opened.plain)
    assert shown.splitlines()[0] == opened.plain.splitlines()[0]


def test_discord_gets_unchanged_markdown_within_its_limit(hook, opened):
    notifier = AppriseNotifier([], TAGS, ["discord://123456789012345678/abcdefghijklmnopqrstuvwxyz"])
    assert notifier.send(redirected(notifier, hook), opened).ok
    content = hook.messages[0]["content"].replace("\r\n", "\n")
    assert content == f"{CIRCLE} {opened.title}\n{opened.markdown}"
    assert len(content) <= 2000


def test_refusal_in_the_body_of_a_reply_is_a_failed_delivery(hook, opened):
    url = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general"
    notifier = AppriseNotifier([], TAGS, [url])
    result = notifier.send(redirected(notifier, hook), opened)  # Slack says "ok", this hook says "{}"
    assert (result.ok, result.error) == (False, "the service answered and did not take it")


def test_overlong_html_is_never_cut_within_a_tag(opened):
    notifier = AppriseNotifier([], TAGS, ["tgram://123456789:abcdefghijklmnopqrstuvwxyz012345678/12315544/"])
    server = notifier._loaded()[only(notifier)]
    shape, text = attempts.form_of(server, replace(opened, html=opened.html * 9, plain="a <b> & c"))
    assert (shape, text) == ("html", "<pre>a &lt;b&gt; &amp; c</pre>")


# ---------------------------------------------------------------- outages


def fails(notifier, opened, within):
    started = time.monotonic()
    result = notifier.send(only(notifier), opened)
    assert not result.ok
    assert time.monotonic() - started < within
    return result.error


def test_dead_receiver_is_an_error_at_once(opened):
    notifier = AppriseNotifier([], TAGS, [f"json://127.0.0.1:{receivers.free_port()}/{SECRET}"])
    error = fails(notifier, opened, within=5)
    assert error == "the service could not be reached or did not take it"


def test_dead_mail_server_is_an_error_at_once(opened):
    url = f"mailto://u:{SECRET}@localhost:{receivers.free_port()}?from=a@x.example&to=b@x.example"
    assert SECRET not in fails(AppriseNotifier([], TAGS, [url]), opened, within=5)


def test_wrong_password_is_an_error_without_the_password(mailbox, opened):
    url = f"mailto://u:{SECRET}@localhost:{mailbox.port}?from=a@x.example&to=b@x.example"
    assert SECRET not in fails(AppriseNotifier([], TAGS, [url]), opened, within=10)
    assert mailbox.mails == []


@pytest.mark.parametrize("status", ["404", "500", "503"])
def test_refusal_is_reported_with_its_status(hook, opened, status):
    hook.mood = status
    notifier = AppriseNotifier([], TAGS, [f"json://127.0.0.1:{hook.port}/{SECRET}"])
    assert fails(notifier, opened, within=5) == f"the service answered HTTP {status}"


def test_reset_connection_is_an_error(hook, opened):
    hook.mood = "reset"
    notifier = AppriseNotifier([], TAGS, [f"json://127.0.0.1:{hook.port}"])
    fails(notifier, opened, within=5)


def test_slow_receiver_is_given_up(hook, opened):
    hook.mood = "slow"
    notifier = AppriseNotifier([], TAGS, [f"json://127.0.0.1:{hook.port}"])
    fails(notifier, opened, within=9.5)


def test_dripping_receiver_is_given_up_and_not_retried_while_it_hangs(hook, opened):
    hook.mood = "drip"
    notifier = AppriseNotifier([], TAGS, [f"json://127.0.0.1:{hook.port}?cto=1&rto=2"])
    assert fails(notifier, opened, within=6) == "no answer in time"
    assert fails(notifier, opened, within=1) == "the attempt before this one still waits for an answer"
    assert len(hook.requests) == 1


def test_message_delivered_after_its_deadline_is_not_sent_twice(hook, opened, monkeypatch):
    notifier = AppriseNotifier([], TAGS, [f"json://127.0.0.1:{hook.port}"])
    channel = only(notifier)
    monkeypatch.setattr(attempts, "patience_of", lambda server: 0.5)
    hook.closing.wait = lambda seconds: time.sleep(1.5)  # slower than the agent's deadline, faster than that of apprise
    hook.mood = "slow"
    assert notifier.send(channel, opened).error == "no answer in time"
    attempt = notifier._attempts[channel]
    until(lambda: not attempt.is_alive())
    assert notifier.send(channel, opened).ok
    assert len(hook.requests) == 1
    hook.mood = "ok"
    assert notifier.send(channel, opened).ok  # a later message with the same text is sent
    assert len(hook.requests) == 2


def test_dead_channel_delays_no_other_and_keeps_its_message_order(hook, other_hook, opened):
    other_hook.mood = "slow"
    urls = [f"json://127.0.0.1:{other_hook.port}?cto=1&rto=2", f"json://127.0.0.1:{hook.port}"]
    notifier = AppriseNotifier([], TAGS, urls)
    dead, good = (key for key in notifier._loaded())
    second = replace(opened, title="second")
    started = time.monotonic()
    came = []
    for place, result in notifier.send_all([(dead, opened), (good, opened), (dead, second), (good, second)]):
        came.append((place, result.ok, time.monotonic() - started))
    assert [(place, ok) for place, ok, _ in came] == [(1, True), (3, True), (0, False), (2, False)]
    assert came[1][2] < 2
    assert came[-1][2] < 6
    assert hook.titles == [opened.title, "second"]
    assert len(other_hook.requests) == 1


def test_removed_channel_is_an_error():
    notifier = AppriseNotifier([], TAGS, ["json://127.0.0.1"])
    assert notifier.send("gone", message.test_message("h", values.NOW)).error == "this channel is no longer configured"
    assert AppriseNotifier([], TAGS).channels(Severity.CRITICAL) == []


def test_failing_plug_in_is_a_failed_delivery(opened, monkeypatch):
    notifier = AppriseNotifier([], TAGS, [f"json://127.0.0.1/{SECRET}"])
    channel = only(notifier)

    def burst(*args, **kwargs):
        raise RuntimeError(SECRET)

    monkeypatch.setattr(notifier._loaded()[channel], "notify", burst)
    assert notifier.send(channel, opened).error == "apprise failed (RuntimeError)"
    monkeypatch.setattr(notifier._loaded()[channel], "notify", lambda **kwargs: None)
    assert not notifier.send(channel, opened).ok  # the third value that apprise may return


# ---------------------------------------------------------------- secrets


def test_no_output_holds_a_secret(tmp_path, hook, other_hook):
    """The agent logs at debug level and sends to receivers that refuse, lie or are dead."""
    other_hook.mood = "lying"
    hook.mood = "500"
    config = written(
        tmp_path,
        f"json://user:{SECRET}@127.0.0.1:{hook.port}/{SECRET}?+X-Token={SECRET}&-q={SECRET}\n"
        f"json://127.0.0.1:{other_hook.port}/{SECRET}\n"
        f"json://127.0.0.1:{receivers.free_port()}/{SECRET}\n"
        f"mmost://127.0.0.1:{hook.port}/{SECRET}\n"
        f"gotify://localhost:{hook.port}/{SECRET}\n"
        f"bogus://{SECRET}\n",
    )
    code = (
        "import logging; logging.basicConfig(level=logging.DEBUG)\n"
        "from certmedic.edge import notify; from certmedic.edge.notify import attempt\n"
        "from certmedic.core import message; from datetime import datetime, UTC\n"
        f"n = notify.AppriseNotifier([{config!r}], {{}}, ['nonsense://{SECRET}'])\n"
        "test = message.test_message('h', datetime.now(UTC))\n"
        "for channel in n.channels('info'): print(channel, n.send(channel.id, test))\n"
        "print(n, n.faults())"
    )
    child = in_child(code)
    assert child.stdout.count("Delivered(ok=False") == 4
    assert child.stdout.count("Delivered(ok=True") == 1
    assert "HTTP 500" in child.stdout
    assert SECRET not in child.stdout + child.stderr
    assert "apprise" not in child.stderr  # no log record of apprise is passed on
    assert any(SECRET in path for path, _, _ in other_hook.requests)  # the secret was really used


@pytest.mark.parametrize(
    ("url", "label"),
    [
        (f"json://user:{SECRET}@hooks.example:8443/{SECRET}", "json://hooks.example:8443"),
        (f"mailto://user:{SECRET}@mail.example?from=a@mail.example", "mailto://"),
        (f"discord://{'1' * 18}/{SECRET}", "discord://"),
        (f"ntfy://{SECRET}", "ntfy"),
        ("tgram://123456789:abcdefghijklmnopqrstuvwxyz012345678/12315544/", "tgram://"),
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general", "slack://"),
        ("pover://uuuuuuuuuuuuuuuuuuuuuuuuuuuuuu@aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "pover://"),
    ],
)
def test_label_shows_scheme_and_host_only(url, label):
    (channel,) = AppriseNotifier([], TAGS, [url]).channels(Severity.INFO)
    assert channel.label.startswith(label)
    for private in (SECRET, "abcdefghij", "T1JJ", "TIiaj", "uuuu", "aaaa"):
        assert private not in channel.label
    assert channel.label.endswith(f"({channel.id[:4]})")


def test_apprise_is_not_loaded_before_it_is_needed():
    code = (
        "import sys; from certmedic.edge.notify import AppriseNotifier as A; from certmedic.core.model import Severity;"
        "A(['/x'], {}, ['json://x']); A([], {}).channels(Severity.INFO); print('apprise' in sys.modules)"
    )
    assert in_child(code).stdout == "False\n"


def test_hanging_delivery_does_not_delay_the_stop(hook):
    hook.mood = "slow"
    code = (
        "from certmedic.edge import notify; from certmedic.edge.notify import attempt\n"
        "from certmedic.core import message; from datetime import datetime, UTC\n"
        f"n = notify.AppriseNotifier([], {{}}, ['json://127.0.0.1:{hook.port}?rto=25'])\n"
        "attempt.patience_of = lambda server: 0.2\n"
        "print(n.send(n.channels('info')[0].id, message.test_message('h', datetime.now(UTC))).error)"
    )
    started = time.monotonic()
    assert in_child(code).stdout == "no answer in time\n"
    assert time.monotonic() - started < 20
