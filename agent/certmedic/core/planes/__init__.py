"""Control planes: where the certificates lie, who renews each, and the effect of a restart on it.

    table.py      the data: every kind of file, and the etcd groups of kops
    places.py     path and certificate -> what the file is for
    effects.py    what a restart does to it, and what a person would type
    keys.py       where private keys lie: beside a certificate, and those of authorities
    cluster.py    the cluster of an etcd, by its flags and by its answer to GET /members
    pods.py       the files that a static pod or a container names, as paths on the host
    startup.py    the files that an etcd names in its start-up lines, flags and environment

Sources, each read at the commit named; the comments say which:

* etcd-manager: kopeio/etcd-manager@17729ad954e3, kubernetes-sigs/etcdadm@34425651ae0b, kubernetes-sigs/etcd-manager@ad35ed6691d8
* kops: kubernetes/kops@268927e26409 and its tags back to v1.15.2
* kubeadm: kubernetes/kubernetes@00886ac0, and the page "Certificate Management with kubeadm"
* k3s: k3s-io/k3s@09ac65a68f11 and docs.k3s.io; rke2: docs.rke2.io/security/certificates
* kubespray: kubernetes-sigs/kubespray@041cdd57cecf
* MicroK8s and OpenShift: what their users quote; nothing here acts on them
"""

from certmedic.core.planes.cluster import Cluster, cluster_from_config, cluster_from_flags, voters_told
from certmedic.core.planes.effects import (
    REISSUES_SINCE,
    Effect,
    etcd_manager_pod_prefix,
    manager_version,
    restart_command,
    restart_effect,
    unit_of,
)
from certmedic.core.planes.keys import REREAD, etcd_version, key_beside, signing_authorities, takes_up
from certmedic.core.planes.places import host_path, in_its_place, patterns, place
from certmedic.core.planes.pods import on_host, paths_of_container, paths_of_manifest
from certmedic.core.planes.startup import hosts_from_startup_line, paths_from_flags, paths_from_startup_line
from certmedic.core.planes.table import ETCD_GROUPS, PLANES, Group, Pattern

__all__ = [
    "ETCD_GROUPS",
    "PLANES",
    "REISSUES_SINCE",
    "REREAD",
    "Cluster",
    "Effect",
    "Group",
    "Pattern",
    "cluster_from_config",
    "cluster_from_flags",
    "etcd_manager_pod_prefix",
    "etcd_version",
    "host_path",
    "hosts_from_startup_line",
    "in_its_place",
    "key_beside",
    "manager_version",
    "on_host",
    "paths_from_flags",
    "paths_from_startup_line",
    "paths_of_container",
    "paths_of_manifest",
    "patterns",
    "place",
    "restart_command",
    "restart_effect",
    "signing_authorities",
    "takes_up",
    "unit_of",
    "voters_told",
]
