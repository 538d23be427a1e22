"""The told recipe for CAs of k3s and rke2 that have expired, typed: afterwards a real handshake works, and certmedic finds nothing wrong.

openssl and TLS are real, the server and `rotate-ca` are played (labs/rancher.py). `./dev real recipe` runs it, and that of kops.
"""

import json
import os
from datetime import UTC, datetime, timedelta

import pytest

from certmedic import app
from certmedic.config import Config
from certmedic.core import remedies
from certmedic.core.model import Cause
from labs import rancher
from labs.command import certmedic
from labs.waiting import until

DAY = timedelta(days=1)
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: gives up the power to set the clock"),
]


def listed(root):
    """Return what certmedic finds below a root: (path, status), and the exit code of the check."""
    done = certmedic("certs", "--json", "--check", "--root", str(root))
    certificates = json.loads(done.stdout)["certificates"]
    return {(each["path"], each["status"]) for each in certificates}, done.returncode


def told(root):
    """Return the remedy of the incident about all CAs that have expired below a root."""
    facts = app.inspector(Config(), str(root)).gather(now=datetime.now(UTC))
    cas = [stored for stored in facts.stored if stored.certificate.is_ca and stored.certificate.not_after < facts.at]
    return remedies.for_own(Cause.CA_EXPIRED, cas, facts)


@pytest.mark.parametrize("program", ["k3s", "rke2"])
def test_recipe_of_k3s_and_rke2_replaces_cas_that_expired(program, tmp_path):
    now = datetime.now(UTC)
    server = rancher.make(tmp_path, program, not_before=now - 3650 * DAY, not_after=now - 40 * DAY)
    states, code = listed(tmp_path)
    assert code == 2
    assert {state for path, state in states if path.endswith("-ca.crt")} == {"ca_expired"}
    remedy = told(tmp_path)

    with server.serving("serving-kube-apiserver"):
        until(lambda: not server.accepts("server-ca"))
        plain = f"{program} certificate rotate-ca --path=/opt/{program}/server --force"
        assert "CA cert validation failed" in server.type(plain).stderr  # without the clock set back
        typed = server.type(remedy.command)

    assert typed.returncode == 0, typed.stderr
    assert abs(int((server.home / "offset").read_text())) <= 2
    assert (server.home / "clock").read_text().split() == ["set-ntp", "false", "set-ntp", "true"]
    assert (server.home / "starts").read_text().count("started") == 2
    for leaf, ca in (("serving-kube-apiserver", "server-ca"), ("etcd/server-client", "etcd/server-ca")):
        with server.serving(leaf):
            until(lambda ca=ca: server.accepts(ca), seconds=20)
    states, code = listed(tmp_path)
    assert {state for _, state in states} == {"ok", "replaced"}
    assert code == 0
