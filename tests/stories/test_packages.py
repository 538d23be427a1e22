"""The packages, as operators use them: installed with apt on booted Debians, upgraded, misconfigured, removed, purged.

Some tests check the files that `packaging/build` makes: contents, reproducible bytes, lintian, rpmlint, the sandbox score. rpm
installs the rpm into a separate root file system.
"""

import ast
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from datetime import UTC, datetime, timedelta

import click
import pytest

from certmedic import __version__
from certmedic.cli import COMMANDS, main
from certmedic.config import KEYS, load
from certmedic.edge.store import database
from labs import ROOT, pki, powers, sickroom
from labs import machine as machines
from labs.command import do
from labs.packages import PACKAGING, actor_of, build, depends, install, once, property_of, tree, wanted

UNIT = ROOT / "systemd" / "certmedic.service"
RELEASES = ("bookworm", "trixie")
CONFIGURED = [
    "/etc/certmedic/certmedic.toml",
    "/etc/profile.d/certmedic.sh",
]  # configuration files: an upgrade keeps them as edited
NEXT = "99.0.1"
VOLUME = "/mnt/master-vol-0abc"
# import name -> package on Debian, and on PyPI, whose names python3dist() uses
LIBRARIES = {
    "OpenSSL": ("python3-openssl", "pyopenssl"),
    "apprise": ("apprise", "apprise"),
    "click": ("python3-click", "click"),
    "cryptography": ("python3-cryptography", "cryptography"),
    "prometheus_client": ("python3-prometheus-client", "prometheus-client"),
    "rich": ("python3-rich", "rich"),
    "systemd": ("python3-systemd", "systemd-python"),
}

# Each test boots a machine or waits for the build of the packages, so that they run side by side.
pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
real = pytest.mark.real
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts, namespaces and whole machines")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Return a copy of this tree."""
    return tree(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def dist(source, tmp_path_factory):
    """Return the folder with the packages of this tree."""
    return once(tmp_path_factory, "dist", lambda out: build(source, out))


@pytest.fixture(scope="module")
def newer(tmp_path_factory):
    """Return the deb of a later version."""
    place = tmp_path_factory.mktemp("newer")
    return once(tmp_path_factory, "newer-dist", lambda out: build(tree(place, NEXT), out)) / f"certmedic_{NEXT}_all.deb"


@pytest.fixture(scope="module")
def deb(dist):
    return dist / f"certmedic_{__version__}_all.deb"


@pytest.fixture(scope="module")
def rpm(dist):
    return dist / f"certmedic-{__version__}.noarch.rpm"


# ---------------------------------------------------------------- files that must agree


def imported():
    """Return the third-party modules that the code imports."""
    names = set()
    for path in (ROOT / "agent").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names.add(node.module.partition(".")[0])
    return names - sys.stdlib_module_names - {"certmedic"}


def libraries(project):
    """Return the libraries of pyproject.toml that the service needs, each with its floor."""
    return [*project["dependencies"], *project["optional-dependencies"]["agent"]]


def test_package_dependencies_are_exactly_the_imported_libraries():
    used = imported()
    assert used <= LIBRARIES.keys()
    required = depends()
    python = required.pop("python3")
    assert set(required) == {LIBRARIES[name][0] for name in used}
    spec = (PACKAGING / "certmedic.spec").read_text()
    in_rpm = dict(re.findall(r"^Requires: +python3dist\(([\w-]+)\) >= ([\w.]+)$", spec, re.MULTILINE))
    assert set(in_rpm) == {LIBRARIES[name][1] for name in used}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    floor = dict(line.lower().split(">=") for line in libraries(project))
    for name in used:
        on_debian, on_pypi = LIBRARIES[name]
        assert (
            required[on_debian] == in_rpm[on_pypi].removesuffix(".0")
            or required[on_debian] == in_rpm[on_pypi] + ".0"
            or (required[on_debian] == in_rpm[on_pypi])
        )
        assert required[on_debian] == floor[on_pypi]
    assert python.rstrip("~") == project["requires-python"].removeprefix(">=")


def test_example_configuration_loads_unchanged(tmp_path):
    (tmp_path / "certmedic.toml").write_text("")
    (tmp_path / "conf.d").mkdir()
    shutil.copy(PACKAGING / "examples" / "remedy.toml", tmp_path / "conf.d")
    assert load(tmp_path / "certmedic.toml").mode == "remedy"


def rendered(page):
    """Return a manual page as man renders it, without line breaks and hyphens; man must report no warning."""
    done = subprocess.run(
        ["man", "--warnings=w", "-l", page],
        capture_output=True,
        text=True,
        env={**os.environ, "MANWIDTH": "400"},
        check=True,
    )
    assert done.stderr == ""
    return re.sub(r"\s+", " ", done.stdout)


@real
def test_manual_pages_hold_every_command_option_and_key():
    commands = rendered(PACKAGING / "man" / "certmedic.1")
    for name in COMMANDS:
        command = main.get_command(click.Context(main), name)
        assert re.search(rf"\b{name}\b", commands), name
        for subcommand in getattr(command, "commands", {name: command}).values():
            for option in (o for o in subcommand.params if isinstance(o, click.Option)):
                assert option.opts[0] in commands, f"{name} {subcommand.name} {option.opts[0]}"
    configuration = rendered(PACKAGING / "man" / "certmedic.toml.5")
    for key in KEYS:
        assert re.search(rf"\b{key.split('.')[-1]}\b", configuration), key
    assert "systemctl reload certmedic" in rendered(PACKAGING / "man" / "certmedic.8")


# ---------------------------------------------------------------- the files


@real
def test_two_builds_give_the_same_bytes(source, dist, tmp_path):
    # Another folder, time, umask and time zone.
    place = shutil.copytree(source, tmp_path / "somewhere else")
    do("sh", "-c", 'umask 077 && exec "$0" "$1"', place / "packaging" / "build", tmp_path / "again", env={
        **os.environ, "SOURCE_DATE_EPOCH": "1780000000", "TZ": "Pacific/Auckland", "LC_ALL": "C"
    })  # fmt: skip
    assert sorted(path.name for path in dist.iterdir()) == sorted(path.name for path in (tmp_path / "again").iterdir())
    for path in dist.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


@real
def test_checksums_and_bill_of_materials_match_the_packages(dist):
    sums = dict(reversed(line.split("  ")) for line in (dist / "SHA256SUMS").read_text().splitlines())
    files = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in dist.iterdir() if path.name != "SHA256SUMS"
    }
    assert sums == files
    bill = json.loads((dist / f"certmedic-{__version__}.cdx.json").read_text())
    assert (bill["bomFormat"], bill["metadata"]["component"]["version"]) == ("CycloneDX", __version__)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {component["name"] for component in bill["components"]} == {
        line.split(">=")[0] for line in libraries(project)
    }


