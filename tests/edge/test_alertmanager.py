"""Posts to Alertmanager's API: authentication, TLS, refusals and deadlines, against receivers on loopback."""

import base64
import ssl
import threading

import pytest

from certmedic.edge import alertmanager
from certmedic.edge.alertmanager import Access, Alertmanager, Posted, address_towards
from labs import receivers
from labs.waiting import until


def posted(*urls, access=None):
    """Post once; return the error of each instance."""
    manager = Alertmanager(urls, access)
    manager.post(b"[]")
    results = []
    until(lambda: results.append(manager.result()) or len([r for r in results if r]) == len(urls))
    return {result.instance: result.error for result in results if result}


def test_alerts_go_to_the_path_of_version_two_as_json(hook):
    assert posted(f"http://127.0.0.1:{hook.port}/prefix/") == {f"127.0.0.1:{hook.port}": ""}
    ((path, headers, body),) = hook.requests
    assert (path, headers["Content-Type"], body) == ("/prefix/api/v2/alerts", "application/json", b"[]")
    assert "Authorization" not in headers


def test_user_and_password_of_the_address_are_sent_and_in_no_result(hook):
    assert posted(f"http://us%40er:s3cret@127.0.0.1:{hook.port}") == {f"127.0.0.1:{hook.port}": ""}
    assert hook.requests[0][1]["Authorization"] == "Basic " + base64.b64encode(b"us@er:s3cret").decode()
    assert "s3cret" not in repr(Alertmanager(["http://a:s3cret@h"]))


def test_token_is_read_for_each_post_if_its_file_is_believed(hook, tmp_path):
    token = tmp_path / "token"
    token.write_text("one\n")
    url = f"http://127.0.0.1:{hook.port}"
    for word in ("one", "two"):
        token.write_text(f"{word}\n")
        posted(url, access=Access(token=token))
        assert hook.requests[-1][1]["Authorization"] == f"Bearer {word}"
    access = Access(token=token, check=lambda path: f"{path}: is anybody's")
    assert posted(url, access=access) == {f"127.0.0.1:{hook.port}": f"{token}: is anybody's"}
    assert len(hook.requests) == 2


@pytest.mark.parametrize("status", ["400", "429", "503"])
def test_refusal_is_an_error_and_the_other_instance_gets_the_alerts(hook, other_hook, status):
    hook.mood = status
    errors = posted(f"http://127.0.0.1:{hook.port}", f"http://127.0.0.1:{other_hook.port}")
    assert errors == {f"127.0.0.1:{hook.port}": f"HTTP {status}", f"127.0.0.1:{other_hook.port}": ""}


def test_instance_that_cannot_be_reached_is_an_error():
    port = receivers.free_port()
    assert posted(f"http://127.0.0.1:{port}") == {f"127.0.0.1:{port}": "Connection refused"}


def test_instance_that_answers_byte_by_byte_is_given_up(hook, monkeypatch):
    monkeypatch.setattr(alertmanager, "DEADLINE", 0.5)
    hook.mood = "drip"
    assert posted(f"http://127.0.0.1:{hook.port}") == {f"127.0.0.1:{hook.port}": "no answer in time"}


def test_instance_that_still_hangs_gets_no_second_post(monkeypatch):
    gate, calls = threading.Event(), []
    monkeypatch.setattr(alertmanager, "send", lambda *words: calls.append(words) or (gate.wait(30) and ""))
    manager = Alertmanager(["http://h:1"])
    manager.post(b"[]")
    manager.post(b"[]")
    assert manager.result() == Posted(instance="h:1", error="no answer in time")
    gate.set()
    assert len(calls) == 1


def test_certificate_that_is_not_trusted_is_named_as_the_reason(monkeypatch):
    error = ssl.SSLCertVerificationError()
    error.verify_message = "certificate has expired"

    def refuse(*_):
        raise error

    monkeypatch.setattr(alertmanager, "send", refuse)
    assert posted("https://h:1") == {"h:1": "its certificate is not trusted: certificate has expired"}


def test_own_address_is_that_towards_the_peers():
    assert address_towards(frozenset({"127.0.0.1"})) == "127.0.0.1"
    assert address_towards(frozenset({"not-an-address..", "127.0.0.1"})) == "127.0.0.1"
    assert address_towards(frozenset()) == ""
