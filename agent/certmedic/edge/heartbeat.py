"""The dead man's switch: a regular call to an address whose owner alerts if the call does not come.

Each call has a thread, so that nothing waits for a name that is not resolved or a receiver that answers byte by byte. The
address is a secret and is in no text.
"""

from __future__ import annotations

import threading
from http.client import HTTPException
from queue import Empty, SimpleQueue
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

DEADLINE = 10.0  # seconds without a byte from the receiver


class Heartbeat:
    """Calls an http:// or https:// address with POST, or with GET if that is refused. For use from one thread."""

    def __init__(self, url: str) -> None:
        self.failures = 0  # since the start
        self._url = url
        self._thread: threading.Thread | None = None
        self._results: SimpleQueue[str] = SimpleQueue()

    def __repr__(self) -> str:
        return f"Heartbeat({self.failures} failures)"

    def beat(self, text: str) -> None:
        """Begin a call, unless the last one has not ended: then count that as failed."""
        if self._thread is not None and self._thread.is_alive():
            self._results.put("no answer in time")
            return
        self._thread = threading.Thread(target=self._call, args=(text,), name="heartbeat", daemon=True)
        self._thread.start()

    def result(self) -> str | None:
        """Return the result of a call, "" or why it failed; None if there is no new result."""
        try:
            failure = self._results.get_nowait()
        except Empty:
            return None
        self.failures += bool(failure)
        return failure

    def _call(self, text: str) -> None:
        failure = _request(self._url, text.encode())
        if failure in ("HTTP 404", "HTTP 405", "HTTP 501"):  # some services accept no POST
            failure = _request(self._url, None)
        self._results.put(failure)


def _request(url: str, data: bytes | None) -> str:
    headers = {"User-Agent": "certmedic", **({"Content-Type": "text/plain; charset=utf-8"} if data else {})}
    try:
        # The configuration accepts only http:// and https://.
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