@real
def test_lintian_and_rpmlint_report_no_fault(deb, rpm):
    output = do("lintian", "--fail-on=error,warning", "--tag-display-limit=0", "--allow-root", deb, actor_of(deb))
    assert not re.search("^[EW]:", output, re.MULTILINE), output
    output = do("rpmlint", "--config", PACKAGING / "rpmlint.toml", rpm)
    assert "0 errors, 0 warnings" in output


@real
def test_both_packages_hold_the_same_files(source, deb, rpm):
    listed = [line.split(maxsplit=5) for line in do("dpkg-deb", "--contents", deb).splitlines()]
    assert {fields[1] for fields in listed} == {"root/root"}
    in_deb = {fields[5].removeprefix(".").rstrip("/"): fields[0] for fields in listed}
    in_rpm = set(do("rpm", "-qp", "--nosignature", "--list", rpm).splitlines())
    for path in (
        *(
            "/usr/bin/certmedic",
            "/usr/share/certmedic/certmedic/__init__.py",
            "/usr/share/certmedic/certmedic/edge/store/schema.sql",
        ),
        *(
            "/etc/certmedic/certmedic.toml",
            "/etc/certmedic/conf.d",
            "/etc/profile.d/certmedic.sh",
            "/usr/lib/systemd/system/certmedic.service",
            "/usr/lib/systemd/system/certmedic-reader.service",
            "/usr/lib/systemd/system/certmedic-reader.socket",
            "/usr/share/certmedic/reader",
        ),
        *("/usr/lib/systemd/catalog/certmedic.catalog", "/usr/share/bash-completion/completions/certmedic"),
        *(
            "/usr/share/man/man1/certmedic.1.gz",
            "/usr/share/man/man5/certmedic.toml.5.gz",
            "/usr/share/man/man8/certmedic.8.gz",
        ),
        *("/usr/share/doc/certmedic/examples/apprise.yml", "/usr/share/doc/certmedic/SECURITY.md"),
    ):
        assert path in in_deb, path
        assert path in in_rpm, path
    assert "/usr/share/zsh/vendor-completions/_certmedic" in in_deb
    assert "/usr/share/zsh/site-functions/_certmedic" in in_rpm
    assert not [path for path in {*in_deb, *in_rpm} if "__pycache__" in path or path.endswith(".pyc")]
    assert not [path for path, mode in in_deb.items() if mode[5] == "w" or mode[8] == "w"]
    code = {path for path in in_deb if path.startswith("/usr/share/certmedic/certmedic")}
    assert code == {path for path in in_rpm if path.startswith("/usr/share/certmedic/certmedic")}
    ours = {path.relative_to(source / "agent").as_posix() for path in (source / "agent").rglob("*.py")}
    acts = {path for path in ours if path.startswith("certmedic/actor/")}
    assert ours - acts <= {path.removeprefix("/usr/share/certmedic/") for path in code}
    assert not {path for path in code if path.startswith("/usr/share/certmedic/certmedic/actor")}
    lines = do("dpkg-deb", "--contents", actor_of(deb)).splitlines()
    paths = {line.split(maxsplit=5)[5].removeprefix(".") for line in lines}
    assert {f"/usr/share/certmedic/{path}" for path in acts} <= paths
    actor_rpm = rpm.with_name(rpm.name.replace("certmedic-", "certmedic-actor-"))
    in_rpm = set(do("rpm", "-qp", "--nosignature", "--list", actor_rpm).splitlines())
    assert {f"/usr/share/certmedic/{path}" for path in acts} <= in_rpm
    assert {"/usr/bin/certmedic-actor", "/usr/lib/systemd/system/certmedic-actor.socket"} <= paths & in_rpm
    assert do("dpkg-deb", "--info", actor_of(deb), "conffiles").split() == ["/etc/certmedic/actor.toml"]
    assert do("dpkg-deb", "--info", deb, "conffiles").split() == CONFIGURED
    assert do("rpm", "-qp", "--nosignature", "--configfiles", rpm).split() == CONFIGURED


