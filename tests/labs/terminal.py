"""A command as a person at a terminal sees it: its output on a terminal of so many columns, with or without colour."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence

from labs import ROOT

MAIN = (sys.executable, "-P", "-W", "ignore", "-m", "certmedic")
PAPER = {"light": ("#ffffff", "#1b1f24"), "dark": ("#101418", "#d7dce2")}
# red, green, yellow, blue, each as terminals draw it on light and on dark paper
INKS = {
    "light": ("#b3261e", "#1f7a3d", "#8a5a00", "#1f5fa8"),
    "dark": ("#ff7b72", "#6fcf8f", "#e3b341", "#79b8ff"),
}


def seen(
    words: Sequence[str], *, columns: int, environment: Mapping[str, str] | None = None, program: Sequence[str] = MAIN
) -> str:
    """Run certmedic on a terminal and return what it writes, with the marks for colours. Its exit code does not matter."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    around = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT / "agent"), "LANG": "C.UTF-8"}
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        around.pop(name, None)
    process = subprocess.Popen(
        [*program, *words], stdin=theirs, stdout=theirs, stderr=theirs, env={**around, **(environment or {})}
    )
    os.close(theirs)
    written = io.BytesIO()
    with contextlib.suppress(OSError):  # the end of a terminal is an error
        while piece := os.read(ours, 1 << 16):
            written.write(piece)
    os.close(ours)
    process.wait(timeout=60)
    return written.getvalue().decode().replace("\r\n", "\n")


def page(text: str, *, columns: int, paper: str = "dark") -> str:
    """Return a page that shows a terminal with this text."""
    from rich.console import Console  # noqa: PLC0415 - only pictures need it
    from rich.terminal_theme import TerminalTheme  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    def numbers(colour: str) -> tuple[int, int, int]:
        red, green, blue = bytes.fromhex(colour[1:])
        return red, green, blue

    back, fore = map(numbers, PAPER[paper])
    inks = [back, *map(numbers, INKS[paper]), fore, fore, fore]
    shown = Console(record=True, width=columns, file=io.StringIO(), force_terminal=True, color_system="standard")
    shown.print(Text.from_ansi(text), soft_wrap=True)
    return shown.export_html(
        theme=TerminalTheme(back, fore, inks),
        inline_styles=True,
        code_format='<!DOCTYPE html><html><body style="margin:0;background:{background};color:{foreground}">'
        f'<pre style="margin:12px 16px;width:{columns}ch;font:14px/1.3 DejaVu Sans Mono,monospace;'
        'white-space:pre-wrap;overflow-wrap:anywhere">{code}</pre></body></html>',
    )
