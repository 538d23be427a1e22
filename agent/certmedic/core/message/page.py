"""A message as a page for mail programs: the severity by colour and word, commands in boxes, for phones, light and dark.

Mail programs know few rules of style, and some drop the head of a page. The styles therefore stand at the elements; the head
only turns the page dark.
"""

from __future__ import annotations

from html import escape

from certmedic.core.model import Message, MessageKind, Severity

COLOURS = {Severity.CRITICAL: "#b3261e", Severity.WARNING: "#8a5a00", Severity.INFO: "#1f5fa8"}
RESOLVED = "#1b6e3c"
BOX = (
    "display:block;margin-top:4px;padding:8px 10px;border:1px solid #c9ced6;border-radius:4px;background:#f3f4f6;color:#111;"
    "font:13px/1.45 ui-monospace,Menlo,Consolas,monospace;white-space:pre-wrap;overflow-wrap:anywhere"
)
DARK = (
    "@media (prefers-color-scheme:dark){"
    ".page{background:#16181c!important;color:#e6e8eb!important}"
    ".box{background:#23262c!important;color:#f2f3f5!important;border-color:#4a4f58!important}}"
)


def page(message: Message) -> str:
    """Return the page of a message whose HTML `render` wrote."""
    word, colour = severity_of(message)
    body = message.html.replace("<br/><code>", f'<br/><code class="box" style="{BOX}">')
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><style>{DARK}</style></head>'
        '<body class="page" style="margin:0;background:#fff;color:#1a1c1f">'
        '<div style="max-width:640px;margin:0 auto;padding:12px 16px;overflow-wrap:anywhere;'
        'font:15px/1.5 system-ui,-apple-system,Segoe UI,Roboto,Helvetica,Arial,sans-serif">'
        f'<div style="border-left:6px solid {colour};padding:2px 0 2px 10px">'
        f'<b style="background:{colour};color:#fff;padding:2px 8px;border-radius:3px;font-size:13px">{escape(word)}</b></div>'
        f"{body}</div></body></html>"
    )


def severity_of(message: Message) -> tuple[str, str]:
    """Return the word and the colour of a message."""
    if message.kind is MessageKind.RESOLVED:
        return "RESOLVED", RESOLVED
    return message.severity.upper(), COLOURS[message.severity]
