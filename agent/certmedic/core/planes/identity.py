"""The name of a cluster, as the files of its masters give it."""

from __future__ import annotations

import re
from typing import Final

KOPS_FILE: Final = "/opt/kops/conf/kube_env.yaml"  # the boot configuration of nodeup, on each machine of a kops cluster
MANIFEST: Final = "kube-controller-manager"  # the beginning of the manifest's file name, on kops and kubeadm
DEFAULT_NAME: Final = "kubernetes"  # of every kubeadm cluster that was made without a name
LONGEST_NAME: Final = 100  # characters
NAME: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._:/-]{{0,{LONGEST_NAME - 1}}}")

_KOPS_KEY = re.compile(rf"""(?m)^ClusterName:[ \t]+(["']?)({NAME.pattern})\1[ \t]*(?:#.*)?$""")
_FLAG = re.compile(rf"""(?<![\w-])--cluster-name=["']?({NAME.pattern})(?=["'\s,\]]|$)""")


def name_in_kops(text: str) -> str:
    """Return the name in the text of `KOPS_FILE`; "" if it holds none."""
    match = _KOPS_KEY.search(text)
    return match[2] if match else ""


def name_in_manifest(text: str) -> str:
    """Return the value of --cluster-name in the manifest of a controller manager, in YAML or JSON; "" if it has none."""
    match = _FLAG.search(text)
    return match[1] if match else ""
