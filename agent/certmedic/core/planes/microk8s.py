"""MicroK8s: a command of the snap renews the certificates. Users quote these paths; no action covers this plane."""

from __future__ import annotations

from certmedic.core.planes.record import Case, Effect, Plane, Renewer, files

_FILES = """
/var/snap/|microk8s/current/certs/server.crt              apiserver           microk8s  ca.crt              16443
/var/snap/|microk8s/current/certs/front-proxy-client.crt  front-proxy-client  microk8s  front-proxy-ca.crt  -
/var/snap/|microk8s/current/certs/kubelet.crt             kubelet             microk8s  ca.crt              10250
/var/snap/|microk8s/current/certs/ca.crt                  ca                  microk8s  -                   -
/var/snap/|microk8s/current/certs/front-proxy-ca.crt      ca                  microk8s  -                   -
"""

# What `microk8s refresh-certs` calls a file, by its use.
_NAMES = {"apiserver": "server.crt", "front-proxy-client": "front-proxy-client.crt"}


def _effect(case: Case) -> Effect:
    name = _NAMES.get(case.place.use)
    return Effect(
        kind="nothing",
        why="A restart renews nothing. MicroK8s renews on command, and then restarts itself.",
        command=f"sudo microk8s refresh-certs --cert {name}" if name else "",
    )


MICROK8S = Plane(
    name="microk8s",
    files=files(_FILES),
    renewers=(Renewer(name="microk8s", effect=_effect, restartable=False),),
    ca=Effect(
        kind="nothing",
        why="No restart reissues the CA. After a new CA every node must join again.",
        command="sudo microk8s refresh-certs --cert ca.crt",
    ),
    units=(r"snap\.microk8s\.[\w.-]+",),
)
