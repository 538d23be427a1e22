"""The name of a cluster in the files of its masters."""

import json

import pytest

from certmedic.core.planes import name_in_kops, name_in_manifest

KUBE_ENV = """CloudProvider: aws
ClusterName: {}
ConfigServer:
  CACertificates: |
    ClusterName: not-this
InstanceGroupName: master-eu-central-1a
"""
KUBEADM = """spec:
  containers:
  - command:
    - kube-controller-manager
    - --cluster-cidr=10.244.0.0/16
    - {}
    - --cluster-signing-cert-file=/etc/kubernetes/pki/ca.crt
"""


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("prod.example.com", "prod.example.com"),
        ('"prod.example.com"', "prod.example.com"),
        ("'prod'  # ours", "prod"),
        ("a" * 100, "a" * 100),
        ("a" * 101, ""),
        ('"prod', ""),
        ("prod <b>", ""),
        ("../etc", ""),
        ("", ""),
    ],
)
def test_kops_names_the_cluster_in_its_boot_configuration(written, name):
    assert name_in_kops(KUBE_ENV.format(written)) == name


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("--cluster-name=kubernetes", "kubernetes"),
        ("'--cluster-name=prod-1'", "prod-1"),
        ('--cluster-name="prod-1"', "prod-1"),
        ("exec kube-controller-manager --cluster-name=prod.example.com --v=2 2>&1 | tee log", "prod.example.com"),
        ("--my-cluster-name=prod", ""),
        ("--cluster-name=", ""),
        ("--cluster-name=$(NAME)", ""),
        ("--cluster-name=" + "a" * 101, ""),
    ],
)
def test_controller_manager_names_the_cluster_in_a_flag(written, name):
    assert name_in_manifest(KUBEADM.format(written)) == name
    assert name_in_manifest(json.dumps({"spec": {"containers": [{"command": ["x", written.strip("'")]}]}})) == (
        name if '"' not in written else ""
    )
