"""Certificates of a kubeadm master signed again in place by their own CAs: same key, subject, names and uses, another NotAfter."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from labs import pki

PKI = Path("etc/kubernetes/pki")
KUBELET = Path("var/lib/kubelet/pki/kubelet-client-current.pem")
KUBECONFIGS = ("admin.conf", "controller-manager.conf", "scheduler.conf", "kubelet.conf")
_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", re.DOTALL)
_EMBEDDED = re.compile(r"(?<=client-certificate-data: )\S+")
_LIFE = timedelta(days=365)


def sign(root: Path, until: datetime, *names: str) -> list[str]:
    """Let certificates of a master below `root` expire at a moment; return their paths on the master.

    A name is that of a leaf below pki/ without its end, of a kubeconfig, of a CA with its end (ca.crt), or "kubelet".
    """
    for name in names:
        _sign(root, until, name)
    return [f"/{_place(name)}" for name in names]


def ends(root: Path, *names: str) -> dict[str, datetime]:
    """Return path -> NotAfter of certificates of a master below `root`, by names as of `sign`."""
    found = {}
    for name in names:
        content = (root / _place(name)).read_bytes()
        embedded = _EMBEDDED.search(content.decode()) if name.endswith(".conf") else None
        pem = base64.b64decode(embedded[0]) if embedded else content
        found[f"/{_place(name)}"] = pki.ends(x509.load_pem_x509_certificate(pem))
    return found


def _place(name: str) -> Path:
    if name == "kubelet":
        return KUBELET
    if name.endswith(".conf"):
        return PKI.parent / name
    return PKI / (name if name.endswith(".crt") else f"{name}.crt")


def _authority(name: str) -> str:
    """Return the stem of the CA of a certificate, below pki/."""
    if name.endswith(".crt"):
        return name.removesuffix(".crt")
    if name.startswith("etcd/") or name == "apiserver-etcd-client":
        return "etcd/ca"
    return "front-proxy-ca" if name == "front-proxy-client" else "ca"


def _sign(root: Path, until: datetime, name: str) -> None:
    place = root / _place(name)
    if name == "kubelet":
        place = place.parent / place.readlink().name
    content = place.read_bytes()
    if name == "kubelet.conf":
        content = _with_embedded(root, content)
    if name.endswith(".conf"):
        embedded = _EMBEDDED.search(content.decode())
        if embedded is None:
            raise ValueError(f"{place} embeds no certificate")
        new = base64.b64encode(_again(root, base64.b64decode(embedded[0]), name, until))
        content = content.replace(embedded[0].encode(), new)
    else:
        content = _BLOCK.sub(lambda block: _again(root, block[0], name, until), content, count=1)
    place.write_bytes(content)


def _with_embedded(root: Path, content: bytes) -> bytes:
    """Return a kubelet.conf with the kubelet's present certificate and key in it, as kubeadm wrote it before v1.17."""
    held = (root / KUBELET.parent / (root / KUBELET).readlink().name).read_bytes()
    block = _BLOCK.search(held)
    if block is None:
        raise ValueError(f"{KUBELET} holds no certificate")
    parts = {b"certificate": block[0], b"key": held.replace(block[0], b"")}
    for part, pem in parts.items():
        content = re.sub(rb"client-%b: .*" % part, b"client-%b-data: %b" % (part, base64.b64encode(pem)), content)
    return content


def _again(root: Path, pem: bytes, name: str, until: datetime) -> bytes:
    """Return a certificate with another NotAfter."""
    old = x509.load_pem_x509_certificate(pem)
    stem = root / PKI / _authority(name)
    issuer = x509.load_pem_x509_certificate(stem.with_suffix(".crt").read_bytes())
    key = serialization.load_pem_private_key(stem.with_suffix(".key").read_bytes(), None)
    if not isinstance(key, RSAPrivateKey | EllipticCurvePrivateKey):
        raise TypeError(f"{stem}.key is of no kind that kubeadm makes")
    until = until.replace(microsecond=0)
    builder = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(issuer.subject)
        .public_key(old.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(until, datetime.now(UTC)) - _LIFE)
        .not_valid_after(until)
    )
    for extension in old.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
