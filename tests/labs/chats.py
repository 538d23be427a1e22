"""Chats, as apprise's own plug-ins post to them: no request leaves this process, and each is read as its service shows it."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import requests

from certmedic.core.model import Message, Severity
from certmedic.edge.notify import AppriseNotifier

TAG = re.compile(r"</?(\w+)[^>]*>")
CODE = re.compile(r"`[^`]*`")


@dataclass(frozen=True, slots=True)
class Post:
    """One message as a service gets it, and the colour that comes with it."""

    title: str
    text: str
    colour: str = ""


def slack(body: Mapping[str, Any]) -> Post:
    """Read a legacy attachment: Slack has three entities."""
    (one,) = body["attachments"]
    title, text = (
        re.sub("&(lt|gt|amp);", lambda match: html.unescape(match[0]), one[key]) for key in ("title", "text")
    )
    return Post(title, text, one["color"])


def teams(body: Mapping[str, Any]) -> Post:
    """Read a message card of a connector."""
    (section,) = body["sections"]
    return Post(section["activityTitle"], section["text"], body["themeColor"])


def workflows(body: Mapping[str, Any]) -> Post:
    """Read an adaptive card of a workflow, whose picture has the colour."""
    (one,) = body["attachments"]
    image, title, text = one["content"]["body"]
    return Post(title["text"], text["text"], image["url"])


def discord(body: Mapping[str, Any]) -> Post:
    """Read the content: apprise puts the title on its first line."""
    title, _, text = body["content"].partition("\r\n")
    return Post(title, text)


def telegram(body: Mapping[str, Any]) -> Post:
    """Read the HTML of Telegram, which refuses an unknown or an open tag, and turn code into Markdown's."""
    assert body["parse_mode"] == "HTML"
    opened: list[str] = []
    for tag in TAG.finditer(body["text"]):
        assert tag[1] in ("b", "i", "code", "pre")
        if not tag[0].startswith("</"):
            opened.append(tag[1])
        else:
            assert opened.pop() == tag[1]
    assert not opened
    text = body["text"].replace("\r\n", "\n")
    return Post("", html.unescape(TAG.sub(lambda tag: "`" if tag[1] == "code" else "", text)))


def ntfy(body: Mapping[str, Any]) -> Post:
    """Read the plain text of ntfy."""
    return Post(body["title"], body["message"])


@dataclass(frozen=True, slots=True)
class Chat:
    """A service: its address, how to read its posts, and how many characters it takes."""

    url: str
    read: Callable[[Mapping[str, Any]], Post]
    limit: int
    in_markdown: bool = True


CHATS: Mapping[str, Chat] = {
    "slack": Chat("slack://xoxb-1234-1234-abc124/#general", slack, 4000),
    "teams": Chat(
        f"msteams://example/{'1' * 8}-1234-1234-1234-{'1' * 12}@{'1' * 8}-1234-1234-1234-{'1' * 12}/{'a' * 32}/{'1' * 8}-1234-1234-1234-{'1' * 12}",
        teams,
        28_000,
    ),
    "workflows": Chat(f"workflows://prod-01.example.org:443/{'b' * 32}/{'s' * 43}", workflows, 28_000),
    "discord": Chat("discord://123456789012345678/abcdefghijklmnopqrstuvwxyz", discord, 2000),
    "telegram": Chat("tgram://123456789:abcdefghijklmnopqrstuvwxyz012345678/12315544/", telegram, 4096),
    "ntfy": Chat("ntfy://127.0.0.1/alerts", ntfy, 4096, in_markdown=False),
}


def posted(monkeypatch: Any, chat: Chat, message: Message) -> Post | None:
    """Return what apprise posts to a chat for a message; None if this apprise does not know the chat."""
    bodies: list[Any] = []

    def answer(_: object, method: str, url: str, **how: Any) -> requests.Response:
        known = {key: value for key, value in how.items() if key in ("headers", "data", "json", "params")}
        bodies.append(requests.Request(method, url, **known).prepare().body)
        reply = requests.Response()
        reply.status_code = 200
        reply._content = b'{"ok": true}'
        return reply

    monkeypatch.setattr(requests.Session, "request", answer)
    notifier = AppriseNotifier([], {}, [chat.url])
    if notifier.faults():
        return None
    (channel,) = notifier.channels(Severity.CRITICAL)
    result = notifier.send(channel.id, message)
    assert result.ok, result.error
    (body,) = bodies
    return chat.read(json.loads(body))
