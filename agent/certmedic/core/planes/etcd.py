"""An etcd that no other plane runs: set up by kubespray or by hand, or with --auto-tls.

Source: kubernetes-sigs/kubespray@041cdd57cecf.
"""

from __future__ import annotations

import posixpath
import shlex

from certmedic.core.planes.record import Case, Effect, Plane, Renewer, always, files

# kubespray has one certificate for etcd's clients and its peers (roles/etcd/templates/etcd.env.j2). The files of an etcd that was set
# up by hand may lie anywhere; these are the usual places. With --auto-tls etcd signs its certificates itself, in its data directory.
_FILES = """
/etc/ssl/|etcd/ssl/member-*.pem            peer                   operator  ca.pem  2379,2380
/etc/ssl/|etcd/ssl/admin-*.pem             client                 operator  ca.pem  -
/etc/ssl/|etcd/ssl/node-*.pem              apiserver-etcd-client  operator  ca.pem  -
/etc/ssl/|etcd/ssl/ca.pem                  ca                     operator  -       -
/|etc/<etcd>/*.crt                         ?                      operator  ca.crt  -
/|etc/<etcd>/*.pem                         ?                      operator  ca.pem  -
/var/lib/etcd/|fixtures/client/cert.pem    server                 etcd      -       2379
/var/lib/etcd/|fixtures/peer/cert.pem      peer                   etcd      -       2380
/var/lib/etcd/*/|fixtures/client/cert.pem  server                 etcd      -       2379
/var/lib/etcd/*/|fixtures/peer/cert.pem    peer                   etcd      -       2380
"""


def _auto_tls(case: Case) -> Effect:
    # Seen with etcd 3.4.23: it signs once, for a year, and keeps the files at every later start (etcd-io/etcd#12427).
    folder = shlex.quote(posixpath.dirname(posixpath.dirname(case.path)) or "/var/lib/etcd/fixtures")
    return Effect(
        kind="keeps_expired",
        why="etcd --auto-tls signs this certificate once and keeps it over a restart. It signs a new one if the folder is missing.",
        command=f"sudo mv {folder} {folder}.expired && sudo systemctl restart etcd",
    )


_OF_OPERATOR = Effect(
    kind="rereads",
    why="A restart renews nothing: renew the file with the tool that made it. etcd 3.2.19 and later serves a new file from its next"
    " handshake on. Only a new CA file needs a restart.",
)

ETCD = Plane(
    name="etcd",
    files=files(_FILES, etcd=("etcd", "etcd/pki", "etcd/ssl", "etcd/tls", "ssl/etcd")),
    renewers=(
        Renewer(name="etcd", effect=_auto_tls),
        Renewer(name="operator", effect=always(_OF_OPERATOR)),
    ),
    units=(
        r"etcd[23]?(?:-(?:main|events|member|server|cluster|manager))?(?:@[\w.:-]+)?",
        r"snap\.etcd\.[\w.-]+",
    ),
)
