"""A message as a page for mail programs: the severity by colour and word, commands in boxes, for phones, light and dark.

Mail programs know few rules of style, and some drop the head of a page. The styles therefore stand at the elements; the head
only turns the page dark. A mail also has a plain part, which apprise makes of the page: it starts a line at each `<code>` and
`<pre>`, so that names within a sentence are spans here, and each command is a `<pre>`.
"""

from __future__ import annotations

import re

from certmedic.core.message.badge import badge_of
from certmedic.core.model import Message

MONOSPACE = "ui-monospace,Menlo,Consolas,monospace"
BOX = (
    "margin:4px 0 0;padding:8px 10px;border:1px solid #c9ced6;border-radius:4px;background:#f3f4f6;color:#111;"
    f"font:13px/1.45 {MONOSPACE};white-space:pre-wrap;overflow-wrap:anywhere"
)
DARK = (
    ":root{color-scheme:light dark;supported-color-schemes:light dark}"
    "@media (prefers-color-scheme:dark){"
    ".page{background:#16181c!important;color:#e6e8eb!important}"
    ".box{background:#23262c!important;color:#f2f3f5!important;border-color:#4a4f58!important}}"
)
# What `render` writes: a head with its commands, a head above a list, a name or a command, a date.
COMMANDS = re.compile(r"<p>(<b>[^<]*</b>)((?:<br/><code>[^<]*</code>)+)</p>")
LIST = re.compile(r"<p>(<b>[^<]*</b>)</p>\n<ul>")
CODE = re.compile(r"<code>([^<]*)</code>")
DATE = re.compile(r"(?<![\w>/.-])\d{4}-\d\d-\d\d \d\d:\d\d(?::\d\d)?(?: UTC)?")


def page(message: Message) -> str:
    """Return the page of a message whose HTML `render` wrote."""
    badge = badge_of(message)
    first, _, rest = message.html.partition("\n")
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width,initial-scale=1"/>'
        '<meta name="color-scheme" content="light dark"/><meta name="supported-color-schemes" content="light dark"/>'
        f"<style>{DARK}</style></head>"
        '<body class="page" style="margin:0;background:#fff;color:#1a1c1f">'
        '<div style="max-width:640px;margin:0 auto;padding:12px 16px;overflow-wrap:anywhere;'
        'font:15px/1.5 system-ui,-apple-system,Segoe UI,Roboto,Helvetica,Arial,sans-serif">'
        f'<div style="border-left:6px solid {badge.colour};padding:2px 0 2px 12px">'
        f'<b style="background:{badge.colour};color:#fff;padding:2px 8px;border-radius:3px;font-size:13px">{badge.word}</b>'
        f"{_styled(first)}</div>{_styled(rest)}</div></body></html>"
    )


def _styled(html: str) -> str:
    """Return HTML with its styles at the elements."""
    html = COMMANDS.sub(_boxes, html)
    html = LIST.sub(r'<p style="margin:12px 0 0">\1</p><ul style="margin:4px 0;padding-left:22px">', html)
    html = CODE.sub(rf'<span style="font-family:{MONOSPACE};font-size:.95em">\1</span>', html)
    html = DATE.sub(r'<span style="white-space:nowrap">\g<0></span>', html)
    return html.replace("<p><b>", '<p style="margin:12px 0 0"><b>')


def _boxes(match: re.Match[str]) -> str:
    boxes = CODE.sub(rf'<pre class="box" style="{BOX}">\1</pre>', match[2].replace("<br/>", ""))
    return f"<p>{match[1]}</p>{boxes}"
