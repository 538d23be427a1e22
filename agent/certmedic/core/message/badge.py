"""The severity of a message at a glance: a word, always, and a colour where there can be one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from certmedic.core.model import Message, MessageKind, Severity


@dataclass(frozen=True, slots=True)
class Badge:
    """A word, the colour behind it in white letters, and a circle of that colour for chats."""

    word: str
    colour: str
    circle: str


BADGES = {
    Severity.CRITICAL: Badge("CRITICAL", "#b3261e", "\U0001f534"),
    Severity.WARNING: Badge("WARNING", "#8a5a00", "\U0001f7e0"),
    Severity.INFO: Badge("INFO", "#1f5fa8", "\U0001f535"),
}
RESOLVED = Badge("RESOLVED", "#1b6e3c", "\U0001f7e2")


def badge_of(message: Message) -> Badge:
    """Return the badge of a message."""
    return RESOLVED if message.kind is MessageKind.RESOLVED else BADGES[message.severity]


def badged(message: Message, *, titled: bool, circled: bool) -> Message:
    """Return a message for a chat: a circle before its title if `circled`; without a title, the word before its text, too.

    A message that is marked as a test keeps its mark alone.
    """
    badge = badge_of(message)
    if not message.title.startswith(f"[{badge.word}]"):
        return message
    circle = f"{badge.circle} " if circled else ""
    if titled:
        return replace(message, title=circle + message.title)
    word = f"{circle}[{badge.word}] "
    return replace(
        message,
        plain=word + message.plain,
        markdown=word + message.markdown,
        html=message.html.replace("<p><b>", f"<p><b>{word}", 1),
    )
