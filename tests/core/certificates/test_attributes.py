import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from certmedic.core.certificates import attributes


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", {}),
        ("CN=etcd-a", {"CN": "etcd-a"}),
        ("CN=kubernetes-admin,O=system:masters", {"CN": "kubernetes-admin", "O": "system:masters"}),
        ("O=second,O=first", {"O": "first"}),
        (r"CN=a\,b\+c\\,OU=x", {"CN": r"a,b+c\ "[:-1], "OU": "x"}),
        ("CN=a+OU=b,O=", {"CN": "a", "OU": "b", "O": ""}),
        (r"CN=a\00b", {"CN": "a\ufffdb"}),
        (r"CN=\#1", {"CN": "#1"}),
        ("2.5.4.65=p,CN=a=b", {"2.5.4.65": "p", "CN": "a=b"}),
    ],
)
def test_attributes_of_a_name_are_read_and_unescaped(name, expected):
    assert attributes(name) == expected


def test_attributes_are_those_that_the_library_wrote():
    pairs = [(NameOID.COUNTRY_NAME, "DE"), (NameOID.STATE_OR_PROVINCE_NAME, " B+W"), (NameOID.LOCALITY_NAME, 'S"')]
    pairs += [(NameOID.ORGANIZATION_NAME, "a, b"), (NameOID.ORGANIZATION_NAME, "c"), (NameOID.COMMON_NAME, "x <y>; ")]
    name = x509.Name([x509.NameAttribute(kind, value) for kind, value in pairs]).rfc4514_string()
    assert attributes(name) == {"C": "DE", "ST": " B+W", "L": 'S"', "O": "a, b", "CN": "x <y>; "}
