"""Real certificates for tests: CAs, leaves with any fault, and the folders in which kops keeps them.

Keys are P-256 by default, since a test run makes hundreds. As with etcd-manager, the NotBefore of a leaf is that of its CA unless
given. All PEM is bytes; all times are aware.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

TOKENS = {"main": "etcd-cluster-token-etcd"}  # other groups: the same with the name of the group


def new_key(*, kind: str = "ec") -> Key:
    """Make a private key: P-256 (`ec`), or RSA with 2048 bits (`rsa`) like etcd-manager."""
    if kind == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1())


@cache
def kept_key(number: int, *, kind: str = "rsa") -> Key:
    """Return a key that the tests of one run share: each number of a kind is another key. An RSA key takes half a second to make."""
    del number
    return new_key(kind=kind)


def key_pem(key: Key, *, pkcs8: bool = False) -> bytes:
    """Return a key in PEM as the programs of a master write it: `EC PRIVATE KEY`, `RSA PRIVATE KEY` or PKCS#8."""
    shape = serialization.PrivateFormat.PKCS8 if pkcs8 else serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, shape, serialization.NoEncryption())


def write_key(path: Path, key: Key) -> None:
    """Write a private key that only its owner can read."""
    path.touch(mode=0o600)
    path.write_bytes(key_pem(key))


def read_key(path: Path) -> Key:
    """Read a private key in PEM."""
    return cast("Key", serialization.load_pem_private_key(path.read_bytes(), None))


@dataclass(frozen=True)
class Leaf:
    """A certificate with its private key."""

    cert: x509.Certificate
    key: Key

    @property
    def cert_pem(self) -> bytes:
        return self.cert.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return key_pem(self.key)

    @property
    def der(self) -> bytes:
        return self.cert.public_bytes(serialization.Encoding.DER)

    def write(self, cert_path: Path, key_path: Path | None = None) -> Path:
        """Write both files, by default the key beside the certificate as `.key`; return `cert_path`."""
        cert_path.parent.mkdir(parents=True, exist_ok=True)
        cert_path.write_bytes(self.cert_pem)
        write_key(key_path or cert_path.with_suffix(".key"), self.key)
        return cert_path


