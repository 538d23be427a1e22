"""Envelopes at their limits: truncated, nested, in lists or escaped, and how much is read."""

import json

import pytest

from certmedic.core.symptoms.envelope import LAYERS, PAIRS, unescape, unwrap


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (r"\u003chost\u003e", "<host>"),
        (r"\\\"x\\\"", '"x"'),
        (r"a\n.", "a ."),
        (r"C:\names", r"C:\names"),
        ("plain", "plain"),
    ],
)
def test_every_level_of_escaping_is_removed(text, plain):
    assert unescape(text) == plain


@pytest.mark.parametrize(
    ("line", "message", "pairs"),
    [
        ('{"error":"bad certificate","host":"a"}', "bad certificate", {"error": "bad certificate", "host": "a"}),
        ('{"error":"bad certificate"}', "bad certificate", {"error": "bad certificate"}),
        ('{"msg":"x","peers":[{"id":"7"},"b",5]}', "x", {"peers": "b", "id": "7"}),
        ('{"msg":"x","peers":[5,{"id":"7"}]}', "x", {"id": "7"}),
        ('{"msg":"x","a":{"b":{"c":"d"}}}', "x", {"c": "d"}),
        ('connected","error":"eof","id":"7"}', "connected: eof", {"error": "eof", "id": "7"}),
        ('see","id":"7","name":"x"}', 'see","id":"7","name":"x"}', {}),  # a fragment without an error
    ],
)
def test_json_objects_and_their_fragments_are_read(line, message, pairs):
    unwrapped = unwrap(line)
    assert (unwrapped.message, dict(unwrapped.pairs)) == (message, pairs)


def nested(depth):
    """Return an object with a string at that depth, and a message at the top."""
    value = "deep"
    for _ in range(depth):
        value = {"k": value}
    return json.dumps({"msg": "x", **value})


@pytest.mark.parametrize(("depth", "is_read"), [(1, True), (5, True), (6, False)])
def test_objects_are_read_to_a_depth_of_five(depth, is_read):
    assert ("k" in unwrap(nested(depth)).pairs) is is_read


@pytest.mark.parametrize(("number", "is_read"), [(PAIRS - 1, True), (PAIRS, True), (PAIRS + 1, False)])
def test_logfmt_is_read_up_to_a_number_of_pairs(number, is_read):
    line = "level=warn msg=hello " + " ".join(f"k{place}=v" for place in range(2, number + 1))
    unwrapped = unwrap(line)
    assert unwrapped.message == "hello"
    assert (f"k{number}" in unwrapped.pairs) is is_read


@pytest.mark.parametrize(("layers", "is_bare"), [(LAYERS, True), (LAYERS + 1, False)])
def test_eight_envelopes_are_removed(layers, is_bare):
    line = "2026-11-24T15:32:44.123Z stdout F " * layers + "hello"
    assert (unwrap(line).message == "hello") is is_bare
