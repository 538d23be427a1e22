"""Values as JSON text and back: damaged text raises only the errors that `load` documents."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certmedic.core import codec
from certmedic.core.model import Action, Certificate, Decision, Diagnosis, Facts, LogEntry, RemedyKind
from labs.values import NOW, member

KINDS = (Certificate, Decision, Diagnosis, LogEntry)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(sorted({name for kind in KINDS for name in kind.__dataclass_fields__}))


@given(st.sampled_from(KINDS), (JSON | st.dictionaries(NAMES, JSON)).map(json.dumps) | st.text())
def test_damaged_text_raises_only_documented_errors(kind, text):
    with contextlib.suppress(ValueError, KeyError, TypeError):
        assert isinstance(codec.load(kind, text), kind)


@pytest.mark.parametrize("text", ["[]", "5", "null", '"x"', "[" * 100_000, "", '{"gates": 5}', '{"gates": [5]}'])
def test_text_that_is_no_decision_is_refused(text):
    with pytest.raises((ValueError, KeyError, TypeError)):
        codec.load(Decision, text)


def test_times_and_foreign_text_survive_the_round_trip():
    entry = LogEntry(
        stream="journal", position="p", time=datetime(2026, 2, 3, 4, 5, 6, 7, UTC), text="\ufffd \u20ac \x1b[2J"
    )
    assert codec.load(LogEntry, codec.dump(entry)) == entry


def test_certificates_and_actions_survive_the_round_trip():
    stored = member()[0]
    assert codec.load(Certificate, codec.dump(stored.certificate)) == stored.certificate
    assert codec.load(Certificate, codec.dump(stored.certificate)).der == stored.certificate.der
    watched = (("/a.crt", NOW), ("/b.crt", NOW))
    action = Action(kind=RemedyKind.RENEW, container=None, watched=watched, ports=(1, 2))
    decision = Decision(reason="r", action=action)
    assert codec.load(Decision, codec.dump(decision)) == decision


def test_pair_of_another_length_is_refused():
    text = codec.dump(Action(kind=RemedyKind.RENEW, container=None, watched=(("/a.crt", NOW),)))
    broken = text.replace('+00:00"]', '+00:00", 5]')
    assert broken != text
    with pytest.raises(ValueError, match="is longer than"):
        codec.load(Action, broken)


def test_unknown_field_is_skipped():
    text = codec.dump(Decision(reason="r")).replace("{", '{"later": 5, ', 1)
    assert codec.load(Decision, text) == Decision(reason="r")


def test_mapping_survives_the_round_trip():
    looked = Facts(at=NOW, host="h", used={"/a.crt": "peer"})
    assert codec.load(Facts, codec.dump(looked)) == looked
    with pytest.raises(TypeError, match="an object was expected, not list"):
        codec.load(Facts, codec.dump(looked).replace('{"/a.crt": "peer"}', "[]"))