@dataclass(frozen=True)
class Authority(Leaf):
    """A certificate authority; it signs leaves and revocation lists."""

    @property
    def pem(self) -> bytes:
        return self.cert_pem

    def leaf(
        self,
        cn: str,
        *,
        organisation: str = "",
        dns: Sequence[str] = (),
        ips: Sequence[str] = (),
        server: bool = True,
        client: bool = True,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        key: Key | None = None,
    ) -> Leaf:
        """Issue a leaf, by default until a year from now, in an `organisation` if named; with neither `server` nor `client` it has no EKU."""
        key = key or new_key()
        builder = (
            _builder(cn, key, not_before or begins(self.cert), not_after or _in_days(365), organisation)
            .issuer_name(self.cert.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        usages = [ExtendedKeyUsageOID.SERVER_AUTH] * server + [ExtendedKeyUsageOID.CLIENT_AUTH] * client
        if usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if dns or ips:
            names: list[x509.GeneralName] = [x509.DNSName(name) for name in dns]
            names += [x509.IPAddress(ipaddress.ip_address(ip)) for ip in ips]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return Leaf(builder.sign(self.key, hashes.SHA256()), key)

    def revoking(
        self, *leaves: Leaf, begins: datetime | None = None, ends: datetime | None = None, number: int | None = None
    ) -> bytes:
        """Issue a list of revoked certificates, in PEM."""
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.cert.subject)
        builder = builder.last_update(begins or _in_days(-1)).next_update(ends or _in_days(30))
        if number is not None:
            builder = builder.add_extension(x509.CRLNumber(number), critical=False)
        for leaf in leaves:
            revoked = x509.RevokedCertificateBuilder().serial_number(leaf.cert.serial_number)
            builder = builder.add_revoked_certificate(revoked.revocation_date(_in_days(-1)).build())
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def authority(
    cn: str,
    *,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
    key: Key | None = None,
    issuer: Authority | None = None,
) -> Authority:
    """Make a CA, self-signed unless `issuer` is given: from two days ago for ten years, like nodeup.

    With the `key` of an earlier CA, the result is that CA renewed.
    """
    key = key or new_key()
    begin = not_before or _in_days(-2)
    builder = (
        _builder(cn, key, begin, not_after or begin + timedelta(days=3650))
        .issuer_name(issuer.cert.subject if issuer else _name(cn))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return Authority(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


def kops_volume(
    volume: Path,
    *,
    peers_ca: Authority,
    clients_ca: Authority,
    member: str = "etcd-a",
    group: str = "main",
    peer: Leaf | None = None,
    server: Leaf | None = None,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
) -> Path:
    """Write `<volume>/pki/<token>/{peers,clients}/` as etcd-manager lays it out; return the folder of the token.

    `volume` is the mount point, e.g. `<root>/mnt/master-vol-0123456789abcdef0`. The dates are for both leaves; pass a
    faulty leaf as `peer` or `server`.
    """
    token = volume / "pki" / TOKENS.get(group, f"etcd-cluster-token-etcd-{group}")
    wanted: dict[str, Any] = {
        "dns": (member, f"{member}.internal.example", "localhost"),
        "ips": ("127.0.0.1",),
        "not_before": not_before,
        "not_after": not_after,
    }
    for folder, name, ca, leaf in (("peers", "me", peers_ca, peer), ("clients", "server", clients_ca, server)):
        (leaf or ca.leaf(member, **wanted)).write(token / folder / f"{name}.crt")
        (token / folder / "ca.crt").write_bytes(ca.pem)
    return token


def kops_pki(
    directory: Path,
    *,
    manager_ca: Authority,
    peers_ca: Authority,
    clients_ca: Authority,
    member: str = "etcd-a",
    not_after: datetime | None = None,
) -> Path:
    """Write `/etc/kubernetes/pki/etcd-manager-<group>/` (`directory`) as nodeup and etcd-manager lay it out."""
    cas = {"etcd-manager-ca": manager_ca, "etcd-peers-ca": peers_ca, "etcd-clients-ca": clients_ca}
    for name, ca in cas.items():
        ca.write(directory / f"{name}.crt")
    for role in ("server", "client"):
        cn = f"etcd-manager-{role}-{member}"
        dns = (cn,) if role == "server" else ()
        leaf = manager_ca.leaf(cn, dns=dns, server=role == "server", client=role == "client", not_after=not_after)
        leaf.write(directory / f"{cn}.crt")
    return directory


def kops_master(root: Path) -> Path:
    """Write the etcd files of a healthy kops master, groups main and events, under `root`; return `root`."""
    clients_ca = authority("etcd-clients-ca")
    for group, member in (("main", "etcd-a"), ("events", "etcd-events-a")):
        peers_ca, manager_ca = authority(f"etcd-peers-ca-{group}"), authority(f"etcd-manager-ca-{group}")
        cas: dict[str, Any] = {"peers_ca": peers_ca, "clients_ca": clients_ca}
        kops_volume(root / f"mnt/master-vol-{group}", group=group, member=member, **cas)
        kops_pki(root / f"etc/kubernetes/pki/etcd-manager-{group}", member=member, manager_ca=manager_ca, **cas)
    return root


def _builder(
    cn: str, key: Key, not_before: datetime, not_after: datetime, organisation: str = ""
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(cn, organisation))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )


def _name(cn: str, organisation: str = "") -> x509.Name:
    held = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation)] if organisation else []
    return x509.Name([*held, x509.NameAttribute(NameOID.COMMON_NAME, cn)])


def _in_days(days: int) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)


def read(cert_path: Path) -> x509.Certificate:
    """Read a certificate in PEM. Raises OSError or ValueError, e.g. during a write."""
    return x509.load_pem_x509_certificate(cert_path.read_bytes())


def read_authority(cert_path: Path) -> Authority:
    """Read a CA that `Leaf.write` wrote."""
    return Authority(read(cert_path), read_key(cert_path.with_suffix(".key")))


