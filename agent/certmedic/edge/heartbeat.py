"""The dead man's switch: a call to an address where somebody misses it when it no longer comes.

A call is made on a thread of its own, so that nothing ever waits for it: not for a name that is not resolved, nor for a
receiver that answers drop by drop. The address is a secret and stands in no text.
"""

from __future__ import annotations

import threading
from http.client import HTTPException
from queue import Empty, SimpleQueue
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

DEADLINE = 10.0  # seconds of silence of the other side


class Heartbeat:
    """Calls an http:// or https:// address: POST with a text, or GET where that is refused. For one thread."""

    def __init__(self, url: str) -> None:
        self.failures = 0  # since the start
        self._url = url
        self._thread: threading.Thread | None = None
        self._results: SimpleQueue[str] = SimpleQueue()

    def __repr__(self) -> str:
        return f"Heartbeat({self.failures} failures)"

    def beat(self, text: str) -> None:
        """Begin a call. One that is still under way since the last time counts as failed, and no other is begun beside it."""
        if self._thread is not None and self._thread.is_alive():
            self._results.put("no answer in time")
            return
        self._thread = threading.Thread(target=self._call, args=(text,), name="heartbeat", daemon=True)
        self._thread.start()

    def result(self) -> str | None:
        """Return what became of a call: "" where it was taken, else why not; None while there is nothing new."""
        try:
            said = self._results.get_nowait()
        except Empty:
            return None
        self.failures += bool(said)
        return said

    def _call(self, text: str) -> None:
        said = _request(self._url, text.encode())
        if said in ("HTTP 404", "HTTP 405", "HTTP 501"):  # some services know no POST
            said = _request(self._url, None)
        self._results.put(said)


def _request(url: str, data: bytes | None) -> str:
    headers = {"User-Agent": "certmedic", **({"Content-Type": "text/plain; charset=utf-8"} if data else {})}
    try:
        # The configuration lets nothing in but http:// and https://.
        with urlopen(Request(url, data, headers), timeout=DEADLINE):  # noqa: S310 - see above
            return ""
    except HTTPError as error:
        error.close()
        return f"HTTP {error.code}"
    except URLError as error:
        reason = error.reason
        return (reason.strerror if isinstance(reason, OSError) else "") or type(reason).__name__
    except (OSError, HTTPException, ValueError) as error:
        return type(error).__name__  # its text may hold the address
