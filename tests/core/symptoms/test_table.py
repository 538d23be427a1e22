"""One test for every rule: a rule added to rules/*.toml is tested by its own samples and negatives."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime

import pytest

from certmedic.core import symptoms
from certmedic.core.model import LogEntry, Sighting
from certmedic.core.symptoms import table
from certmedic.core.symptoms.normalise import is_normal, normalise

WHEN = datetime(2026, 11, 24, 15, 32, 49, tzinfo=UTC)
SAMPLES = [(rule, sample) for rule in symptoms.RULES for sample in rule.samples]
NEGATIVES = [(rule, negative) for rule in symptoms.RULES for negative in rule.negatives]


def sighting_of(line: str) -> Sighting | None:
    return symptoms.parse(LogEntry(stream="t", position="1", time=WHEN, text=line))


@pytest.mark.parametrize(("rule", "sample"), SAMPLES, ids=[f"{rule.name}-{n}" for n, (rule, _) in enumerate(SAMPLES)])
def test_sample_matches_its_rule_and_contains_a_needle(rule, sample):
    sighting = sighting_of(sample)
    assert sighting is not None
    assert sighting.rule == rule.name
    assert sighting.rejected_by == rule.rejected_by
    assert rule.meaning in sighting.meaning
    assert symptoms.interesting(sample.encode())


@pytest.mark.parametrize(
    ("rule", "negative"), NEGATIVES, ids=[f"{rule.name}-{n}" for n, (rule, _) in enumerate(NEGATIVES)]
)
def test_negative_matches_the_rule_it_names_or_none(rule, negative):
    sighting = sighting_of(negative.line)
    assert (sighting.rule if sighting else "") == negative.rule != rule.name


def test_every_rule_has_a_name_samples_and_negatives_that_are_unique():
    lines = [sample for _, sample in SAMPLES] + [negative.line for _, negative in NEGATIVES]
    assert [line for line, count in Counter(lines).items() if count > 1] == []
    assert {negative.rule for _, negative in NEGATIVES} <= {rule.name for rule in symptoms.RULES} | {""}
    assert all(rule.samples and rule.negatives for rule in symptoms.RULES)
    assert len({rule.name for rule in symptoms.RULES}) == len(symptoms.RULES) >= 31


def test_no_phrase_of_a_rule_contains_a_shorter_phrase_of_it():
    # Go's errors are exempt: rule_for() looks them up in full.
    for rule in symptoms.RULES:
        for phrase in rule.says:
            shorter = [other for other in rule.says if other != phrase and other in phrase]
            assert not shorter or phrase.startswith("x509: "), (rule.name, phrase, shorter)


def test_pattern_matches_nothing_without_one_of_its_hints():
    for rule in symptoms.RULES:
        for _, sample in SAMPLES:
            text = normalise(sample).text
            if rule.hints and rule.pattern and re.search(rule.pattern, text):
                assert any(hint in text for hint in rule.hints), (rule.name, sample)


@pytest.mark.parametrize(("phrase", "sample"), table.CHATTER.items())
def test_chatter_phrase_prevents_a_sighting(phrase, sample):
    words = normalise(sample)
    assert phrase in words.text
    assert any(rule.matches(words) for rule in symptoms.RULES), "without the phrase, the sample must be a sighting"
    assert sighting_of(sample) is None


def test_shared_phrases_are_normalised_and_unique():
    shared = (*table.SERVER, *table.CLIENT, *table.OWN_CHECK, *table.CHATTER)
    assert [phrase for phrase in shared if not is_normal(phrase)] == []
    assert [phrase for phrase, count in Counter(shared).items() if count > 1] == []


def test_program_name_comes_before_its_prefixes():
    names = table.PROGRAMS
    for place, name in enumerate(names):
        assert not [later for later in names[place + 1 :] if later.startswith(name)], name
    assert {name for _, name in table.OTHER_WORDS} <= set(names)


def test_no_two_rules_have_the_same_name():
    assert [name for name, count in Counter(rule.name for rule in symptoms.RULES).items() if count > 1] == []


RULE = """
[[rule]]
name = 'a-rule'
meaning = 'it is wrong'
symptom = 'expired'
rejected_by = 'local'
suspect = 'peer'
says = ['certificate is wrong']
samples = ['Certificate is wrong']
negatives = [{ rule = '', line = 'Certificate is right' }]
"""


def test_rule_file_is_read():
    (rule,) = table.rules_of("a.toml", RULE.replace("says = [", "says = ['.%EXT% is bad', "))
    assert rule.says[:2] == (".crt is bad", ".key is bad")
    assert rule.says[-1] == "certificate is wrong"


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("symptom = 'expired'", "symptom = 'tired'", "'tired' is not a valid Symptom"),
        ("suspect = 'peer'", "suspects = 'peer'", "unknown keys: \\['suspects'\\]"),
        ("'certificate is wrong'", "'Certificate is wrong'", "not in the spelling"),
        ("'certificate is wrong'", "'self-signed'", "not in the spelling"),
        ("says = ['certificate is wrong']", "hints = ['wrong']", "needs says, heard, sent or a pattern"),
        ("samples = ['Certificate is wrong']", "samples = []", "needs a sample"),
        ("negatives = [{ rule = '', line = 'Certificate is right' }]", "negatives = []", "needs a sample and a negative"),
        ("rule = '', line", "rul = '', line", "unexpected keyword argument 'rul'"),
        ("meaning = 'it is wrong'", "", "meaning"),
    ],
)  # fmt: skip
def test_a_faulty_rule_file_is_refused_with_its_name(before, after, reason):
    assert before in RULE
    with pytest.raises(ValueError, match=f"^a.toml: rule a-rule: .*{reason}"):
        table.rules_of("a.toml", RULE.replace(before, after))
