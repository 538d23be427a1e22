"""The commands as a person starts them: their output, their exit codes and their errors."""

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from certmedic.cli import output
from labs import AGENT, pki
from labs.command import certmedic
from labs.masters import until
from labs.receivers import Hook

pytestmark = pytest.mark.slow

DAY = timedelta(days=1)
REFUSED = (
    'embed: rejected connection from "10.0.0.2:41000" (error "remote error: tls: bad certificate", ServerName "etcd-a")'
)


@pytest.fixture
def root(tmp_path):
    """Return a copy of a master's files with an expired peer certificate."""
    now = datetime.now(UTC).replace(microsecond=0)
    peers, clients = pki.authority("etcd-peers-ca-main"), pki.authority("etcd-clients-ca")
    ended = peers.leaf("etcd-a", dns=("etcd-a",), not_after=now - timedelta(hours=1))
    pki.kops_volume(tmp_path / "mnt" / "master-vol-1", peers_ca=peers, clients_ca=clients, peer=ended)
    return tmp_path


def test_explain_prints_a_json_object_for_each_line_in_order():
    done = certmedic("explain", "--json", "-", stdin=f"hello\n{REFUSED}\n\n")

    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [a["failure"] for a in answers] == [False, True, False]
    assert set(answers[1]) == {"schema", "failure", "fault", "rejected_by", "suspect", "role", "fields", "meaning"}
    assert answers[1]["fields"]["remote_addr"] == "10.0.0.2:41000"


def test_explain_accepts_bytes_that_are_not_text():
    done = subprocess.run(
        [sys.executable, "-m", "certmedic", "explain", "--json", "-"],
        input=b"\xff\xfe\x00 remote error: tls: bad certificate \xff\n" + b"x" * 200_000 + b"\n",
        env={**os.environ, "PYTHONPATH": str(AGENT)},
        capture_output=True,
        check=False,
        timeout=60,
    )

    assert [json.loads(line)["failure"] for line in done.stdout.splitlines()] == [True, False]


def test_explain_prints_a_sentence_for_people():
    done = certmedic("explain", REFUSED)

    assert "refused the certificate" in done.stdout
    assert "\x1b[" not in done.stdout  # no colour without a terminal


def test_diagnose_judges_a_copied_master(root):
    (root / "etcd.log").write_text(f"{REFUSED}\n" * 3)

    done = certmedic("diagnose", "--json", "--root", str(root), str(root / "etcd.log"))

    (diagnosis,) = json.loads(done.stdout)["diagnoses"]
    assert (diagnosis["cause"], diagnosis["suspect"], diagnosis["confidence"], diagnosis["count"]) == (
        "expired",
        "own",
        "proven",
        3,
    )
    assert diagnosis["certificates"][0]["path"].endswith("peers/me.crt")
    assert set(diagnosis["certificates"][0]) == {"path", "subject", "issuer", "not_before", "not_after"}
    assert {"kind", "helps", "why", "command"} <= set(diagnosis["remedy"])
    assert done.returncode == 2


def test_diagnose_before_the_expiry_reports_that_it_is_near(root):
    then = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    (root / "etcd.log").write_text("all is well\n")

    done = certmedic("diagnose", "--json", "--at", then, "--root", str(root), str(root / "etcd.log"))

    assert [diagnosis["cause"] for diagnosis in json.loads(done.stdout)["diagnoses"]] == ["expires_soon"]
    assert done.returncode == 1


def test_diagnose_of_failures_without_any_certificate_could_not_tell(tmp_path):
    log = tmp_path / "etcd.log"
    log.write_text(REFUSED)
    done = certmedic("diagnose", str(log))
    assert "No certificate was read. Name certificates with --certs GLOB or --root DIR." in done.stdout
    assert done.returncode == 3