@real
@pytest.mark.parametrize(
    ("unit", "most"),
    [("certmedic", 1.3), ("certmedic-reader", 1.3), ("certmedic-actor", 1.5), ("certmedic-actor-dialer", 1.3)],
)
def test_sandbox_score_is_within_its_limit(unit, most):
    output = do("systemd-analyze", "security", "--offline=true", "--no-pager", UNIT.with_name(f"{unit}.service"))
    score = float(re.search(rf"exposure level for {unit}.service: ([\d.]+)", output)[1])
    print(unit, score)  # noqa: T201 - worth seeing
    assert score <= most


@real
@pytest.mark.parametrize("unit", ["certmedic-actor", "certmedic-actor-dialer"])
def test_every_opening_that_systemd_finds_is_explained_in_a_comment_of_the_unit(unit):
    path = UNIT.with_name(f"{unit}.service")
    output = do("systemd-analyze", "security", "--offline=true", "--no-pager", path)
    openings = re.findall(r"^\N{BALLOT X} (?:CapabilityBoundingSet=~)?(\w+=?)", output, re.MULTILINE)
    comments = " ".join(line for line in path.read_text().splitlines() if line.startswith("#"))
    known = {"CAP_": "CAP_DAC_READ_SEARCH", "RestrictAddressFamilies=": "AF_UNIX"}
    assert openings
    assert [name for name in openings if known.get(name, name) not in comments] == []


def test_every_opening_of_the_sandbox_is_explained_in_a_comment():
    text = UNIT.read_text() + UNIT.with_name("certmedic-reader.service").read_text()
    comments = " ".join(line for line in text.splitlines() if line.startswith("#"))
    for opened in (
        "PrivateUsers=",
        "ProtectHome=",
        "CAP_DAC_READ_SEARCH",
        "CAP_SYS_PTRACE",
        "RootDirectory=",
        "ProcSubset",
        "PrivateNetwork=",
        "IPAddressDeny=",
    ):
        assert opened in comments, opened


# ---------------------------------------------------------------- the rpm, installed by rpm


@pytest.fixture
def scratch(tmp_path):
    """Return a root file system to install an rpm into: a new layer over the cached one."""
    lower = machines.root_file_system("bookworm", wanted("bookworm"))
    for name in ("upper", "work", "root"):
        (tmp_path / name).mkdir()
    root = tmp_path / "root"
    layers = f"lowerdir={lower},upperdir={tmp_path / 'upper'},workdir={tmp_path / 'work'}"
    do("mount", "-t", "overlay", "overlay", "-o", layers, root)
    yield root
    do("umount", "-l", root)


@real
@as_root
@pytest.mark.timeout(900)
def test_rpm_is_installed_runs_and_is_removed(rpm, scratch):
    base = ("rpm", "--root", scratch, "--nosignature")
    output = do(*base, "--nodeps", "-i", rpm)
    assert "warning" not in output.replace("warning: Generating", "")
    assert do("chroot", scratch, "certmedic", "--version").strip() == f"certmedic, version {__version__}"
    assert "good: /etc/certmedic/certmedic.toml" in do("chroot", scratch, "certmedic", "check-config")
    wants = scratch / "etc/systemd/system/multi-user.target.wants/certmedic.service"
    assert wants.is_symlink()
    verified = do(*base, "-V", "--nodeps", "certmedic")
    assert verified == ""
    requires = do(*base, "-q", "--requires", "certmedic")
    assert "python3 >= 3.11" in requires
    (scratch / "etc/certmedic/certmedic.toml").write_text("# mine\n")
    (scratch / "var/lib/certmedic").mkdir()
    output = do(*base, "-e", "certmedic")
    assert "/var/lib/certmedic" in output
    assert not wants.is_symlink()
    assert not (scratch / "usr/share/certmedic").exists()
    assert not (scratch / "usr/bin/certmedic").exists()
    assert (scratch / "etc/certmedic/certmedic.toml.rpmsave").read_text() == "# mine\n"


# ---------------------------------------------------------------- the deb on a booted Debian, from installation to purge


