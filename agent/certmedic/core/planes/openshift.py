"""OpenShift: its operators renew the certificates. Users quote these paths; no action covers this plane."""

from __future__ import annotations

from certmedic.core.planes.record import Effect, Plane, Renewer, always, files

# The CA bundles of OpenShift's etcd lie in config maps beside the secrets.
_FILES = """
/etc/kubernetes/static-pod-resources/etcd-certs/secrets/|etcd-all-certs/etcd-serving-metrics-*.crt  metrics  openshift  -                                                       9979
/etc/kubernetes/static-pod-resources/etcd-certs/secrets/|etcd-all-certs/etcd-serving-*.crt          server   openshift  ../../configmaps/etcd-all-bundles/server-ca-bundle.crt  2379
/etc/kubernetes/static-pod-resources/etcd-certs/secrets/|etcd-all-certs/etcd-peer-*.crt             peer     openshift  ../../configmaps/etcd-all-bundles/server-ca-bundle.crt  2380
/etc/kubernetes/static-pod-resources/etcd-certs/|configmaps/etcd-all-bundles/*.crt                  ca       openshift  -                                                       -
"""

_EFFECT = Effect(
    kind="nothing",
    why="OpenShift's operators renew this certificate. If they did not, follow Red Hat's recovery procedure for expired"
    " control plane certificates.",
    command="oc get csr; oc adm ocp-certificates -h",
)

OPENSHIFT = Plane(
    name="openshift",
    files=files(_FILES),
    renewers=(Renewer(name="openshift", effect=always(_EFFECT), restartable=False, renews_running=frozenset({"*"})),),
    manifests=("/etc/kubernetes/manifests",),
    # Elsewhere anybody may create these, so only a manifest counts there.
    namespaces=(
        "openshift-etcd",
        "openshift-kube-apiserver",
        "openshift-kube-controller-manager",
        "openshift-kube-scheduler",
    ),
)
