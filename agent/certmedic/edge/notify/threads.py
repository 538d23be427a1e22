"""Threads: the messages of one trouble follow its first, in mail, Google Chat and Slack.

Slack tells the number of a message to applications with a token alone, and apprise does not pass it on. An incoming webhook of
Slack gets separate messages.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

MAIL = frozenset({"mailto", "mailtos"})
MOST = 256  # threads in Slack that are remembered for one address


class Threads:
    """The threads of one address. Those in Slack last as long as the service: after a restart the next message begins another one."""

    def __init__(self) -> None:
        self._first: dict[tuple[str, str], str] = {}  # thread, Slack's channel -> number of the first message

    @contextmanager
    def joined(self, server: Any, schemes: Collection[str], thread: str) -> Iterator[None]:
        """Have what a server of apprise sends meanwhile join a thread; "" for a message that stands alone."""
        name, value = self._change(server, schemes, thread) if thread else ("", None)
        if not name:
            yield
            return
        is_own, before = name in vars(server), getattr(server, name)
        setattr(server, name, value)
        try:
            yield
        finally:
            if is_own:
                setattr(server, name, before)
            else:
                delattr(server, name)

    def _change(self, server: Any, schemes: Collection[str], thread: str) -> tuple[str, Any]:
        """Return which attribute of a server makes a thread, and its value; "" if the service has no threads."""
        if not MAIL.isdisjoint(schemes):
            root = f"<{thread}@certmedic.invalid>"  # of no mail: programs join the mails that refer to it
            return "headers", {**server.headers, "References": root, "In-Reply-To": root}
        if "gchat" in schemes and server.thread_key is None:  # an address may name a thread
            return "thread_key", thread
        if "slack" in schemes:
            post = server._send  # noqa: SLF001 - apprise offers no other place; the tests hold it in both versions
            return "_send", self._in_slack(post, thread)
        return "", None

    def _in_slack(self, post: Any, thread: str) -> Any:
        """Return how to post into a thread of Slack. The channel shows the message too, so that nobody misses it."""

        def posted(url: str, payload: dict[str, Any], **more: Any) -> Any:
            key = thread, str(payload.get("channel"))
            first = self._first.get(key)
            if first is not None and "thread_ts" not in payload:  # an address may name a thread
                payload = {**payload, "thread_ts": first, "reply_broadcast": True}
            reply = post(url, payload, **more)
            if not reply:
                self._first.pop(key, None)  # perhaps its first message was removed: the next try begins another thread
            elif first is None and reply.get("ts"):
                self._first[key] = str(reply["ts"])
                if len(self._first) > MOST:
                    del self._first[next(iter(self._first))]
            return reply

        return posted