# cryptography before 42 has only naive times, and later versions warn about those.
def begins(cert: x509.Certificate) -> datetime:
    """Return NotBefore."""
    return (
        cert.not_valid_before_utc
        if hasattr(cert, "not_valid_before_utc")
        else cert.not_valid_before.replace(tzinfo=UTC)
    )


def ends(cert: x509.Certificate) -> datetime:
    """Return NotAfter."""
    return (
        cert.not_valid_after_utc if hasattr(cert, "not_valid_after_utc") else cert.not_valid_after.replace(tzinfo=UTC)
    )


def hosts(cert: x509.Certificate) -> set[str]:
    """Return the DNS names and IP addresses of a certificate."""
    try:
        names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {str(name.value) for name in names}


def kubeconfig(ca: Authority, leaf: Leaf) -> bytes:
    """Return a kubeconfig as kubeadm writes it: the cluster's CA first, then one user with certificate and key."""
    held = {
        name: base64.b64encode(pem).decode()
        for name, pem in (("ca", ca.pem), ("cert", leaf.cert_pem), ("key", leaf.key_pem))
    }
    return (
        "apiVersion: v1\nclusters:\n- cluster:\n"
        f"    certificate-authority-data: {held['ca']}\n    server: https://10.0.0.1:6443\n  name: kubernetes\n"
        "contexts:\n- context:\n    cluster: kubernetes\n    user: kubernetes-admin\n  name: kubernetes-admin@kubernetes\n"
        "current-context: kubernetes-admin@kubernetes\nkind: Config\npreferences: {}\nusers:\n- name: kubernetes-admin\n  user:\n"
        f"    client-certificate-data: {held['cert']}\n    client-key-data: {held['key']}\n"
    ).encode()


# kubeadm's leaves: file below /etc/kubernetes -> CA below pki, CN, organisation, whether it serves and calls.
KUBEADM: Mapping[str, tuple[str, str, str, bool, bool]] = {
    "pki/apiserver.crt": ("ca", "kube-apiserver", "", True, False),
    "pki/apiserver-kubelet-client.crt": ("ca", "kube-apiserver-kubelet-client", "system:masters", False, True),
    "pki/apiserver-etcd-client.crt": ("etcd/ca", "kube-apiserver-etcd-client", "", False, True),
    "pki/etcd/healthcheck-client.crt": ("etcd/ca", "kube-etcd-healthcheck-client", "system:masters", False, True),
    "pki/front-proxy-client.crt": ("front-proxy-ca", "front-proxy-client", "", False, True),
    "pki/etcd/server.crt": ("etcd/ca", "kmaster", "", True, True),
    "pki/etcd/peer.crt": ("etcd/ca", "kmaster", "", True, True),
    "admin.conf": ("ca", "kubernetes-admin", "kubeadm:cluster-admins", False, True),
    "controller-manager.conf": ("ca", "system:kube-controller-manager", "", False, True),
    "scheduler.conf": ("ca", "system:kube-scheduler", "", False, True),
}


def kubeadm_master(root: Path, *, not_before: datetime, not_after: datetime) -> dict[str, Authority]:
    """Write the CAs and leaves of a kubeadm master under `root`; return the CAs by their path below pki."""
    folder = root / "etc/kubernetes"
    cas = {name: authority(name, not_before=not_before) for name in ("ca", "etcd/ca", "front-proxy-ca")}
    for name, ca in cas.items():
        ca.write(folder / f"pki/{name}.crt")
    for name, (signer, cn, group, serves, calls) in KUBEADM.items():
        names: dict[str, Any] = {"dns": ("localhost", "kmaster"), "ips": ("127.0.0.1",)} if serves else {}
        leaf = cas[signer].leaf(
            cn, organisation=group, server=serves, client=calls, not_before=not_before, not_after=not_after, **names
        )
        if name.endswith(".crt"):
            leaf.write(folder / name)
        else:
            (folder / name).write_bytes(kubeconfig(cas[signer], leaf))
            (folder / name).chmod(0o600)
    return cas