def test_diagnose_dates_failures_by_the_log(root):
    day = f"{datetime.now(UTC) - 3 * DAY:%Y-%m-%d}"
    (root / "etcd.log").write_text("".join(f"{day} 04:00:0{second}.1 W | {REFUSED}\n" for second in (1, 2, 3)))

    (answer,) = json.loads(certmedic("diagnose", "--json", "--root", root, root / "etcd.log").stdout)["diagnoses"]

    assert (answer["first_seen"], answer["last_seen"]) == (f"{day}T04:00:01Z", f"{day}T04:00:03Z")


def test_diagnose_accepts_a_line_with_an_impossible_date(root):
    (root / "etcd.log").write_text(f"2026-13-45 99:99:99.000001 W | {REFUSED}\n")

    (answer,) = json.loads(certmedic("diagnose", "--json", "--root", root, root / "etcd.log").stdout)["diagnoses"]

    assert answer["count"] == 1


def test_diagnose_says_that_it_read_no_certificate(root):
    (root / "etcd.log").write_text(f"{REFUSED}\n")
    hint = "No certificate was read. Name certificates with --certs GLOB or --root DIR."

    assert hint in certmedic("diagnose", root / "etcd.log").stdout
    assert hint not in certmedic("diagnose", "--root", root, root / "etcd.log").stdout


@pytest.mark.parametrize("cut", [10, 5, None])
def test_diagnose_exits_with_3_for_a_damaged_archive(tmp_path, cut):
    log = tmp_path / "etcd.log.gz"
    log.write_bytes(b"no archive" if cut is None else gzip.compress(f"{REFUSED}\n".encode() * 100)[:-cut])

    done = certmedic("diagnose", log)

    assert done.returncode == 3
    assert done.stderr.startswith(f"certmedic: {log}: ")
    assert "Traceback" not in done.stderr


def test_single_failure_is_printed_as_1_time(root):
    (root / "etcd.log").write_text(f"{REFUSED}\n")

    assert re.search(r"^  seen     1 time, last ", certmedic("diagnose", root / "etcd.log").stdout, re.MULTILINE)


