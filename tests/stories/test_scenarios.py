"""`certmedic diagnose` on real etcd clusters with one planted fault each, in every log envelope of etcd."""

import json
import os
import subprocess
import sys

import pytest

from labs import etcd
from labs.masters import AGENT

pytestmark = [pytest.mark.real, pytest.mark.long, pytest.mark.timeout(180)]


def diagnose(member, *words):
    """Run the command on the log and certificates of one member, as on a laptop."""
    command = [
        sys.executable,
        "-m",
        "certmedic",
        "diagnose",
        "--json",
        "--certs",
        f"{member.pki}/**/*.crt",
        *words,
        str(member.log),
    ]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(AGENT)}, capture_output=True, check=False, timeout=60
    )
    assert done.returncode in (0, 1, 2), done.stderr.decode()
    return json.loads(done.stdout)["diagnoses"], done.returncode


def deviation(expect, diagnoses):
    """Return the verdict that differs from the expected one; None if it is right."""
    if expect["suspect"] == "none":
        return [f"{d['suspect']}/{d['cause']}" for d in diagnoses] or None
    if not diagnoses:
        return "nothing"
    top = diagnoses[0]
    if (top["suspect"], top["cause"]) != (expect["suspect"], expect["cause"]):
        return f"{top['suspect']}/{top['cause']}"
    if expect["suspect"] == "peer" and any(d["suspect"] == "own" and d["remedy"]["helps"] == "yes" for d in diagnoses):
        return "offers to restart a healthy member"
    paths = [c["path"] or "" for c in top["certificates"]]
    named = expect.get("certificates")
    return paths if named and not any(p.endswith(e) for p in paths for e in named) else None


# On the newest etcd: faults that are distinguished in different ways. On older ones: faults whose lines differ most.
ENVELOPES = (("3.5", "zap"), ("3.4", "zap"), ("3.4", "capnslog"), ("3.3", "capnslog"))
EACH = (
    *("healthy", "peer-expired-one", "peer-expired-all", "server-expired-one", "both-expired-one", "peer-future-one"),
    *("peer-wrong-ca-one", "peer-san-mismatch-one", "peer-ca-expired-all", "apiclient-expired", "key-mismatch-one"),
    *("peer-without-client-usage", "peer-ca-replaced-one", "peer-chain-expired", "strangers"),
    *("client-revoked", "clients-ca-unusable-one"),
)
CHOSEN = [
    *((name, "3.5", "zap") for name in EACH),
    *((name, "3.4", "zap") for name in ("peer-san-mismatch-one", "server-expired-one")),
    *((name, "3.4", "capnslog") for name in ("peer-san-mismatch-one", "both-expired-one", "healthy")),
    *(
        (name, "3.3", "capnslog")
        for name in ("peer-expired-one", "both-expired-one", "apiclient-expired", "peer-common-name-one")
    ),
]
if os.environ.get("CERTMEDIC_SCENARIOS") == "all":  # takes half an hour
    CHOSEN = [(name, *envelope) for envelope in ENVELOPES for name in etcd.PLANTED]


@pytest.mark.parametrize(("name", "version", "logger"), CHOSEN, ids=str)
def test_each_member_gets_the_expected_verdict_from_its_log_and_files(name, version, logger, tmp_path):
    story = etcd.scenario(name, tmp_path, logger=logger, version=version)

    wrong = {}
    for key, member in story.members.items():
        diagnoses, code = diagnose(member)
        problem = deviation(story.expect[key], diagnoses)
        if problem is not None:
            wrong[key] = (story.expect[key], problem)
        assert (code == 0) == (not diagnoses or all(d["severity"] == "info" for d in diagnoses))
        helping = [d for d in diagnoses if d["remedy"]["helps"] == "yes"]
        assert not [d["cause"] for d in helping if d["cause"] not in ("expired", "stale_in_memory")]
    assert wrong == {}
