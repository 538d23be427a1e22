"""The pictures in packaging/examples: a mail, commands on a terminal, and the pages for people (`./dev pictures`; root).

Each shows what the agent's own code writes. In another folder, each is also light and dark, as wide as a screen and a phone,
for a person who looks for what is ugly.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certmedic.core.fleet import view
from certmedic.core.message import page
from certmedic.core.model import Message
from certmedic.core.pages import fleet_page
from labs import ROOT, chats, letters, stage, terminal
from labs.browser import PHONE, Browser, small
from labs.fleets import made

KEPT = ROOT / "packaging/examples"
MAILS = {  # story -> the messages to look at
    "one certificate expires, a person renews it": (0, 5, 6),
    "kubeadm after a year": (0,),
    "all certificates expired, certmedic waits for an approval": (0,),
    "all certificates expired, the restart renews nothing": (1,),
    "the CA has expired": (0,),
    "the journal cannot be read": (0,),
}
COMMANDS = (("status",), ("certs",), ("certs", "--wide"), ("show", "2"), ("incidents",), ("check-config", "--explain"))
FLEET = (
    "from datetime import UTC, datetime; from certmedic.cli.fleet import tell; from certmedic.core.fleet import view;"
    "from labs.fleets import made; now = datetime.now(UTC); tell(view(made(12, now), now))"
)
OF_TESTS = {"PYTHONPATH": f"{ROOT / 'agent'}:{ROOT / 'tests'}"}


# A chat that shows the HTML that apprise posts to Telegram; the drawing of the chat is ours.
CHAT = (
    '<!DOCTYPE html><html><head><meta charset="utf-8"></head><body style="margin:0;padding:16px;background:#d9e4ee">'
    '<div style="max-width:520px;padding:10px 14px;border-radius:12px;background:#fff;white-space:pre-wrap;'
    'overflow-wrap:anywhere;font:15px/1.4 system-ui,sans-serif,Noto Color Emoji">'
    "<style>code{font:.9em ui-monospace,monospace;color:#8a3a1a}</style>{}</div></body></html>"
)


def keep(browser: Browser) -> None:
    """Make the pictures that the README and the examples show, each as small as it can be."""
    told = letters.told("one certificate expires, a person renews it")[5]
    fleet = fleet_page(view(made(12, datetime.now(UTC)), datetime.now(UTC)))
    pictures = {
        "message": browser.picture(page(told), width=672, sharp=2),
        "message-dark": browser.picture(page(told), width=672, dark=True),
        "message-phone": browser.picture(page(told), width=PHONE, dark=True),
        "chat": browser.picture(CHAT.replace("{}", _chat(told)), width=584),
        "fleet": browser.picture(fleet, width=1000, longest=1000),
        "fleet-phone": browser.picture(fleet, width=PHONE, dark=True, longest=1400),
    }
    with stage.master() as program:
        for name, words in (("status", ["status"]), ("certs", ["certs"]), ("show", ["show", "2"])):
            pictures[name] = _terminal(browser, terminal.seen(words, columns=80, program=program), 80, "dark")
        report = terminal.seen(["show", "2", "--html"], columns=80, program=program)
        pictures["report"] = browser.picture(report, width=1000, longest=1200)
    for name, png in pictures.items():
        file = KEPT / f"{name}.png"
        file.write_bytes(png)
        small(file)


def look(browser: Browser, folder: Path) -> None:
    """Make all pictures, for a person who looks at them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, html in _pages():
        for shape, width, dark in (("light", 1000, False), ("dark", 1000, True), ("phone", PHONE, False)):
            (folder / f"{name}-{shape}.png").write_bytes(browser.picture(html, width=width, dark=dark, longest=3000))
            if browser.width() > width:
                sys.stdout.write(f"{name}, {shape}: is {browser.width()} wide instead of {width}\n")
    with stage.master() as program:
        for columns, paper in ((80, "dark"), (140, "light")):
            for words in COMMANDS:
                text = terminal.seen(words, columns=columns, program=program)
                png = _terminal(browser, text, columns, paper)
                (folder / f"{'-'.join(words).replace('---', '-')}-{columns}.png").write_bytes(png)
            text = terminal.seen(["-c", FLEET], columns=columns, program=(sys.executable,), environment=OF_TESTS)
            (folder / f"fleet-{columns}.png").write_bytes(_terminal(browser, text, columns, paper))


def _chat(message: Message) -> str:
    with pytest.MonkeyPatch.context() as patch:
        sent = chats.posted(
            patch, replace(chats.CHATS["telegram"], read=lambda body: chats.Post("", body["text"])), message
        )
    assert sent is not None
    return sent.text


def _pages() -> Iterator[tuple[str, str]]:
    now = datetime.now(UTC)
    for story, places in MAILS.items():
        told = letters.told(story)
        for place in places:
            yield f"{''.join(filter(str.isalnum, story))[:30]}{place}", page(told[place])
    yield "fleet-page", fleet_page(view(made(12, now), now))
    with stage.master() as program:
        yield "report", terminal.seen(["show", "2", "--html"], columns=80, program=program)


def _terminal(browser: Browser, text: str, columns: int, paper: str) -> bytes:
    width = columns * 17 // 2 + 32  # a character of the page's font is 8.4 wide
    return browser.picture(terminal.page(text, columns=columns, paper=paper), width=width)


if __name__ == "__main__":
    with Browser() as chromium:
        if sys.argv[1:]:
            look(chromium, Path(sys.argv[1]))
        else:
            keep(chromium)