def test_explain_prints_each_line_of_stdin_above_its_meaning():
    done = certmedic("explain", "-", stdin=f"hello\x1b[2J\n{REFUSED}\n")

    assert done.stdout.splitlines()[:2] == ["> hello\ufffd[2J", "No TLS certificate failure in this line."]
    assert done.stdout.splitlines()[2] == f"> {REFUSED}"
    assert not certmedic("explain", REFUSED).stdout.startswith(">")


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (("diagnose", "/no/such.log"), 3, "No such file"),
        (("diagnose", "--at", "soon", "-"), 2, "is not a time"),
        (("simulate", "--at", "2001-01-01"), 2, "not in the future"),
        (("check-config", "--config", "/no/such.toml"), 2, "no such file"),
        (("run", "--config", "/no/such.toml"), 2, "no such file"),
        (("frobnicate",), 2, "No such command"),
    ],
)
def test_wrong_arguments_give_an_exit_code_and_a_short_error(words, code, error):
    done = certmedic(*words, stdin="")

    assert (done.returncode, error in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr


def test_check_config_names_a_command_that_is_not_executable(tmp_path):
    config = tmp_path / "certmedic.toml"
    config.write_text(
        '[remedy]\nrestart = ["operator"]\nmeans = [{for = "operator", command = ["/none/such", "now"]}]\n'
    )
    done = certmedic("check-config", "--config", str(config), stdin="")

    assert done.returncode == 1
    assert done.stdout == "remedy.means: /none/such: is not an executable file\n"
    assert done.stderr == f"certmedic: the rest of {config} is good, and the service uses it; mode notify\n"


def test_certs_lists_the_next_expiry_first_and_checks_like_nagios(root):
    listed = json.loads(certmedic("certs", "--json", "--root", str(root)).stdout)["certificates"]
    table = certmedic("certs", "--root", str(root)).stdout.splitlines()

    assert listed[0]["status"] == "expired"
    assert listed[0]["renewed_by"] == "etcd-manager"
    assert re.match(r"FILE +SUBJECT +EXPIRES +EXPIRES IN +STATUS +RENEWED BY", table[0])
    assert {re.split(r" {2,}", row)[-1] for row in table[1:]} == {"etcd-manager", "a person (CA)"}
    assert certmedic("certs", "--check", "--root", str(root)).returncode == 2


@pytest.mark.parametrize(
    ("days", "code"),
    [(300, 0), (10, 1), (-1, 2)],
)
def test_certs_check_exits_by_the_worst_certificate(tmp_path, days, code):
    peers, clients = pki.authority("etcd-peers-ca-main"), pki.authority("etcd-clients-ca")
    pki.kops_volume(
        tmp_path / "mnt/master-vol-1", peers_ca=peers, clients_ca=clients, not_after=datetime.now(UTC) + days * DAY
    )

    done = certmedic("certs", "--check", "--root", tmp_path)

    assert done.returncode == code
    assert done.stdout.splitlines()[0].startswith(("OK: ", "WARNING: ", "CRITICAL: ")[code])


def test_certs_check_without_certificates_is_unknown(tmp_path):
    done = certmedic("certs", "--check", "--root", tmp_path)

    assert done.returncode == 3
    assert done.stdout.startswith("UNKNOWN: no certificate found\n")


def test_broken_file_is_reported_and_hides_no_other_file(root):
    volume = next((root / "mnt").iterdir())
    folder = next((volume / "pki").iterdir())
    (folder / "clients" / "server.crt").write_bytes(b"-----BEGIN CERTIFICATE-----\nMIIB")

    answer = json.loads(certmedic("certs", "--json", "--root", str(root)).stdout)

    assert [f["path"].rsplit("/", 1)[1] for f in answer["faults"]] == ["server.crt"]
    assert any(c["path"].endswith("me.crt") for c in answer["certificates"])


def test_configured_paths_are_searched_below_root(root, tmp_path):
    pki.authority("app-ca").leaf("app").write(root / "opt/app/app.crt")
    config = tmp_path / "certmedic.toml"
    config.write_text('[certificates]\nplanes = []\npaths = ["/opt/app/*.crt"]\n')

    listed = json.loads(certmedic("certs", "--json", "--config", str(config), "--root", str(root)).stdout)

    assert [row["path"] for row in listed["certificates"]] == [f"{root}/opt/app/app.crt"]


def test_table_never_breaks_a_path_on_a_terminal(root, monkeypatch, capsys):
    monkeypatch.setattr(output, "columns", lambda: 80)
    paths = [f"/mnt/master-vol-01/pki/{'x' * length}/me.crt" for length in (30, 90)]

    output.table(["FILE", "SUBJECT", "STATUS"], [[path, "s" * 60, "ok"] for path in paths], stacked=["FILE"])
    lines = capsys.readouterr().out.splitlines()
    output.table(["FILE", "SUBJECT"], [["/x", "s"]], stacked=["FILE"])

    assert [line.strip() for line in lines[2::2]] == paths
    assert [line.split()[-1] for line in lines[1::2]] == ["ok", "ok"]
    assert capsys.readouterr().out.splitlines()[1].split() == ["/x", "s"]


def test_simulate_warns_on_the_days_configured_for_the_plane(tmp_path):
    soon = datetime.now(UTC) + 20 * DAY
    ca = pki.authority("etcd-peers-ca-main")
    pki.kops_volume(tmp_path / "mnt/master-vol-1", peers_ca=ca, clients_ca=ca, not_after=soon)
    config = tmp_path / "certmedic.toml"
    config.write_text("[certificates.plane.kops]\nwarn_days = [9]\n[certificates.plane.k3s]\nwarn_days = [11]\n")
    words = ("--config", str(config), "--root", str(tmp_path), "--json")

    moments = json.loads(certmedic("simulate", "--at", (soon + DAY).date().isoformat(), *words).stdout)["moments"]
    listed = json.loads(certmedic("certs", *words).stdout)["certificates"]

    assert [m["at"] for m in moments if m["decision"] is None] == [(soon - 9 * DAY).strftime("%Y-%m-%dT%H:%M:%SZ")]
    assert {row["status"] for row in listed} == {"ok"}


def test_simulate_lists_warnings_and_faults_in_order_of_time(tmp_path):
    peers, clients = pki.authority("etcd-peers-ca-main"), pki.authority("etcd-clients-ca")
    soon = datetime.now(UTC) + 20 * DAY
    pki.kops_volume(tmp_path / "mnt/master-vol-1", peers_ca=peers, clients_ca=clients, not_after=soon)

    done = certmedic("simulate", "--json", "--root", str(tmp_path), "--at", (datetime.now(UTC) + 30 * DAY).isoformat())

    moments = json.loads(done.stdout)["moments"]
    assert [m["diagnosis"]["cause"] for m in moments] == ["expires_soon"] * 4 + ["expired"]
    assert moments == sorted(moments, key=lambda m: m["at"])
    assert moments[-1]["decision"]["acts"] is False


def test_commands_that_read_the_state_report_that_it_is_missing(tmp_path):
    config = tmp_path / "certmedic.toml"
    config.write_text(f'state = "{tmp_path}/state"')

    for words in (("incidents",), ("show", "1"), ("status",)):
        done = certmedic(*words, "--config", str(config))
        assert done.returncode == 1
        assert "no state here yet" in done.stderr


def test_test_notify_tries_every_channel_and_prints_no_secret(tmp_path):
    config = tmp_path / "certmedic.toml"
    with Hook() as received:
        config.write_text(f'[notify]\napprise = ["{received.url}", "json://127.0.0.1:9/dead-SECRET"]')
        config.chmod(0o640)
        done = certmedic("test-notify", "--config", str(config))

    assert len(received.messages) == 1
    assert done.returncode == 1
    assert "sent" in done.stdout
    assert "FAILED" in done.stdout
    assert "SECRET" not in done.stdout + done.stderr


def test_test_notify_without_a_channel_says_how_to_configure_one(tmp_path):
    config = tmp_path / "certmedic.toml"
    config.write_text("")

    done = certmedic("test-notify", "--config", str(config))

    assert done.returncode == 1
    assert "notify.apprise" in done.stderr


@pytest.fixture
def started(tmp_path):
    """Return a function that starts `certmedic run` with a configuration; the fixture stops each process."""
    processes = []

    def _start(config, **environ):
        path = tmp_path / "certmedic.toml"
        path.write_text(f'state = "{tmp_path}/state"\n{config}')
        process = subprocess.Popen(
            [sys.executable, "-m", "certmedic", "run", "--config", str(path)],
            env={**os.environ, "PYTHONPATH": str(AGENT), "DOCKER_HOST": f"unix://{tmp_path}/no-docker.sock", **environ},
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield _start
    for process in processes:
        process.kill()
        process.communicate()


def incidents(tmp_path):
    done = certmedic("incidents", "--json", "--config", str(tmp_path / "certmedic.toml"))
    return json.loads(done.stdout)["incidents"] if done.returncode == 0 else []


def test_service_survives_broken_files_and_lines_and_reports_the_rest(started, tmp_path, root):
    volume = next((root / "mnt").iterdir()) / "pki" / "etcd-cluster-token-etcd"
    pki_folder = volume / "clients"
    (pki_folder / "empty.crt").write_bytes(b"")
    (pki_folder / "half.crt").write_bytes((volume / "peers" / "me.crt").read_bytes()[:300])
    (pki_folder / "garbage.crt").write_bytes(os.urandom(5000))
    (pki_folder / "huge.crt").write_bytes(b"x" * 5_000_000)
    (pki_folder / "folder.crt").mkdir()
    (pki_folder / "nowhere.crt").symlink_to("/no/such/file")
    log = tmp_path / "etcd.log"
    log.write_bytes(b"")
    process = started(
        f'[watch]\njournal = false\ndocker = true\nfiles = ["{log}"]\n'
        f'[certificates]\npaths = ["{volume}/*/*.crt"]\n[notify]\ngroup_for = "1s"\nwall = false\n'
    )
    assert until((tmp_path / "state" / "state.sqlite3").exists, seconds=20)
    time.sleep(1)
    with log.open("ab") as file:
        file.write(os.urandom(3000) + b"\n" + b"\xff\xfe remote error: tls: bad certificate\n" + b"\0" * 1000 + b"\n")
        file.write(REFUSED.encode() + b"\n")

    assert until(
        lambda: any(i["diagnosis"]["suspect"] == "own" and i["count"] for i in incidents(tmp_path)), seconds=30
    )
    status = json.loads(certmedic("status", "--json", "--config", str(tmp_path / "certmedic.toml")).stdout)
    docker = next(s for s in status["sources"] if s["source"] == "docker")
    assert "no-docker.sock" in docker["down"]
    process.send_signal(signal.SIGTERM)
    log_text = process.communicate(timeout=20)[1]
    assert process.returncode == 0
    assert log_text.count("blind: docker") + log_text.count("docker:") >= 1
    assert "Traceback" not in log_text


def test_reload_accepts_a_good_configuration_and_refuses_a_bad_one(started, tmp_path):
    config = tmp_path / "certmedic.toml"
    process = started('mode = "observe"\n[watch]\njournal = false\nfiles = []\n')

    def wait_for(text):
        # The time limit of the test ends this loop.
        for line in process.stderr:
            if text in line:
                return
        raise AssertionError(f"the service ended without logging {text!r}")

    wait_for("mode observe")
    config.write_text(f'state = "{tmp_path}/state"\nmode = "nonsense"\n')
    process.send_signal(signal.SIGHUP)
    wait_for("nonsense")
    assert process.poll() is None

    config.write_text(f'state = "{tmp_path}/state"\nmode = "notify"\n[watch]\njournal = false\nfiles = []\n')
    process.send_signal(signal.SIGHUP)
    wait_for("mode notify")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_second_service_on_the_same_state_is_refused(started, tmp_path):
    config = "[watch]\njournal = false\nfiles = []\n"
    first = started(config)

    def status():
        done = certmedic("status", "--config", tmp_path / "certmedic.toml")
        assert done.returncode == (3 if "NOT RUNNING" in done.stdout else 0)
        return done.stdout.partition("\n")[0]

    assert any("mode notify" in line for line in first.stderr)
    assert status().endswith(", mode notify")
    second = started(config)
    assert second.communicate(timeout=20)[1] == (
        f"certmedic: another certmedic service runs with the state in {tmp_path}/state\n"
    )
    assert second.returncode == 1
    first.send_signal(signal.SIGHUP)  # the service restarts itself
    assert any("mode notify" in line for line in first.stderr)
    assert status().endswith(", mode notify")
    first.kill()
    first.wait(timeout=20)
    assert status().endswith(", mode notify, NOT RUNNING: sudo systemctl start certmedic")
    stopped = certmedic("status", "--json", "--config", tmp_path / "certmedic.toml")
    assert (stopped.returncode, json.loads(stopped.stdout)["running"]) == (3, False)


def test_service_ends_with_an_error_if_its_state_is_not_writable(started, tmp_path):
    (tmp_path / "state").write_text("a file where a folder should be")

    process = started("[watch]\njournal = false\nfiles = []\n")

    error = process.communicate(timeout=20)[1]
    assert process.returncode == 1
    assert "state" in error
    assert "Traceback" not in error


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to own a folder as somebody else")
def test_user_without_access_to_the_state_gets_an_error_without_a_traceback(tmp_path):
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / "state.sqlite3").touch()
    os.chown(state, 65534, 65534)  # a process without capabilities cannot read this folder
    (tmp_path / "c.toml").write_text(f'state = "{state}"\n')
    for words in (["incidents"], ["show", "1"], ["status"], ["silence", "list"], ["approve", "1"], ["reset"]):
        done = subprocess.run(
            [
                *("setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-m", "certmedic", *words),
                *("--config", str(tmp_path / "c.toml")),
            ],
            env={**os.environ, "PYTHONPATH": str(AGENT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stderr == f"certmedic: {state}/state.sqlite3: only root may read it: sudo certmedic ...\n"
        assert done.returncode == 1