def put_volume(machine, tmp_path, *, ended):
    """Write an etcd volume as kops lays it out, with certificates that expired `ended` ago."""
    peers, clients = pki.authority("etcd-peers-ca-main"), pki.authority("etcd-clients-ca")
    pki.kops_volume(tmp_path / "vol", peers_ca=peers, clients_ca=clients, not_after=datetime.now(UTC) - ended)
    packed = subprocess.run(["tar", "-C", tmp_path / "vol", "-c", "."], capture_output=True, check=True).stdout
    machine("tar", "-C", VOLUME, "-x", stdin=packed)


def refuse(machine, who):
    """Let a unit of etcd log that the client `who` rejected its certificate."""
    unit = ["--unit=etcd@refused", "--collect", "--property=SyslogIdentifier=etcd"]
    machine("systemd-run", "--quiet", "--wait", *unit, "sh", "-c", 'echo "$0"; sleep 1', LINE.format(who))


METRICS = "/var/lib/prometheus/node-exporter/certmedic.prom"
LINE = (
    'rejected connection from "{}" (error "remote error: tls: bad certificate", ServerName "etcd-a.internal.example")'
)
CHATTER = f"""
n=0
until [ -e /run/enough ]; do n=$((n + 1)); echo '{LINE.format("10.0.1.9:33'$n'")}'; sleep 0.2; done
logger --tag chatter "all said: $n"
"""
JOURNAL = ("journalctl", "--unit", "certmedic", "--catalog", "--no-pager", "--output=short")


def incidents(machine):
    return json.loads(machine("certmedic", "incidents", "--json"))["incidents"]


def installed_service_runs(machine, deb):
    # The installed service runs, names its sources and sends nothing: this machine has no Kubernetes, Docker or etcd.
    install(machine, deb)
    machine.until("active (running)", "systemctl", "status", "certmedic")
    machine.until("certmedic watches", *JOURNAL)
    status = property_of(machine, "StatusText")
    assert status.startswith("mode notify; reads journal")
    assert "docker" not in status
    machine.until("journal", "certmedic", "status")
    assert incidents(machine) == []
    assert "SYSTEMD_UNIT" not in machine("systemd-analyze", "verify", "--man=no", "certmedic.service")
    for unit in ("certmedic", "certmedic-reader"):
        analysis = machine("systemd-analyze", "security", unit)
        exposure = re.search(rf"level for {unit}.service: ([\d.]+)", analysis)[1]
        print(machine.release, unit, exposure)  # noqa: T201 - worth seeing
        assert float(exposure) <= 1.3
    users_are_apart(machine)
    for page in ("1 certmedic", "5 certmedic.toml", "8 certmedic"):
        assert "NAME" in machine("man", *page.split())
    completes(machine)


def users_are_apart(machine):
    # Three users: the agent has no capability, the reader two, and each of its processes no more than it needs.
    status = machine("sh", "-c", "cat /proc/$(systemctl show -P MainPID certmedic)/status")
    assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE)
    assert machine("sh", "-c", "stat -c %U /proc/$(systemctl show -P MainPID certmedic)").strip() == "certmedic"
    machine.until("reader", "certmedic", "status")
    pids = machine("pgrep", "--uid", "certmedic-reader").split()
    held = machine("sh", "-c", 'for p in "$@"; do grep CapEff /proc/$p/status; done', "sh", *pids).split()[1::2]
    assert sorted(int(each, 16) for each in held) == [1 << 2, 1 << 2 | 1 << 19]


def limits_hold(machine):
    # The limits that the kernel holds, not only those of systemd.
    group = property_of(machine, "ControlGroup")

    def kernel(*names):
        files = [f"/sys/fs/cgroup/{name.format(group)}" for name in names]
        return machine("sh", "-c", 'for f in "$@"; do [ ! -e "$f" ] || cat "$f"; done', "sh", *files).split()

    memory = kernel("memory{}/memory.limit_in_bytes", "{}/memory.max")
    assert memory == [str(256 << 20)]
    quota = kernel("cpu{}/cpu.cfs_quota_us", "{}/cpu.max")
    assert quota[0] == "50000"
    assert kernel("pids{}/pids.max", "{}/pids.max") == ["512"]
    assert property_of(machine, "MemoryHigh") == str(192 << 20)  # cgroup v1 has no such limit


# A user at a terminal: the output of login and the shell is recorded.
LOGIN = """
import os, pty, sys, time
child, terminal = pty.fork()
if child == 0:
    os.execvp("login", ["login", "-f", "root"])
with open(sys.argv[1], "wb", buffering=0) as screen:
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        try:
            screen.write(os.read(terminal, 4096))
        except OSError:  # login closes the terminal for a moment, to be the only one there
            time.sleep(0.1)
"""


def user_logs_in(machine, screen):
    machine.write("/root/login.py", LOGIN)
    machine("systemd-run", "--quiet", "--collect", f"--unit={screen}", "python3", "/root/login.py", f"/root/{screen}")
    machine.until("root@", "cat", f"/root/{screen}")  # the prompt of the shell


