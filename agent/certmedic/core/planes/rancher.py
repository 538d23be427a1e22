"""k3s and rke2: one unit whose start renews every leaf near its expiry.

Sources: k3s-io/k3s@09ac65a68f11 and docs.k3s.io; docs.rke2.io/security/certificates.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from certmedic.core.planes.record import Case, Effect, Plane, Renewer, files

# pkg/daemons/control/deps/deps.go. k3s serves its dynamic certificate on 6443 and forwards to the API server on 6444; rke2 serves
# the dynamic one on 9345. The file of a leaf also holds its CA. *-ca.nochain.crt is the CA without its chain, for the controller
# manager. Of two rows that fit equally well the first counts, so the CAs stand before client-*.crt.
_FILES = """
/var/lib/rancher/|<program>/server/tls/etcd/server-client.crt       server                     <program>  server-ca.crt          2379
/var/lib/rancher/|<program>/server/tls/etcd/peer-server-client.crt  peer                       <program>  peer-ca.crt            2380
/var/lib/rancher/|<program>/server/tls/etcd/client.crt              apiserver-etcd-client      <program>  server-ca.crt          -
/var/lib/rancher/|<program>/server/tls/etcd/*-ca.crt                ca                         operator   -                      -
/var/lib/rancher/|<program>/server/tls/serving-kube-apiserver.crt   apiserver                  <program>  server-ca.crt          <api>
/var/lib/rancher/|<program>/server/tls/dynamic-cert.json            dynamic-listener           <program>  server-ca.crt          <dynamic>
/var/lib/rancher/|<program>/server/tls/client-kube-apiserver.crt    apiserver-kubelet-client   <program>  client-ca.crt          -
/var/lib/rancher/|<program>/server/tls/client-auth-proxy.crt        front-proxy-client         <program>  request-header-ca.crt  -
/var/lib/rancher/|<program>/server/tls/client-controller.crt        controller-manager-client  <program>  client-ca.crt          -
/var/lib/rancher/|<program>/server/tls/client-scheduler.crt         scheduler-client           <program>  client-ca.crt          -
/var/lib/rancher/|<program>/server/tls/client-admin.crt             admin                      <program>  client-ca.crt          -
/var/lib/rancher/|<program>/server/tls/*-ca.crt                     ca                         operator   -                      -
/var/lib/rancher/|<program>/server/tls/*-ca.nochain.crt             ca                         operator   -                      -
/var/lib/rancher/|<program>/server/tls/client-*.crt                 client                     <program>  client-ca.crt          -
/var/lib/rancher/|<program>/server/tls/kube-controller-manager/kube-controller-manager.crt  controller-manager  <program>-self-signed  -  10257
/var/lib/rancher/|<program>/server/tls/kube-scheduler/kube-scheduler.crt  scheduler        <program>-self-signed  -               10259
/etc/rancher/|<program>/<program>.yaml                              kubectl                    <program>  /var/lib/rancher/<program>/server/tls/client-ca.crt  -
/var/lib/rancher/|<program>/agent/client-kubelet.crt                kubelet-client             <program>  client-ca.crt          -
/var/lib/rancher/|<program>/agent/serving-kubelet.crt               kubelet                    <program>  server-ca.crt          10250
/var/lib/rancher/|<program>/agent/*-ca.crt                          ca                         operator   -                      -
/var/lib/rancher/|<program>/agent/client-*.crt                      client                     <program>  client-ca.crt          -
"""


def _plane(program: str, *, service: str, api: str, dynamic: str, units: str) -> Plane:
    restart = f"sudo systemctl restart {service}"

    def effect(case: Case) -> Effect:
        if case.place.use == "dynamic-listener":
            # k3s#3144, #5163, #12476, rke2#8318: the secret in the cluster holds a second copy.
            return Effect(
                kind="unknown",
                why=f"{program} renews the certificate of its listener while it runs, but an expired one may come back from the secret"
                f" {program}-serving. Delete both copies before the restart.",
                command=f"sudo {program} kubectl -n kube-system delete secret {program}-serving;"
                f" sudo rm /var/lib/rancher/{program}/server/tls/dynamic-cert.json; {restart}",
            )
        # 120 days since v1.33.1, 1.32.5, 1.31.9 and 1.30.13 (k3s#12171), 90 before.
        if case.residual is not None and case.residual > timedelta(days=120):
            return Effect(
                kind="nothing",
                why=f"{program} reissues a certificate at its start only in its last 90 days, releases since May 2025 in its last 120. This one has longer.",
                command=f"sudo {program} certificate rotate",
            )
        if case.residual is not None and case.residual > timedelta(days=90):
            return Effect(
                kind="unknown",
                why=f"{program} reissues a certificate at its start in its last 90 days, releases since May 2025 in its last 120. This one is"
                " between the two, and the release that runs here is not known.",
                command=restart,
            )
        return Effect(
            kind="renews",
            why=f"{program} reissues at its start each certificate that has expired or is in its last 90 days (120 in releases since May 2025)."
            " Restart the servers one after the other, then the agents.",
            command=restart,
        )

    def self_signed(case: Case) -> Effect:
        # They keep what lies in their --cert-dir (k8s.io/apiserver, MaybeDefaultWithSelfSignedCerts; rancher#41125).
        holder = {"controller-manager": "kube-controller-manager"}.get(case.place.use, "kube-scheduler")
        stem = f"/var/lib/rancher/{program}/server/tls/{holder}/{holder}"
        return Effect(
            kind="nothing",
            why=f"{holder} signed this certificate itself and keeps the file over a restart. Once the file is moved away, it signs a new one.",
            command=f"sudo mv {stem}.crt {stem}.crt.expired && sudo mv {stem}.key {stem}.key.expired && {restart}",
        )

    return Plane(
        name=program,
        files=files(_FILES, program=(program,), api=(api,), dynamic=(dynamic,)),
        renewers=(
            Renewer(
                name=program,
                effect=effect,
                unit=f"{service}.service",
                renews_running=frozenset({"dynamic-listener"}),
            ),
            Renewer(name=f"{program}-self-signed", effect=self_signed, restartable=False),
        ),
        ca=Effect(
            kind="nothing",
            why=f"{program} keeps its CAs over a restart. Replace them by a command on one server.",
            command=f"sudo {program} certificate rotate-ca --path=/opt/{program}/server",
        ),
        etcd_config="../../db/etcd/config",
        manifests=(f"/var/lib/rancher/{program}/agent/pod-manifests",),
        programs=(program,),
        units=(units,),
    )


K3S = _plane("k3s", service="k3s", api="6444", dynamic="6443", units="k3s(?:-(?:agent|server))?")
RKE2 = replace(
    _plane("rke2", service="rke2-server", api="6443", dynamic="9345", units="rke2-(?:agent|server)"),
    logs=("/var/lib/rancher/rke2/agent/logs/kubelet.log",),
)
