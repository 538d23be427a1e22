"""The self-contained packages: which machines they run on, and that each of the two packagings replaces the other without a loss.

`./dev full` runs these; `packaging/full/build` compiles an interpreter the first time. One deb is installed on booted Debians 11, 12 and 13.
"""

import json
import os
import re
import subprocess
import time
from datetime import UTC, datetime, timedelta

import pytest

from certmedic import __version__
from labs import ROOT, pki, sickroom
from labs import machine as machines
from labs.command import do
from labs.packages import OLD_MASTER, actor_of, all_packages, build_full, install, property_of, tree, wanted
from labs.waiting import until

pytestmark = [
    pytest.mark.real,
    pytest.mark.long,
    pytest.mark.timeout(7200),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts, namespaces and whole machines"),
]
BARE = ("libpam-systemd",)  # a Debian 11 without any Python
VOLUME = "/mnt/master-vol-0abc"
LINE = 'rejected connection from "10.0.1.7:45110" (error "remote error: tls: bad certificate", ServerName "etcd-a.internal.example")'
RELEASES = ("bookworm", "trixie")
NEWEST_GLIBC, MOST_MIB = "2.28", 45


@pytest.fixture(scope="session")
def dist(tmp_path_factory):
    return all_packages(tmp_path_factory)


@pytest.fixture
def small(dist):
    return dist / f"certmedic_{__version__}_all.deb"


@pytest.fixture
def full(dist):
    return dist / f"certmedic-full_{__version__}_amd64.deb"


@pytest.fixture
def scratch(tmp_path, request):
    """Return a root file system: a new layer over the cached one of a release."""
    release, packages = request.param
    lower = machines.root_file_system(release, packages)
    for name in ("upper", "work", "root"):
        (tmp_path / name).mkdir()
    root = tmp_path / "root"
    layers = f"lowerdir={lower},upperdir={tmp_path / 'upper'},workdir={tmp_path / 'work'}"
    do("mount", "-t", "overlay", "overlay", "-o", layers, root)
    yield root
    do("umount", "-l", root)


# ---------------------------------------------------------------- the files


def test_no_symbol_is_newer_than_promised_and_the_size_is_within_its_limit(full, tmp_path):
    do("dpkg-deb", "-x", full, tmp_path / "x")
    home = tmp_path / "x/usr/lib/certmedic"
    programs = [path for path in home.rglob("*") if path.is_file() and path.read_bytes()[:4] == b"\x7fELF"]
    assert len(programs) > 20
    needed, symbols = set(), set()
    for path in programs:
        symbols |= set(re.findall(r"GLIBC_(2\.[\d.]+)", do("objdump", "-T", path)))
        needed |= set(re.findall(r"NEEDED +(\S+)", do("objdump", "-p", path)))
    newest = max(symbols, key=lambda version: [int(part) for part in version.split(".")])
    size = sum(path.lstat().st_size for path in (tmp_path / "x").rglob("*") if not path.is_dir()) / (1 << 20)
    print(f"\nnewest symbol: GLIBC_{newest}; {size:.1f} MiB; libraries of the machine: {sorted(needed)}")  # noqa: T201
    assert [int(part) for part in newest.split(".")] <= [int(part) for part in NEWEST_GLIBC.split(".")]
    assert int(do("dpkg-deb", "--field", full, "Installed-Size")) <= MOST_MIB * 1024
    of_glibc = {
        "libc.so.6",
        "libm.so.6",
        "libdl.so.2",
        "libpthread.so.0",
        "libutil.so.1",
        "librt.so.1",
        "ld-linux-x86-64.so.2",
    }
    assert needed - of_glibc <= {"libsystemd.so.0", "libgcc_s.so.1"}