def users_at_terminals_are_informed(machine, known):
    # A logged-in user gets the message on the terminal. A user who logs in later reads one line.
    screen = machine.until(f"sudo certmedic show {known}", "cat", "/root/evening")
    assert "Broadcast message from certmedic" in screen
    assert "of etcd main expired" in " ".join(screen.split())
    assert "every terminal: delivered" in machine("certmedic", "show", str(known))
    machine.until("etcd main", "cat", "/run/certmedic/motd")
    # Every user, and so every exporter, may read the metrics, which are written with an empty configuration.
    as_nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    machine.until('certmedic_incidents_open{cause="expired"', *as_nobody, "cat", "/run/certmedic/metrics.prom")
    user_logs_in(machine, "morning")
    screen = machine("cat", "/root/morning")
    assert "certmedic: etcd main: 2 certificates expired: " in screen
    assert screen.index(f"(sudo certmedic show {known})") < screen.index("root@")
    assert "Broadcast" not in screen
    machine("systemctl", "stop", "evening", "morning")


def expired_volume_is_reported(machine, tmp_path):
    # Mount a volume with expired certificates while the service runs; a client rejects them.
    machine("mkdir", "-p", VOLUME)
    machine("mount", "-t", "tmpfs", "tmpfs", VOLUME)
    put_volume(machine, tmp_path, ended=timedelta(hours=3))
    refuse(machine, "10.0.1.7:45110")
    entries = machine.until("the certificate of", *JOURNAL)
    assert f"{VOLUME}/pki/etcd-cluster-token-etcd/" in entries
    assert "has expired" in entries
    assert "What to do" in entries
    assert "What not to do" in entries
    (incident,) = [incident for incident in incidents(machine) if incident["diagnosis"]["cause"] == "expired"]
    assert incident["diagnosis"]["suspect"] == "own"
    return incident["id"]


def upgrade_keeps_everything(machine, newer, known):
    # An upgrade keeps configuration and state, restarts the service and loses no line.
    machine("install", "-d", "-g", "certmedic", "-m", "2775", "/var/lib/prometheus/node-exporter")
    machine.write("/etc/certmedic/conf.d/mine.toml", f'mode = "observe"\n[metrics]\ntextfile = "{METRICS}"\n')
    first = property_of(machine, "MainPID")
    assert '"count": 1,' in machine("certmedic", "incidents", "--json")
    # The script is a file: systemd logs command lines, and the agent would count the line twice.
    machine.write("/root/chatter.sh", CHATTER)
    machine("systemd-run", "--quiet", "--unit=etcd@chatter", "sh", "/root/chatter.sh")
    # The versions before the reader had a user ran as root: their state and a configuration with addresses were root's alone.
    machine("chown", "-R", "root:root", "/var/lib/certmedic", "/etc/certmedic")
    machine("chmod", "0600", "/etc/certmedic/conf.d/mine.toml")
    install(machine, newer)
    assert machine("stat", "--format=%U:%G %a", "/etc/certmedic/conf.d/mine.toml").strip() == "root:certmedic 640"
    assert machine("stat", "--format=%U", "/var/lib/certmedic/state.sqlite3").strip() == "certmedic"
    machine.until("active (running)", "systemctl", "status", "certmedic")
    assert machine("certmedic", "--version").strip() == f"certmedic, version {NEXT}"
    assert property_of(machine, "MainPID") != first
    assert property_of(machine, "StatusText").startswith("mode observe")
    machine("touch", "/run/enough")
    summary = machine.until("all said", "journalctl", "--no-pager", "--output=cat", "--identifier=chatter")
    lines = 1 + int(summary.split()[-1])
    assert lines > 2
    machine.until(f'"count": {lines},', "certmedic", "incidents", "--json")
    assert [incident["id"] for incident in incidents(machine)] == [known]
    # The sandbox allows writing to the folder of the node exporter.
    machine.until("certmedic_", "cat", METRICS)


def reload_is_checked(machine):
    # A reload takes up a valid configuration in the same process, and rejects an invalid one with an error.
    pid = property_of(machine, "MainPID")
    machine.write("/etc/certmedic/conf.d/mine.toml", 'mode = "notify"\n')
    machine("systemctl", "reload", "certmedic")
    machine.until("mode notify", "systemctl", "show", "--property", "StatusText", "certmedic")
    machine.write("/etc/certmedic/conf.d/mine.toml", 'mode = "shout"\n')
    assert machine.run("systemctl", "reload", "certmedic").code != 0
    machine.until("is wrong and not in use", "systemctl", "status", "certmedic")
    machine.until("the old one stays: /etc/certmedic/conf.d/mine.toml: mode: found 'shout'", *JOURNAL)
    assert property_of(machine, "MainPID") == pid
    assert property_of(machine, "ActiveState") == "active"


def invalid_start_is_reported(machine):
    # An invalid configuration at startup shows in `systemctl status`, and systemd does not restart the service.
    assert machine.run("systemctl", "restart", "certmedic").code != 0
    status = machine.run("systemctl", "status", "certmedic").out
    assert "Status: \"/etc/certmedic/conf.d/mine.toml: mode: found 'shout'; allowed:" in status
    assert property_of(machine, "ExecMainStatus") == "2"
    assert property_of(machine, "NRestarts") == "0"
    assert property_of(machine, "ActiveState") == "failed"
    machine("rm", "/etc/certmedic/conf.d/mine.toml")


