"""Control planes: where the certificates lie, who renews each, and the effect of a restart on it.

kops.py kubeadm.py rancher.py etcd.py microk8s.py openshift.py
                  one record for each plane, with its sources
record.py         the types of a record
uses.py           what certificates are for, on every plane
lookup.py         the list of planes, and what their records say of a path, a place, a use or a renewer
etcd_version.py   which etcd serves a renewed file without a restart
cluster.py        the cluster of an etcd, by its flags and by its answer to GET /members
identity.py       the name of a Kubernetes cluster, from the files of its masters
pods.py           the files that a static pod or a container names, as paths on the host
startup.py        the files that an etcd names in its start-up lines, flags and environment

A plane is added by its record and by its name in lookup.PLANES.
"""

from certmedic.core.planes.cluster import Cluster, cluster_from_config, cluster_from_flags, voters_of
from certmedic.core.planes.etcd_version import etcd_version, takes_up
from certmedic.core.planes.identity import DEFAULT_NAME, KOPS_FILE, MANIFEST, NAME, name_in_kops, name_in_manifest
from certmedic.core.planes.kops import KOPS, REISSUES_SINCE, manager_version, restart_command
from certmedic.core.planes.kubeadm import kubeadm_name
from certmedic.core.planes.lookup import (
    HAVE_MEANS,
    PLANES,
    RESTARTABLE,
    TOOLS,
    accounts,
    etcd_config,
    every,
    holder_in,
    holders,
    host_path,
    in_its_place,
    key_beside,
    patterns,
    place,
    plane_of,
    reads_at_start,
    renewer_of,
    restart_effect,
    runs_renewer,
    signing_authorities,
    unit_of,
    use_of,
    uses_sent,
    watched_programs,
)
from certmedic.core.planes.pods import paths_of_container, paths_of_manifest
from certmedic.core.planes.record import Effect, Subject
from certmedic.core.planes.startup import hosts_from_startup_line, is_host, paths_from_flags, paths_from_startup_line
from certmedic.core.planes.uses import IN_MEMORY, InMemory

__all__ = [
    "DEFAULT_NAME",
    "HAVE_MEANS",
    "IN_MEMORY",
    "KOPS",
    "KOPS_FILE",
    "MANIFEST",
    "NAME",
    "PLANES",
    "REISSUES_SINCE",
    "RESTARTABLE",
    "TOOLS",
    "Cluster",
    "Effect",
    "InMemory",
    "Subject",
    "accounts",
    "cluster_from_config",
    "cluster_from_flags",
    "etcd_config",
    "etcd_version",
    "every",
    "holder_in",
    "holders",
    "host_path",
    "hosts_from_startup_line",
    "in_its_place",
    "is_host",
    "key_beside",
    "kubeadm_name",
    "manager_version",
    "name_in_kops",
    "name_in_manifest",
    "paths_from_flags",
    "paths_from_startup_line",
    "paths_of_container",
    "paths_of_manifest",
    "patterns",
    "place",
    "plane_of",
    "reads_at_start",
    "renewer_of",
    "restart_command",
    "restart_effect",
    "runs_renewer",
    "signing_authorities",
    "takes_up",
    "unit_of",
    "use_of",
    "uses_sent",
    "voters_of",
    "watched_programs",
]
