"""Rendering: one tuple of blocks becomes plain text, Markdown and HTML.

The most important block comes first, because a service with little room cuts off the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from certmedic.core.message.words import harmless, spans
from certmedic.core.model import Message, MessageKind, Severity
from certmedic.core.text import cut, in_html

TITLE = 180  # characters: the names of two machines of a cloud, and then the one thing to do
WHOLE = 1200  # characters of title and text: what a person reads on a phone; Discord, the narrowest chat, takes 2,000
LINE = 320  # characters of one line of prose
FACT = 150  # characters of a fact in a message that would be too long
FILES = "Files"  # the head of the block that is shortened first


class Form(Enum):
    """The form of the lines of a block."""

    LEAD = "lead"  # the first line
    TEXT = "text"  # sentences, in which names and paths of strangers may stand
    CODE = "code"  # commands for people to copy: never altered


@dataclass(frozen=True, slots=True)
class Block:
    """One part of a message: a head of a word or two, and lines."""

    head: str
    lines: tuple[str, ...]
    form: Form = Form.TEXT


def render(kind: MessageKind, severity: Severity, title: str, blocks: Sequence[Block]) -> Message:
    """Render blocks in three forms, harmless and short: facts that do not fit are left to `certmedic show`."""
    title = cut(harmless(title), TITLE)
    clean = [_tame(block) for block in blocks if any(block.lines)]
    room = WHOLE - len(title) - 1
    return Message(
        kind=kind,
        severity=severity,
        title=title,
        plain=_as_plain(_fitted(clean, _as_plain, room)),
        markdown=_as_markdown(_fitted(clean, _as_markdown, room)),
        html=_as_html(_fitted(clean, _as_markdown, room)),
    )


def _tame(block: Block) -> Block:
    """Return a block with harmless text and short lines; commands stay unchanged."""
    if block.form is Form.CODE:
        return replace(block, lines=tuple(filter(None, block.lines)))
    return replace(block, lines=tuple(cut(harmless(line), LINE) for line in block.lines if line))


def _fitted(blocks: Sequence[Block], form: Callable[[Sequence[Block]], str], room: int) -> Sequence[Block]:
    """Return blocks that fit: all files but two are left out first, then facts are cut, then left out; never a command."""
    for shorter in (_fewer, _cut):
        if len(form(blocks)) > room:
            blocks = [shorter(block) for block in blocks]
    while len(form(blocks)) > room and any(block.form is Form.TEXT for block in blocks):
        last = max(place for place, block in enumerate(blocks) if block.form is Form.TEXT)
        blocks = [*blocks[:last], *blocks[last + 1 :]]
    return blocks


def _cut(block: Block) -> Block:
    return replace(block, lines=tuple(_sentences(line) for line in block.lines)) if block.form is Form.TEXT else block


def _sentences(line: str) -> str:
    """Return the first whole sentences of a fact; if the first is too long, its beginning."""
    if len(line) <= FACT or ". " not in line[:FACT]:
        return cut(line, FACT)
    return line[:FACT].rpartition(". ")[0] + "."


def _fewer(block: Block) -> Block:
    rest = len(block.lines) - 2 if block.head == FILES else 0
    return replace(block, lines=(*block.lines[:2], f"and {rest} more")) if rest > 0 else block


def _as_plain(blocks: Sequence[Block]) -> str:
    text = []
    for block in blocks:
        if block.form is Form.LEAD:
            text.append(block.lines[0] + "\n")
        elif len(block.lines) == 1:
            text.append(f"{block.head}: {block.lines[0]}")
        else:
            text += [f"{block.head}:", *(f"  {line}" for line in block.lines)]
    return "\n".join(text)


def _as_markdown(blocks: Sequence[Block]) -> str:
    """Render blocks as the Markdown that all chats understand: lists, `code`, and *single asterisks*.

    Some chats show asterisks as italic, others as bold. A backslash is not an escape everywhere, so text that could be markup is
    set as code.
    """
    text = []
    for block in blocks:
        lines = [_line_in_markdown(line, block.form) for line in block.lines]
        if block.form is Form.LEAD:
            text.append(lines[0] + "\n")
        elif len(lines) == 1:
            text.append(f"- *{block.head}:* {lines[0]}")
        else:
            text += [f"- *{block.head}:*", *(f"  - {line}" for line in lines)]
    return "\n".join(text)


def _line_in_markdown(line: str, form: Form) -> str:
    if form is Form.CODE:
        return f"`{line}`"
    return "".join(f"`{piece}`" if code else piece for code, piece in spans(line))


def _as_html(blocks: Sequence[Block]) -> str:
    """Render blocks as HTML with the few tags that both mail programs and Telegram know."""
    return "\n".join(line for block in blocks for line in _block_in_html(block))


def _block_in_html(block: Block) -> Iterator[str]:
    lines = [_line_in_html(line, block.form) for line in block.lines]
    head = in_html(block.head)
    if block.form is Form.LEAD:
        yield f"<p><b>{lines[0]}</b></p>"
    elif block.form is Form.CODE:
        # <pre> does not wrap, so the end of a long command would be out of sight.
        yield f"<p><b>{head}:</b>" + "".join(f"<br/><code>{line}</code>" for line in lines) + "</p>"
    elif len(lines) == 1:
        yield f"<p><b>{head}:</b> {lines[0]}</p>"
    else:
        yield f"<p><b>{head}:</b></p>"
        yield "<ul>" + "".join(f"<li>{line}</li>" for line in lines) + "</ul>"


def _line_in_html(line: str, form: Form) -> str:
    if form is Form.CODE:
        return in_html(line)
    return "".join(f"<code>{in_html(piece)}</code>" if code else in_html(piece) for code, piece in spans(line))
