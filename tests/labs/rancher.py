"""A k3s or rke2 server as files, with stand-ins for the programs that a recipe for its CAs types.

The files lie as k3s lays them (pkg/daemons/control/deps): leaves hold their CA too, and the CAs are in the datastore, here a folder, from
which the server writes them at its start. openssl and TLS are real. The stand-ins keep to k3s-io/k3s: `rotate-ca` asks the supervisor,
which it verifies by server-ca.crt (pkg/clientaccess/token.go), and replaces the CAs of the datastore (pkg/server/handlers/cert.go); a
server starts only if its CAs are valid. `date --set` moves a clock that the stand-ins alone believe in.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from labs import pki
from labs.drill.master import free_ports

CAS = {  # as k3s names them
    "server-ca": "{}-server-ca@1700000000",
    "client-ca": "{}-client-ca@1700000000",
    "request-header-ca": "{}-request-header-ca@1700000000",
    "etcd/server-ca": "etcd-server-ca@1700000000",
    "etcd/peer-ca": "etcd-peer-ca@1700000000",
}
LEAVES = {  # leaf -> its CA, CN, whether it serves
    "serving-kube-apiserver": ("server-ca", "kube-apiserver", True),
    "client-kube-apiserver": ("client-ca", "system:apiserver", False),
    "client-auth-proxy": ("request-header-ca", "system:auth-proxy", False),
    "client-admin": ("client-ca", "system:admin", False),
    "etcd/server-client": ("etcd/server-ca", "etcd-server", True),
    "etcd/peer-server-client": ("etcd/peer-ca", "etcd-peer", True),
    "etcd/client": ("etcd/server-ca", "etcd-client", False),
}
TOOLS = {
    "sudo": 'exec "$@"',
    "timedatectl": "echo $* >>{home}/clock",
    # GNU date shifts the given time; nobody's clock is touched.
    "date": """case "$1" in
--set=*) shift=${{1#--set=}}; shift=${{shift% seconds}}; echo $(( $(cat {home}/offset) + shift )) >{home}/offset ;;
*) echo $(( $(/bin/date +%s) + $(cat {home}/offset) )) ;;
esac""",
    "{program}": """[ "$1 $2" = "certificate rotate-ca" ] || exit 2
from=${{3#--path=}}/tls; now=$(( $(/bin/date +%s) + $(cat {home}/offset) ))
openssl s_client -connect 127.0.0.1:{port} -CAfile {tls}/server-ca.crt -attime $now -verify_return_error </dev/null >/dev/null 2>{home}/error || {{
    echo "CA cert validation failed" >&2; exit 1; }}
[ "$4" = --force ] || exit 1
cd $from && find . -name '*-ca.*' | while read -r file; do [ -s $file ] && cp $file {store}/$file; done""",
    "systemctl": """[ "$1 $2" = "restart {unit}" ] || exit 2
now=$(( $(/bin/date +%s) + $(cat {home}/offset) ))
cd {store} && find . -name '*-ca.crt' | while read -r file; do
    openssl verify -attime $now -CAfile $file $file >/dev/null || exit 1
done || exit 1
find . -name '*-ca.*' | while read -r file; do cp $file {tls}/$file; done
for ca in server-ca client-ca; do cp {tls}/$ca.crt {agent}/$ca.crt; done
echo started >>{home}/starts""",
}


@dataclass(frozen=True)
class Server:
    """The files of a server below `root`."""

    root: Path
    program: str
    port: int

    @property
    def tls(self) -> Path:
        return self.root / f"var/lib/rancher/{self.program}/server/tls"

    @property
    def agent(self) -> Path:
        return self.root / f"var/lib/rancher/{self.program}/agent"

    @property
    def home(self) -> Path:
        """The folder of the stand-ins."""
        return self.root / "lab"

    def type(self, command: str) -> subprocess.CompletedProcess[str]:
        """Type a line at a shell, with absolute paths below the root. It cannot set the clock of this machine."""
        here = re.sub(r"(?<=[ =])/(?=(?:var|opt|etc)/)", f"{self.root}/", command)
        return subprocess.run(
            ["setpriv", "--bounding-set=-sys_time", "--inh-caps=-sys_time", "bash", "-c", here],
            env={**os.environ, "PATH": f"{self.home / 'bin'}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @contextmanager
    def serving(self, leaf: str) -> Iterator[None]:
        """Serve a leaf on the port while the block runs, with all that its file holds."""
        file = self.tls / leaf
        served = subprocess.Popen(
            [
                *("openssl", "s_server", "-accept", f"127.0.0.1:{self.port}", "-quiet", "-cert", f"{file}.crt"),
                *("-cert_chain", f"{file}.crt", "-key", f"{file}.key"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield
        finally:
            served.kill()
            served.wait()

    def accepts(self, ca: str) -> bool:
        """Whether a client that knows a CA file alone accepts what is served now."""
        client = ["openssl", "s_client", "-connect", f"127.0.0.1:{self.port}", "-CAfile", f"{self.tls / ca}.crt"]
        done = subprocess.run(
            [*client, "-verify_return_error"], stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=20
        )
        return done.returncode == 0


def make(root: Path, program: str, *, not_before: datetime, not_after: datetime) -> Server:
    """Write the files of a server whose CAs are valid between two moments; its leaves are valid for a year."""
    (port,) = free_ports(1)
    server = Server(root, program, port)
    store = root / "lab/datastore"
    cas = {}
    for name, cn in CAS.items():
        cas[name] = pki.authority(cn.format(program), not_before=not_before, not_after=not_after)
        for folder in (server.tls, store):
            cas[name].write(folder / f"{name}.crt")
    for name, (ca, cn, serves) in LEAVES.items():
        leaf = cas[ca].leaf(cn, ips=("127.0.0.1",) if serves else (), server=serves)
        leaf.write(server.tls / f"{name}.crt").write_bytes(leaf.cert_pem + cas[ca].pem)
    server.agent.mkdir(parents=True)
    for name in ("server-ca", "client-ca"):
        (server.agent / f"{name}.crt").write_bytes(cas[name].pem)
    places = {
        "home": server.home,
        "store": store,
        "tls": server.tls,
        "agent": server.agent,
        "port": port,
        "program": program,
    }
    unit = {"k3s": "k3s", "rke2": "rke2-server"}[program]
    (server.home / "bin").mkdir()
    (server.home / "offset").write_text("0\n")
    for tool, script in TOOLS.items():
        file = server.home / "bin" / tool.format(program=program)
        file.write_text(f"#!/bin/bash\n{script.format(unit=unit, **places)}\n")
        file.chmod(0o755)
    return server
