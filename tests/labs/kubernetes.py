"""The programs of Kubernetes 1.20.2, built from Debian 12's source package and kept in the cache.

The first call of `programs` takes several minutes, 420 MB of the cache and 4 GB while it builds. It needs Debian 12's sources in apt.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

from labs.machine import cache

VERSION = "v1.20.2"
SOURCE = "kubernetes=1.20.5+really1.20.2-1.1+deb12u1"
NAMES = ("kubeadm", "kubectl", "kubelet", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
GO = "/usr/lib/go-1.19/bin"
# The vendored 1.0.1 crashes with Go 1.18 and later.
REFLECT2 = "github.com/modern-go/reflect2"
PACKAGED = Path("/usr/share/gocode/src")
OPENAPI = "+k8s:openapi-gen="
# Directories that hold published types; those of code-generator and sample-apiserver belong to other programs.
TYPES = ("pkg", "staging/src/k8s.io")
FOREIGN = ("k8s.io/code-generator/", "k8s.io/sample-apiserver/")
VERSION_PACKAGES = ("component-base/version", "client-go/pkg/version")


def programs() -> Path:
    """Return the folder with the programs of NAMES; build them if they are missing."""
    home = cache() / "kubernetes-1.20"
    home.mkdir(parents=True, exist_ok=True)
    done = home / "bin"
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # parallel runs build once
        if not done.exists():
            making = home / "bin.making"
            shutil.rmtree(making, ignore_errors=True)
            _build(_tree(home / "src"), home / "src", making)
            making.rename(done)
            shutil.rmtree(home / "src")
    return done


def _run(*command: str, cwd: Path, env: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=3600)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)[:300]} failed:\n{(done.stdout + done.stderr)[-3000:]}")


def _tree(work: Path) -> Path:
    """Fetch and unpack the source package in a folder; return its place in a GOPATH."""
    tree = work / "gopath/src/k8s.io/kubernetes"
    if not tree.exists():
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        _run("apt-get", "source", SOURCE, cwd=work)
        (unpacked,) = work.glob("kubernetes-*/")
        tree.parent.mkdir(parents=True)
        unpacked.rename(tree)
    vendored = tree / "vendor" / REFLECT2
    shutil.rmtree(vendored, ignore_errors=True)
    shutil.copytree(PACKAGED / REFLECT2, vendored)
    return tree


def _types(tree: Path) -> list[str]:
    """Return the import paths of the packages whose types the API server publishes."""
    found = set()
    for file in (file for folder in TYPES for file in (tree / folder).rglob("*.go")):
        place = file.parent.relative_to(tree).as_posix().replace("staging/src/", "vendor/")
        if not any(name in f"{place}/" for name in FOREIGN) and OPENAPI in file.read_text():
            found.add(f"k8s.io/kubernetes/{place}")
    return sorted(found)


def _build(tree: Path, work: Path, out: Path) -> None:
    """Build the programs into a folder. Debian's source lacks one generated package, which comes first."""
    go = {
        "GOPATH": f"{work}/gopath",
        "GOCACHE": f"{work}/gocache",
        "GO111MODULE": "off",
        "GOFLAGS": "",
        "CGO_ENABLED": "0",
    }
    env = {**os.environ, **go, "PATH": f"{GO}:{os.environ['PATH']}"}
    generator = work / "openapi-gen"
    _run("nice", "go", "build", "-o", str(generator), "./vendor/k8s.io/kube-openapi/cmd/openapi-gen", cwd=tree, env=env)
    options = {
        "-i": ",".join(_types(tree)),
        "-p": "k8s.io/kubernetes/pkg/generated/openapi",
        "-O": "zz_generated.openapi",
        "-h": "vendor/k8s.io/code-generator/hack/boilerplate.go.txt",
        "-r": str(work / "violations"),
    }
    _run("nice", str(generator), *(word for option in options.items() for word in option), cwd=tree, env=env)
    _, minor, _ = VERSION.split(".")
    facts = {"gitVersion": VERSION, "gitMajor": "1", "gitMinor": minor}
    places = [f"k8s.io/kubernetes/vendor/k8s.io/{package}" for package in VERSION_PACKAGES]
    sets = " ".join(f"-X {place}.{name}={value}" for place in places for name, value in facts.items())
    out.mkdir()
    wanted = [f"./cmd/{name}" for name in NAMES]
    _run("nice", "go", "build", "-ldflags", f"-s -w {sets}", "-o", f"{out}/", *wanted, cwd=tree, env=env)