def later_state_is_refused(machine):
    # The service refuses the state of a later version and reports it.
    machine("python3", "-c", SCHEMA.format(99))
    machine.run("systemctl", "start", "certmedic")
    machine.until("was written by a later certmedic", "systemctl", "status", "certmedic")
    machine("systemctl", "stop", "certmedic")
    machine("python3", "-c", SCHEMA.format(database.VERSION))
    machine("systemctl", "reset-failed", "certmedic")
    machine("systemctl", "start", "certmedic")


def watchdog_works(machine):
    # The watchdog restarts a hanging service and leaves a working one alone.
    machine.write(
        "/run/systemd/system/certmedic.service.d/impatient.conf",
        "[Service]\nWatchdogSec=10s\nTimeoutAbortSec=1s\nRestartSec=1s\n",
    )
    machine("systemctl", "daemon-reload")
    machine("systemctl", "restart", "certmedic")
    # A hanging journald with a full socket blocks neither the turns of the service nor its log output.
    pid = property_of(machine, "MainPID")
    machine("systemctl", "kill", "--signal=STOP", "systemd-journald")
    machine("python3", "-c", FILL)
    machine("systemctl", "kill", "--kill-whom=main", "--signal=HUP", "certmedic")
    time.sleep(12)
    assert (property_of(machine, "NRestarts"), property_of(machine, "MainPID")) == ("0", pid)
    machine("systemctl", "kill", "--signal=CONT", "systemd-journald")
    machine("systemctl", "kill", "--kill-whom=main", "--signal=STOP", "certmedic")
    machine.until("1", "systemctl", "show", "--value", "--property", "NRestarts", "certmedic")
    machine.until("active (running)", "systemctl", "status", "certmedic")
    machine("rm", "-r", "/run/systemd/system/certmedic.service.d")


FILL = """
import socket
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
    sender.setblocking(False)
    try:
        while True:
            sender.sendto(b"MESSAGE=one of many\\n", "/run/systemd/journal/socket")
    except BlockingIOError:
        pass
"""


def removal_and_purge_work(machine, before):
    # Removal stops the service and keeps configuration and state; a purge leaves no file.
    machine("apt-get", "remove", "-y", "certmedic")
    assert machine.run("systemctl", "is-active", "certmedic").out.strip() == "inactive"
    kept = everything(machine)
    assert "/etc/certmedic/certmedic.toml" in kept
    assert "/var/lib/certmedic/state.sqlite3" in kept
    assert "/usr/share/certmedic" not in kept
    machine("apt-get", "purge", "-y", "certmedic")
    assert everything(machine) == before


@real
@as_root
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("release", RELEASES)
def test_deb_is_installed_upgraded_and_purged(release, deb, newer, tmp_path):
    with machines.boot(release, wanted(release)) as machine:
        machine("systemctl", "mask", "--now", "docker.socket", "docker.service", "containerd.service", "etcd.service")
        machine("rm", "-f", "/run/docker.sock")
        before = everything(machine)
        machine.write("/etc/certmedic/conf.d/soon.toml", '[notify]\ngroup_for = "2s"\n')
        installed_service_runs(machine, deb)
        limits_hold(machine)
        user_logs_in(machine, "evening")
        # As sshd's terminals are. login(1) of Debian lets nobody but the user write to the terminal (TTYPERM in login.defs).
        machine("sh", "-c", "chgrp tty /dev/pts/[0-9]* && chmod g+w /dev/pts/[0-9]*")
        known = expired_volume_is_reported(machine, tmp_path)
        users_at_terminals_are_informed(machine, known)
        upgrade_keeps_everything(machine, newer, known)
        reload_is_checked(machine)
        invalid_start_is_reported(machine)
        later_state_is_refused(machine)
        watchdog_works(machine)
        removal_and_purge_work(machine, before)


SCHEMA = (
    "import sqlite3; d = sqlite3.connect('/var/lib/certmedic/state.sqlite3'); d.execute('PRAGMA user_version = {}')"
)


def everything(machine):
    """Return every path with the product's name, except files of the tests, logs and the cache of man."""
    aside = ["/root", "/var/log", "/var/cache/man", "/tmp", "/var/tmp"]
    prune = [word for path in aside for word in ("-path", path, "-prune", "-o")]
    return set(machine("find", "/", "-xdev", *prune, "-path", "*certmedic*", "-print").split())


def completes(machine):
    """Assert that real shells complete commands."""
    script = (
        "source /usr/share/bash-completion/bash_completion; _completion_loader certmedic 2>/dev/null || __load_completion certmedic;"
        " COMP_WORDS=(certmedic inci); COMP_CWORD=1; COMP_LINE='certmedic inci'; COMP_POINT=14;"
        " $(complete -p certmedic | sed 's/.*-F \\([^ ]*\\).*/\\1/') certmedic inci certmedic; echo ${COMPREPLY[@]}"
    )
    assert machine("bash", "-c", script).strip() == "incidents"
    script = "autoload -Uz compinit; compinit -u -D; whence -w _certmedic; print -r -- $_comps[certmedic]"
    assert machine("zsh", "-f", "-c", script).split() == ["_certmedic:", "function", "_certmedic"]


