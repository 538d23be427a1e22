"""`certmedic collect` packs one file without keys, and `diagnose` judges it as on the master."""

import base64
import gzip
import json
import ssl
import stat
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from certmedic import app
from certmedic.cli import main
from certmedic.core import planes, verdict
from certmedic.edge import archive
from certmedic.edge.facts.machine import Machine
from labs import pki

NOW = datetime.now(UTC).replace(microsecond=0)
REFUSED = 'rejected connection from "10.0.0.2:41000" (error "remote error: tls: bad certificate", ServerName "etcd-a")'
SECRET = "xoxb-5e6f7a8b"


class Looks:
    """Looks at the copied files as a machine does, with every origin trusted."""

    def __init__(self, root):
        self._machine = Machine(globs=planes.patterns(root=str(root)), root=str(root), live=False)

    def learn(self, origin):
        pass

    def gather(self, *, now):
        return verdict.vouched(self._machine.gather(now=now))


@pytest.fixture(params=["expired", "key_mismatch"])
def packed(request, tmp_path, monkeypatch):
    """Collect a sick master, whose log quotes a private key; return its folder, the archive and the cause."""
    root = tmp_path / "master"
    peers, clients = pki.authority("etcd-peers-ca-main"), pki.authority("etcd-clients-ca")
    ends = NOW + timedelta(hours=-1 if request.param == "expired" else 9000)
    leaf = peers.leaf("etcd-a", dns=("etcd-a",), not_after=ends)
    token = pki.kops_volume(root / "mnt/master-vol-1", peers_ca=peers, clients_ca=clients, peer=leaf)
    if request.param == "key_mismatch":
        clients.leaf("other").write(tmp_path / "other.crt", tmp_path / "other.key")
        (token / "peers/me.key").write_bytes((tmp_path / "other.key").read_bytes())
    key = (token / "peers/me.key").read_text()
    lines = [REFUSED, f"{REFUSED} {key!r}", f"password={SECRET} {REFUSED}", key, REFUSED]
    (tmp_path / "etcd.log").write_text("\n".join(lines) + "\n")
    config = tmp_path / "certmedic.toml"
    config.write_text(
        f'state = "{tmp_path / "state"}"\n[watch]\njournal = false\ndocker = false\npods = false\n'
        f'files = ["{tmp_path}/etcd.log"]\n[notify]\napprise = ["slack://{SECRET}/B/C/#a"]\n'
    )
    config.chmod(0o640)
    monkeypatch.setattr(app, "machine", lambda _: Looks(root))
    file = tmp_path / "out.tar.gz"
    done = CliRunner().invoke(main, ["collect", "--config", str(config), "--output", str(file)])
    assert done.exit_code == 0, done.output
    there = CliRunner().invoke(main, ["backfill", "--since", "1d", "--config", str(config), "--json"])
    return root, file, request.param, json.loads(there.stdout)["incidents"]


def test_archive_is_judged_as_on_the_master(packed):
    _, file, cause, on_the_master = packed
    done = CliRunner().invoke(main, ["diagnose", str(file), "--json"])
    judged = json.loads(done.stdout)["diagnoses"]

    assert (done.exit_code, judged[0]["cause"]) == (2, cause)
    for name in ("cause", "suspect", "certificates", "remedy", "confidence", "count", "evidence"):
        assert judged[0][name] == on_the_master[0][name], name


def test_archive_holds_no_key_and_no_secret(packed):
    root, file, _, _ = packed
    files = archive.read(str(file), "certmedic-collect/")
    everything = b"\n".join([gzip.decompress(file.read_bytes()), *files.values()])
    keys = [path.read_text() for path in root.rglob("*.key")]

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(keys) == 2
    for key in keys:
        body = [line for line in key.splitlines() if "-----" not in line]
        der = base64.b64decode("".join(body))
        for trace in (
            *map(str.encode, body),
            der,
            der[-32:],
            base64.b64encode(der)[:40],
            base64.b64encode(key.encode())[40:80],
        ):
            assert trace not in everything
    assert b"PRIVATE KEY" not in everything
    assert SECRET.encode() not in everything


def test_archive_holds_what_a_colleague_reads(packed):
    root, file, _, _ = packed
    files = archive.read(str(file), "certmedic-collect/")
    about = json.loads(files["about.json"])

    assert {"certmedic", "openssl", "kernel", "system"} <= set(about["versions"])
    assert json.loads(files["configuration.json"])["mode"] == "notify"
    assert json.loads(files["status.json"]) == {"state": "none: the service has not run here"}
    (log,) = (data for name, data in files.items() if name.startswith("logs/"))
    assert log.count(REFUSED.encode()) == 4
    (token,) = root.glob("mnt/*/pki/*")
    mine = files[f"certificates{token}/peers/me.crt"].decode()
    assert ssl.PEM_cert_to_DER_cert(mine) == ssl.PEM_cert_to_DER_cert((token / "peers/me.crt").read_text())


def test_archive_is_never_replaced_and_has_a_known_ending(tmp_path):
    (tmp_path / "a.tar.gz").symlink_to("nowhere")
    for name, code, words in (("a.tar.gz", 1, "exists already"), ("a.zip", 2, "must end in .tar.gz")):
        done = CliRunner().invoke(main, ["collect", "--output", str(tmp_path / name)])
        assert (done.exit_code, words in done.output) == (code, True)


@pytest.mark.parametrize(
    "content", [b"{}", b'{"at": "2026-11-24T00:00:00+00:00", "host": "a", "stored": [{}]}', b'{"at": 1, "host": []}']
)
def test_hostile_archive_is_told_in_one_sentence(tmp_path, content):
    file = str(tmp_path / "a.tar.gz")
    archive.write(
        file, {"about.json": b'{"schema": 1}', "facts.json": content, "failures.json": b"[]"}, "certmedic-collect/", 0.0
    )
    done = CliRunner().invoke(main, ["diagnose", file])

    assert done.exit_code == 3
    assert "makes no sense" in done.output
    assert len(done.output.strip().splitlines()) == 1


def test_nothing_is_named_beside_an_archive(tmp_path):
    done = CliRunner().invoke(main, ["diagnose", str(tmp_path / "a.tar.gz"), "b.log"])
    assert (done.exit_code, "name nothing beside it" in done.output) == (2, True)
