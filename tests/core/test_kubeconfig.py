import base64

import pytest

from certmedic.core import certificates
from labs import pki

CA = pki.authority("kubernetes")
ADMIN = CA.leaf("kubernetes-admin", server=False)


def b64(pem):
    return base64.b64encode(pem).decode()


USUAL = f"""\
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {b64(CA.cert_pem)}
    server: https://10.0.0.1:6443
  name: prod
contexts:
- context:
    cluster: prod
    user: alice
  name: alice@prod
current-context: alice@prod
kind: Config
users:
- name: alice
  user:
    client-certificate-data: {b64(ADMIN.cert_pem)}
    client-key-data: c2VjcmV0
"""
INDENTED = f"""\
users:
  - name: "first"
    user:
      exec:
        args:
          - name: none
  - user:
      client-certificate-data: {b64(ADMIN.cert_pem)}
    name: 'second' # a comment
clusters:
  - name: c
    cluster: {{server: x}}
other:
  name: third
"""
JSON = f'{{"users":[{{"name":"a","user":{{"client-certificate-data":"{b64(ADMIN.cert_pem)}"}}}}]}}'
NAMELESS = f"clusters:\n- cluster:\n    certificate-authority-data: {b64(CA.cert_pem)}\nname: outer\n"
SECRET = f'{{"data":{{"tls.crt":"{b64(ADMIN.cert_pem)}"}}}}'
NO_LIST = f"name: top\nclient-certificate-data: {b64(ADMIN.cert_pem)}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (USUAL, [("cluster", "prod"), ("user", "alice")]),
        (INDENTED, [("user", "second")]),
        (JSON, [("user", "")]),
        (NAMELESS, [("cluster", "")]),
        (SECRET, [("", "")]),
        (NO_LIST, [("user", "")]),
        (NAMELESS.replace("\nname", "\n  name").replace("outer", "a\x1b[0mb"), [("cluster", "a\ufffd[0mb")]),
        (CA.cert_pem.decode(), [("", "")]),
    ],
    ids=["usual", "indented", "json", "nameless", "secret", "no list", "control character", "plain PEM"],
)
def test_certificate_of_a_kubeconfig_has_the_kind_and_name_of_its_entry(text, expected):
    read = certificates.parse(text.encode(), "/etc/kubernetes/admin.conf")
    assert [(certificate.embedded_kind, certificate.embedded_key) for certificate in read] == expected


def test_every_certificate_of_an_entry_has_its_name():
    both = USUAL.replace(b64(CA.cert_pem), b64(CA.cert_pem + ADMIN.cert_pem))
    read = certificates.parse(both.encode(), "x.conf")
    assert [certificate.embedded_key for certificate in read] == ["prod", "prod", "alice"]
    assert [certificate.index for certificate in read] == [0, 1, 2]


def test_good_certificates_beside_a_broken_one_keep_their_entries():
    broken = USUAL.replace(b64(CA.cert_pem), "AAA")
    with pytest.raises(certificates.NotACertificate) as caught:
        certificates.parse(broken.encode(), "x.conf")
    assert [certificate.embedded_key for certificate in caught.value.certificates] == ["alice"]