# ---------------------------------------------------------------- cures within the sandbox


CURE = """
mode = "remedy"
[watch]
docker = true
pods = true
[certificates]
warn_days = []
[notify]
apprise = ["credential:apprise"]
group_for = "2s"
[remedy]
restart = ["etcd-manager", "k3s"]
per_day = 9
cooldown = "1s"
verify_for = "60s"
"""


def cured(machine, number):
    """Wait until `number` actions are verified and their incidents resolved; return all incidents with their actions."""
    deadline = time.monotonic() + 240
    while True:
        shown = [json.loads(machine("certmedic", "show", str(each["id"]), "--json")) for each in incidents(machine)]
        # An action that the actor refused, e.g. while it restarted, is withdrawn and tried again.
        states = [act["state"] for each in shown for act in each["acts"] if act["state"] != "withdrawn"]
        if states == ["verified"] * number and all(each["state"] == "resolved" for each in shown if each["acts"]):
            return shown
        assert time.monotonic() < deadline, json.dumps([(each["id"], each["state"], each["acts"]) for each in shown])
        time.sleep(1)


def gate_of(incident, name):
    (why,) = [gate["why"] for gate in incident["decision"]["gates"] if gate["name"] == name]
    return why


def containers_of_docker_and_containerd_are_restarted(machine):
    # Two groups on one master, as on every kops master: their own runtime restarts each, and each has its own members.
    for path in (sickroom.MAIN, sickroom.EVENTS):
        sickroom.volume(machine, path)
    sickroom.start_main(machine)
    sickroom.start_events(machine)
    before = sickroom.task(machine)
    # A line that is logged while a certificate is renewed may leave one more incident without an action.
    cures = [incident for incident in cured(machine, 2) if incident["acts"]]
    assert {incident["diagnosis"]["group"] for incident in cures} == {"main", "events"}
    for incident in cures:
        assert gate_of(incident, "member safe") == "it is the only member, and clients refuse it as it is"
    assert sickroom.task(machine) not in ("", before)
    assert machine("docker", "ps", "-q").strip()


def journal_filter_shows_one_incident(machine):
    of_it = ("journalctl", "-u", "certmedic", "CERTMEDIC_INCIDENT=1")
    records = [json.loads(line) for line in machine(*of_it, "--output=json").splitlines()]
    records = [record for record in records if record["CERTMEDIC_EVENT"] != "decided"]  # "decided" depends on timing
    events = ["opened", "intent", "acted", "resolved"]
    assert [entry["CERTMEDIC_EVENT"] for entry in records] == events
    assert {entry["CERTMEDIC_CAUSE"] for entry in records} == {"expired"}
    assert len({entry["MESSAGE_ID"] for entry in records}) == len(events)
    assert records[0]["CERTMEDIC_CERT"].startswith("/mnt/master-vol-")
    short = machine(*of_it).splitlines()
    assert [line.split(": ", 1)[1].split(":")[0] for line in short] == [f"incident 1 {event}" for event in events]
    everything = machine("journalctl", "--output=export") + machine("sh", "-c", "cat /var/lib/certmedic/*; ps -ef")
    assert "KEPT-SECRET" not in everything


SOCKETS = (
    "/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/run/certmedic-actor/socket",
    "/run/certmedic-reader/socket",
    "/run/certmedic-actor/dialer",
)
MAY = {
    "certmedic": {"connect by TCP", f"connect to {SOCKETS[2]}", f"connect to {SOCKETS[3]}"},
    "certmedic-reader": {"open a key", "open a pod's log", "read root's environment"},
    "certmedic-actor": {
        "open a key",
        "open a pod's log",
        "read root's environment",
        *(f"connect to {path}" for path in SOCKETS),
    },
    "certmedic-actor-dialer": {"connect by TCP"},
}


def taken_over_processes_are_refused(machine):
    # As the agent's user and as the reader's, each in its sandbox, on a master with docker, containerd, keys and pods' logs.
    key = machine("find", sickroom.EVENTS, "-name", "me.key").split()[0]
    log = machine("find", "/var/log/pods", "-name", "*.log").split()[0]
    machine("chmod", "0640", log)  # as the runtime of a kubelet writes it
    machine("chmod", "0600", key)
    for unit, allowed in MAY.items():
        answers = powers.tried(machine, unit, key, log, *SOCKETS)
        print(machine.release, unit, json.dumps(answers, indent=1))  # noqa: T201 - the table
        assert {name for name, answer in answers.items() if answer == "done"} == allowed


ASK = """
import socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as actor:
    actor.connect("/run/certmedic-actor/socket")
    actor.send(b'{"v": 1, "verb": "members"}')
    print(actor.recv(65536).decode())
"""


