"""Debian's Chromium, which makes a picture of a page: light or dark, as wide as a screen or a phone.

It is driven over two pipes (its `--remote-debugging-pipe`), so that no port opens. Its profile lasts as long as the browser.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Self

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
PHONE = 375  # CSS pixels


class Browser:
    """A browser with one tab."""

    def __init__(self) -> None:
        program = shutil.which("chromium")
        if program is None:
            raise FileNotFoundError("chromium is not installed")
        self._home = tempfile.mkdtemp(prefix="certmedic-browser-")
        reads, self._out = os.pipe()
        self._in, writes = os.pipe()
        # It reads from 3 and writes to 4; a shell moves the ends of the pipes there.
        words = (
            "sh",
            "-c",
            f'exec "$@" 3<&{reads} 4>&{writes}',
            "sh",
            program,
            *FLAGS,
            f"--user-data-dir={self._home}",
        )
        self._process = subprocess.Popen(words, pass_fds=(reads, writes), stderr=subprocess.DEVNULL)
        os.close(reads)
        os.close(writes)
        self._number = 0
        self._rest = b""
        self._session = ""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._frame = self._call("Page.getFrameTree")["frameTree"]["frame"]["id"]

    def picture(self, page: str, *, width: int, dark: bool = False, sharp: int = 1, longest: int = 0) -> bytes:
        """Return a PNG of a whole page of this width in CSS pixels; `sharp` real pixels each way for one, the first `longest`."""
        media = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._call("Emulation.setEmulatedMedia", features=media)
        screen = {"deviceScaleFactor": sharp, "mobile": width <= PHONE}
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=100, **screen)
        self._call("Page.setDocumentContent", frameId=self._frame, html=page)
        size = self._call("Page.getLayoutMetrics")["cssContentSize"]
        height = min(size["height"], longest) if longest else size["height"]
        clip = {"x": 0, "y": 0, "width": max(width, size["width"]), "height": height, "scale": 1}
        shot = self._call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        return base64.b64decode(shot["data"])

    def width(self) -> int:
        """Return the width in CSS pixels that the content of the last page takes."""
        return int(self._call("Page.getLayoutMetrics")["cssContentSize"]["width"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._out)  # it ends when nobody drives it
        self._process.wait(timeout=30)
        os.close(self._in)
        shutil.rmtree(self._home, ignore_errors=True)

    def _call(self, method: str, **values: Any) -> Any:
        self._number += 1
        session = {"sessionId": self._session} if self._session else {}
        asked = {"id": self._number, "method": method, "params": values, **session}
        left = json.dumps(asked).encode() + b"\0"
        while left:
            left = left[os.write(self._out, left) :]
        while True:
            reply = self._reply()
            if reply.get("id") != self._number:
                continue
            if "error" in reply:
                raise RuntimeError(f"{method}: {reply['error']['message']}")
            return reply["result"]

    def _reply(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            piece = os.read(self._in, 1 << 16)
            if not piece:
                raise RuntimeError("the browser ended")
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(line))


def small(png: Path) -> None:
    """Make a PNG smaller: 64 colours are enough for a page of text."""
    subprocess.run(["pngquant", "--force", "--skip-if-larger", "--ext=.png", "64", str(png)], check=False)
    subprocess.run(["optipng", "-quiet", "-o5", "-strip", "all", str(png)], check=True)
