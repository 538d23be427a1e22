"""An answer over HTTP has a deadline and a cap, and each failure says what to do."""

import time

import pytest

from certmedic.edge.fleet import FleetError, request
from labs.answers import answering, reply
from labs.receivers import free_port


def failure(url):
    with pytest.raises(FleetError) as caught:
        request.ask(url, "/api", {})
    return str(caught.value)


def test_request_has_path_query_and_password():
    with answering(reply({"a": 1})) as there:
        url = there.url.replace("//", "//me:p%40ss@") + "/prefix/"
        assert request.ask(url, "/api", {"query": 'a{b="ü"} > 0'}) == {"a": 1}

    assert there.requests[0].startswith("GET /prefix/api?query=a%7Bb%3D%22%C3%BC%22%7D+%3E+0 HTTP/1.0\r\n")
    assert "Authorization: Basic bWU6cEBzcw==\r\n" in there.requests[0]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (reply("<html>"), "is not JSON"),
        (reply("[" * 100_000), "is not JSON"),
        (reply("\\xff"), "is not JSON"),
        (reply("", 401), "HTTP 401: write the password into the address"),
        (reply("", 404), "HTTP 404: is the address right"),
        (reply("", 302), "HTTP 302: it sends elsewhere"),
        (b"SSH-2.0\r\n\r\n", "not HTTP"),
        (b"", "without an answer"),
        (b"HTTP/1.0 200 x\r\nContent-Length: 9\r\n\r\n{}", "cut short"),
    ],
)
def test_faulty_answer_says_what_to_do(answer, text):
    with answering(answer) as there:
        assert text in failure(there.url.replace("//", "//me:secret@"))
        assert "secret" not in failure(there.url.replace("//", "//me:secret@"))


def test_program_that_does_not_listen_is_named():
    port = free_port()
    text = failure(f"http://127.0.0.1:{port}/a")
    assert text.startswith(f"http://127.0.0.1:{port}/a: cannot be reached: Connection refused")


def test_plain_port_is_named_if_tls_was_asked_for():
    with answering(reply({})) as there:
        assert "TLS fails" in failure(there.url.replace("http:", "https:"))


def test_slow_answer_ends_at_the_deadline(monkeypatch):
    monkeypatch.setattr(request, "DEADLINE", 0.5)
    began = time.monotonic()
    with answering(reply(""), drip=0.1) as there:
        assert "no answer within" in failure(there.url)
    assert time.monotonic() - began < 20


def test_answer_that_is_too_large_is_not_read(monkeypatch):
    monkeypatch.setattr(request, "MOST", 1000)
    with answering(reply("x" * 1001)) as there:
        assert "more than 1000 bytes" in failure(there.url)


@pytest.mark.parametrize(
    "url", ["", "localhost:9090", "ftp://a", "http://", "http://a:b", "http://[", "http://a b", "http://ä"]
)
def test_address_that_is_none_is_refused(url):
    assert "write http://HOST:PORT" in failure(url)