def dialer_that_hangs_or_dies_is_replaced(machine):
    def dialer():
        return machine("systemctl", "show", "-P", "MainPID", "certmedic-actor-dialer").strip()

    for signal in ("SIGKILL", "SIGSTOP"):
        assert "answered" in machine("python3", "-c", ASK)
        before = dialer()
        assert before != "0"
        machine("kill", f"-{signal}", before)
        assert "answered" in machine("python3", "-c", ASK)  # in time, though nothing is known of members meanwhile
        deadline = time.monotonic() + 240
        while dialer() in ("0", before):
            assert time.monotonic() < deadline, signal
            machine.run("python3", "-c", ASK)
            time.sleep(0.5)


def dialer_goes_with_the_actor(machine):
    machine("python3", "-c", ASK)
    machine("apt-get", "purge", "-y", "certmedic-actor", timeout=180)
    for unit in ("certmedic-actor-dialer.socket", "certmedic-actor-dialer.service", "certmedic-actor.socket"):
        assert machine.run("systemctl", "is-active", unit).out.strip() == "inactive", unit
    assert machine.run("ls", "/run/certmedic-actor/dialer").code != 0


def files_are_renewed_and_a_unit_is_restarted(machine):
    # The drop-in of the examples allows writing to the certificates. Owner and mode of the files stay.
    sickroom.end(machine)
    machine("sh", "-c", "mkdir -p /etc/kubernetes/pki && cp -r /root/events /etc/kubernetes/pki/etcd-manager-events")
    example = machine("cat", "/usr/share/doc/certmedic-actor/examples/renew.conf")
    example = example.replace(
        "#ReadWritePaths=-/mnt/master-vol-0123456789abcdef0", f"ReadWritePaths=-{sickroom.EVENTS}"
    )
    assert sickroom.EVENTS in example
    machine.write("/etc/systemd/system/certmedic-actor.service.d/renew.conf", example)
    machine.write("/etc/certmedic/conf.d/renew.toml", "[remedy]\nrenew = true\n")
    sickroom.volume(machine, sickroom.EVENTS)
    machine("systemctl", "daemon-reload")
    machine("systemctl", "restart", "certmedic")
    sickroom.start_events(machine)
    machine("sh", "-c", f"until [ -d {sickroom.EVENTS}/pki ]; do sleep 0.1; done")
    machine("systemctl", "try-restart", "certmedic-actor.service")
    machine("systemctl", "start", "k3s")
    began = machine("systemctl", "show", "--property=InvocationID", "k3s")
    files = [
        f"{sickroom.EVENTS}/pki/etcd-cluster-token-etcd-events/{name}"
        for name in ("peers/me.crt", "clients/server.crt")
    ]
    machine("chown", "0:4002", *files)  # files of another owner are not renewed
    machine("chmod", "0640", files[0])
    before, task = machine("stat", "--format=%u:%g %a %n", *files), sickroom.task(machine)
    # A client rejected while k3s restarted may leave one more incident without an action.
    cures = {
        incident["diagnosis"]["plane"]: incident
        for incident in cured(machine, 4)
        if incident["id"] > 2 and incident["acts"]
    }
    assert {*cures} == {"kops", "k3s"}
    assert machine("stat", "--format=%u:%g %a %n", *files) == before
    assert sickroom.task(machine) == task  # the container was not restarted
    assert machine("systemctl", "show", "--property=InvocationID", "k3s") != began
    assert gate_of(cures["k3s"], "member safe") == "it is the only member, and clients refuse it as it is"


@real
@as_root
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("release", RELEASES)
def test_packaged_service_cures_within_its_sandbox(release, deb):
    with machines.boot(release, wanted(release)) as machine:
        machine.write("/etc/certmedic/conf.d/cure.toml", CURE)
        machine.write("/root/apprise.yml", 'urls:\n  - "json://who:KEPT-SECRET@localhost:8099/hook"\n')
        machine.write(
            "/etc/systemd/system/certmedic.service.d/credential.conf",
            "[Service]\nLoadCredential=apprise:/root/apprise.yml\n",
        )
        sickroom.prepare(machine)
        install(machine, deb, actor_of(deb))
        machine.until("mode remedy; reads journal, docker", "systemctl", "status", "certmedic")
        containers_of_docker_and_containerd_are_restarted(machine)
        deliveries = machine.until("RESOLVED", "cat", "/root/hook.log")
        assert deliveries.count("\n") == 4  # opened and resolved for each of two incidents
        journal_filter_shows_one_incident(machine)
        if release == RELEASES[0]:
            files_are_renewed_and_a_unit_is_restarted(machine)
            dialer_that_hangs_or_dies_is_replaced(machine)
        taken_over_processes_are_refused(machine)
        limits = machine("sh", "-c", "cat /proc/$(systemctl show -P MainPID certmedic)/status")
        assert "NoNewPrivs:\t1" in limits
        assert int(re.search(r"VmHWM:\s+(\d+) kB", limits)[1]) < 192 * 1024
        assert "does not know" not in machine("certmedic", "status", "--security")
        dialer_goes_with_the_actor(machine)
