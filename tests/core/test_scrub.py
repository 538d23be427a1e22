"""Keys, passwords and tokens are removed from text; what explains a failure stays."""

import pytest

from certmedic.core.scrub import scrubbed, scrubbed_all

BODY = "\n".join(["MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj"] * 3)
LINE = 'rejected connection from "10.0.0.2:41000" (error "remote error: tls: bad certificate", ServerName "etcd-a")'


@pytest.mark.parametrize(
    "secret",
    [
        f"-----BEGIN RSA PRIVATE KEY-----\n{BODY}\nAb3=\n-----END RSA PRIVATE KEY-----",
        f"-----BEGIN PRIVATE KEY-----\n{BODY}\nAb3=",
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl",
        "Authorization: Bearer s3cr3t-9f8e7d",
        "password=s3cr3t-9f8e7d",
        'client_secret: "s3cr3t-9f8e7d"',
        '{"token": "s3cr3t-9f8e7d"}',
        "bearer s3cr3t-9f8e7d",
        "https://user:s3cr3t-9f8e7d@host/",
        "A" * 24 + "/+" * 12,
    ],
)
def test_secret_is_removed_and_the_text_around_it_stays(secret):
    text = scrubbed(f"before {secret}\nbehind")

    assert text.startswith("before ")
    assert "(removed)" in text
    for word in ("s3cr3t", "MIIE", "Ab3=", "c2lnbmF0dXJl", "/+/+"):
        assert word not in text
    assert text.endswith("behind") or "-----END" not in secret


@pytest.mark.parametrize(
    "text",
    [LINE, "/mnt/master-vol-061drill/pki/etcd-cluster-token-etcd/peers/me.crt", "sha256:" + "0a" * 32, "a" * 47 + "!"],
)
def test_text_without_secrets_stays(text):
    assert scrubbed(text) == text


def test_every_string_of_a_value_is_scrubbed():
    value = {"password": "kept, since it is a value", "list": ["token=abc", 1, None], "pair": ("x",), "number": 2.5}
    assert scrubbed_all(value) == {
        "password": "kept, since it is a value",
        "list": ["token=(removed)", 1, None],
        "pair": ["x"],
        "number": 2.5,
    }