def test_two_packs_give_the_same_bytes(dist, tmp_path):
    place = tree(tmp_path / "somewhere else")
    build_full(place, tmp_path / "again")
    names = [path.name for path in (tmp_path / "again").iterdir() if path.name.startswith("certmedic-full")]
    assert len(names) == 3
    for name in names:
        assert (dist / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


@pytest.mark.parametrize("scratch", [("bullseye-bare", BARE)], indirect=True)
def test_commands_answer_where_there_is_no_python(full, scratch):
    assert not list((scratch / "usr").glob("bin/python3*")), "this machine has a Python"
    do("dpkg-deb", "-x", full, scratch)
    assert do("chroot", scratch, "certmedic", "--version").strip() == f"certmedic, version {__version__}"
    assert "refused" in do("chroot", scratch, "certmedic", "explain", LINE)
    assert "good: /etc/certmedic/certmedic.toml" in do("chroot", scratch, "certmedic", "check-config")
    assert json.loads(do("chroot", scratch, "certmedic", "explain", "--json", LINE))["failure"] is True
    # Each module that the package holds can be imported, but for these, which nothing here imports.
    words = do("chroot", scratch, "/usr/lib/certmedic/bin/python", "-IS", "-c", IMPORT_ALL)
    failed = json.loads(words.splitlines()[-1])
    print(f"\nnot importable: {failed}")  # noqa: T201
    assert failed.keys() <= NOT_IMPORTED, failed


NOT_IMPORTED = {
    "OpenSSL.debug",
    "_distutils_system_mod",
    "bz2",
    "concurrent.futures.process",
    "lzma",
    "rich._extension",
    "urllib3.http2.connection",
    "yaml.cyaml",
}
IMPORT_ALL = """
import contextlib, importlib, io, json, os, pkgutil, sys
sys.path.insert(0, "/usr/share/certmedic")
failed = {}
aside = {"antigravity", "this", "__main__", "idlelib"}
def attempt(name):
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return importlib.import_module(name)
    except BaseException as error:
        failed[name] = repr(error)[:120]
def walk(paths, prefix):
    for found in pkgutil.iter_modules(paths, prefix):
        last = found.name.rpartition(".")[2]
        if last in aside or found.name.startswith(("certmedic.actor", "encodings.")):
            continue
        module = attempt(found.name)
        if found.ispkg and module is not None:
            walk(module.__path__, found.name + ".")
walk(sys.path[:1] + [p for p in sys.path[1:] if p.endswith("python3.11")], "")
print(json.dumps(failed))
"""


# ---------------------------------------------------------------- on booted Debians


def put_expired_volume(machine, tmp_path):
    """Write an etcd volume as kops lays it out, with expired certificates; a unit of etcd logs that a client rejected them."""
    peers, clients = pki.authority("etcd-peers-ca-main"), pki.authority("etcd-clients-ca")
    ended = datetime.now(UTC) - timedelta(hours=3)
    pki.kops_volume(tmp_path / "vol", peers_ca=peers, clients_ca=clients, not_after=ended)
    packed = subprocess.run(["tar", "-C", tmp_path / "vol", "-c", "."], capture_output=True, check=True).stdout
    machine("mkdir", "-p", VOLUME)
    machine("mount", "-t", "tmpfs", "tmpfs", VOLUME)
    machine("tar", "-C", VOLUME, "-x", "--no-same-owner", stdin=packed)
    machine("chown", "-R", "0:0", VOLUME)
    unit = ["--unit=etcd@refused", "--collect", "--property=SyslogIdentifier=etcd"]
    machine("systemd-run", "--quiet", "--wait", *unit, "sh", "-c", 'echo "$0"; sleep 1', LINE)


def expired(machine):
    """Wait for the incident of the expired certificate; return its number."""

    def found():
        listed = json.loads(machine("certmedic", "incidents", "--json"))["incidents"]
        return [each for each in listed if each["diagnosis"]["cause"] == "expired"]

    until(found)
    (incident,) = found()
    assert incident["diagnosis"]["suspect"] == "own"
    return incident["id"]


def everything(machine):
    """Return every path with the product's name, except those of the tests, logs and caches."""
    aside = ["/root", "/var/log", "/var/cache", "/tmp", "/var/tmp"]
    prune = [word for path in aside for word in ("-path", path, "-prune", "-o")]
    return set(machine("find", "/", "-xdev", *prune, "-path", "*certmedic*", "-print").split())


def running(machine, interpreter):
    """The service is up, with this interpreter, and reads the journal."""
    machine.until("active (running)", "systemctl", "status", "certmedic")
    machine.until("reads journal", "systemctl", "show", "--property=StatusText", "certmedic")
    assert machine("sh", "-c", "readlink /proc/$(systemctl show -P MainPID certmedic)/exe").startswith(interpreter)


OWN, SYSTEM = "/usr/lib/certmedic/bin/python", "/usr/bin/python3"


def test_deb_is_installed_diagnoses_and_is_purged_on_debian_11(small, full, tmp_path):
    with machines.boot("bullseye-bare", BARE) as machine:
        before = everything(machine)
        assert machine.run("sh", "-c", "command -v python3").code != 0
        install(machine, full, actor_of(small))
        running(machine, OWN)
        put_expired_volume(machine, tmp_path)
        known = expired(machine)
        assert f"{VOLUME}/pki/etcd-cluster-token-etcd/" in machine("certmedic", "show", str(known))
        # The actor starts with the same interpreter, when it is asked.
        machine("systemctl", "start", "certmedic-actor.service")
        pid = machine("systemctl", "show", "-P", "MainPID", "certmedic-actor").strip()
        assert machine("readlink", f"/proc/{pid}/exe").startswith(OWN)
        assert machine("systemctl", "is-active", "certmedic-actor.socket").strip() == "active"
        machine("apt-get", "purge", "-y", "certmedic-full", "certmedic-actor")
        assert everything(machine) == before


@pytest.mark.parametrize(("release", "way"), [("bookworm", "apt"), ("bookworm", "dpkg"), ("trixie", "apt")])
def test_each_package_replaces_the_other_without_a_loss(release, way, small, full, tmp_path):
    with machines.boot(release, wanted(release)) as machine:
        machine("systemctl", "mask", "--now", "docker.socket", "docker.service", "containerd.service", "etcd.service")
        before = everything(machine)

        def put(package):
            machine.put(package, f"/root/{package.name}")
            command = ["apt-get", "install", "-y"] if way == "apt" else ["dpkg", "--auto-deconfigure", "-i"]
            print(machine(*command, f"/root/{package.name}", timeout=300))  # noqa: T201

        put(small)
        put(actor_of(small))
        running(machine, SYSTEM)
        put_expired_volume(machine, tmp_path)
        known = expired(machine)
        edited = "# mine\n" + machine("cat", "/etc/certmedic/certmedic.toml")
        machine.write("/etc/certmedic/certmedic.toml", edited)
        machine.write("/etc/certmedic/conf.d/mine.toml", 'mode = "observe"\n')
        owner = machine("stat", "--format=%U %u", "/var/lib/certmedic/state.sqlite3")

        def nothing_is_lost():
            assert machine("cat", "/etc/certmedic/certmedic.toml") == edited
            assert machine("cat", "/etc/certmedic/conf.d/mine.toml") == 'mode = "observe"\n'
            assert machine("stat", "--format=%U %u", "/var/lib/certmedic/state.sqlite3") == owner
            assert expired(machine) == known
            assert "observe" in property_of(machine, "StatusText")
            assert machine("systemctl", "is-enabled", "certmedic", "certmedic-reader.socket").split() == ["enabled"] * 2
            assert machine("systemctl", "is-active", "certmedic-actor.socket").strip() == "active"
            assert "/etc/certmedic/actor.toml" in everything(machine)
            assert not [path for path in everything(machine) if path.endswith((".dpkg-new", ".dpkg-dist", ".dpkg-old"))]

        for package, interpreter, gone in ((full, OWN, "certmedic"), (small, SYSTEM, "certmedic-full")):
            put(package)
            running(machine, interpreter)
            nothing_is_lost()
            # A purge of the leftovers of the other package takes nothing from this package.
            machine("dpkg", "--purge", gone)
            nothing_is_lost()
            machine("systemctl", "daemon-reload")
            machine("systemctl", "restart", "certmedic")
            running(machine, interpreter)
            nothing_is_lost()
        put(full)
        machine("apt-get", "purge", "-y", "certmedic-full", "certmedic", "certmedic-actor")
        assert everything(machine) == before


CURE = """
mode = "remedy"
[watch]
docker = true
pods = true
[certificates]
warn_days = []
[remedy]
restart = ["etcd-manager"]
cooldown = "1s"
verify_for = "60s"
"""


@pytest.mark.parametrize("release", ["bullseye-master", *RELEASES])
def test_expired_etcds_are_cured_and_the_service_is_there_after_a_reboot(release, small, full):
    """The etcds run under the distribution's Docker and containerd, and so do clients that refuse them; the agent runs on its own Python.

    On Debian 11 only that of Docker: its `ctr` cannot write the annotations by which containerd's pods are known. There the program
    that simulates etcd-manager runs on certmedic-full's Python too, since that of the distribution is too old for it.
    """
    is_old = release == "bullseye-master"
    with machines.boot(release, OLD_MASTER if is_old else wanted(release)) as machine:
        machine.write("/etc/certmedic/conf.d/cure.toml", CURE)
        sickroom.prepare(machine)
        install(machine, full, actor_of(small))
        running(machine, OWN)
        sickroom.volume(machine, sickroom.MAIN)
        sickroom.start_main(machine, python=OWN if is_old else sickroom.PYTHON)
        if not is_old:
            sickroom.volume(machine, sickroom.EVENTS)
            sickroom.start_events(machine)

        def cured():
            listed = json.loads(machine("certmedic", "incidents", "--json"))["incidents"]
            shown = [json.loads(machine("certmedic", "show", str(each["id"]), "--json")) for each in listed]
            acted = [each for each in shown if [act for act in each["acts"] if act["state"] == "verified"]]
            groups = {each["diagnosis"]["group"] for each in acted if each["state"] == "resolved"}
            return groups == ({"main"} if is_old else {"main", "events"})

        until(cured, seconds=300)
        pid = machine("systemctl", "show", "-P", "MainPID", "certmedic-actor").strip()
        assert pid == "0" or machine("readlink", f"/proc/{pid}/exe").startswith(OWN)
        machine.reboot()
        running(machine, OWN)
        assert (
            machine("systemctl", "is-active", "certmedic-actor.socket", "certmedic-reader.socket").split()
            == ["active"] * 2
        )
        known = json.loads(machine("certmedic", "incidents", "--json"))["incidents"]
        assert len([each for each in known if each["state"] == "resolved"]) >= (1 if is_old else 2)


def burden(machine):
    """Return the memory of the service's processes (MiB), and the median time from a start to READY (s)."""
    machine("systemctl", "restart", "certmedic")
    times = []
    for _ in range(5):
        machine("systemctl", "stop", "certmedic")
        began = time.monotonic()
        machine("systemctl", "start", "certmedic")
        times.append(time.monotonic() - began)
    machine.until("reads journal", "systemctl", "show", "--property=StatusText", "certmedic")
    machine.until("reader", "certmedic", "status")
    time.sleep(20)  # at rest
    script = 'for p in $(pgrep --uid "$0"); do grep -E "^(Rss|Pss)" /proc/$p/smaps_rollup; done'
    figures = {}
    for user in ("certmedic", "certmedic-reader"):
        lines = machine("sh", "-c", script, user).split("\n")
        for kind in ("Rss", "Pss"):
            figures[user, kind] = sum(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:")) / 1024
    return figures, sorted(times)[2]


def test_memory_and_start_are_near_those_of_the_small_package(small, full):
    with machines.boot("bookworm", wanted("bookworm")) as machine:
        machine("systemctl", "mask", "--now", "docker.socket", "docker.service", "containerd.service", "etcd.service")
        install(machine, small)
        of_small = burden(machine)
        install(machine, full)
        of_full = burden(machine)
    for name in of_small[0]:
        print(f"\n{' '.join(name)}: small {of_small[0][name]:.1f} MiB, full {of_full[0][name]:.1f} MiB")  # noqa: T201
    print(f"\nstart: small {of_small[1]:.2f} s, full {of_full[1]:.2f} s")  # noqa: T201
    assert sum(of_full[0].values()) <= 1.10 * sum(of_small[0].values())


# ---------------------------------------------------------------- the rpm, in a scratch root


@pytest.mark.parametrize("scratch", [("bookworm", wanted("bookworm"))], indirect=True)
def test_rpms_replace_each_other_without_a_loss(dist, scratch):
    small, full = dist / f"certmedic-{__version__}.noarch.rpm", dist / f"certmedic-full-{__version__}.x86_64.rpm"
    base = ("rpm", "--root", scratch, "--nosignature")
    wants = scratch / "etc/systemd/system/multi-user.target.wants/certmedic.service"
    config = scratch / "etc/certmedic/certmedic.toml"
    do(*base, "--nodeps", "-i", small)
    config.write_text("# mine\n")
    (scratch / "var/lib/certmedic").mkdir()
    for new, old, line in ((full, "certmedic", f"#!{OWN} -IS"), (small, "certmedic-full", f"#!{SYSTEM} -I")):
        # As `dnf swap` does: the new one first, then the old one is removed.
        do(*base, "--nodeps", "--replacefiles", "-i", new)
        do(*base, "--nodeps", "-e", old)
        assert do(*base, "-q", "--whatprovides", "certmedic").count("\n") == 1
        assert (scratch / "usr/bin/certmedic").read_text().splitlines()[0] == line
        assert config.read_text() == "# mine\n"
        assert wants.is_symlink()
        assert do("chroot", scratch, "certmedic", "--version").strip() == f"certmedic, version {__version__}"
        assert (scratch / "usr/lib/certmedic").exists() is (new == full)
    requires = do("rpm", "-qp", "--nosignature", "--requires", full)
    assert "python" not in requires


def test_bill_of_materials_names_every_input(dist):
    bill = json.loads((dist / f"certmedic-full-{__version__}.cdx.json").read_text())
    pinned = re.findall(r'^name = "(.*)"$', (ROOT / "packaging/full/inputs.toml").read_text(), re.MULTILINE)
    assert [part["name"] for part in bill["components"]] == pinned
    assert f"certmedic-full_{__version__}_amd64.deb" in (dist / "SHA256SUMS").read_text()
