"""Parsers of members, flags, start-up lines and manifests never raise, and limit what they return."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certmedic.core.planes import (
    cluster_from_config,
    cluster_from_flags,
    hosts_from_startup_line,
    paths_from_flags,
    paths_from_startup_line,
    paths_of_manifest,
    voters_of,
)
from certmedic.core.planes.cluster import MOST_MEMBERS
from certmedic.core.planes.pods import LONGEST_MANIFEST

TEXT = st.text(st.characters(), max_size=300)  # includes lone surrogates and control characters
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
URL = st.builds("https://{}:{}".format, TEXT, st.integers(-1, 70000)) | TEXT
MEMBER = st.fixed_dictionaries(
    {"name": TEXT | JSON, "peerURLs": st.lists(URL, max_size=2) | JSON}, optional={"isLearner": JSON}
)
CONTROLS = ["a\x1b[2J", "a\u202eb", "\ud800", "a\nb", "a\x00", "n" * 254]


def member(name, url="https://10.0.0.1:2380"):
    return {"name": name, "peerURLs": [url]}


def check(members):
    assert len(members) <= MOST_MEMBERS
    for name, host, port in members:
        assert name.isprintable()
        assert host.isprintable()
        assert 0 < len(name) <= 253
        assert 0 < len(host) <= 253
        assert 1 <= port <= 65535


@given(st.binary(max_size=300) | (JSON | st.lists(MEMBER, max_size=40)).map(lambda value: json.dumps(value).encode()))
def test_any_reply_gives_a_limited_list_of_printable_members(answer):
    check(voters_of(answer))


@given(
    st.dictionaries(st.sampled_from(["ETCD_NAME", "ETCD_INITIAL_CLUSTER", "ETCD_LISTEN_CLIENT_URLS"]), TEXT | URL),
    st.lists(TEXT),
)
def test_any_flags_give_a_limited_list_of_printable_members(environ, argv):
    cluster = cluster_from_flags(argv, environ)
    check(() if cluster is None else cluster.members)


@given(TEXT.map("name: a\ninitial-cluster: a=https://{}:2380".format) | TEXT)
def test_any_etcd_configuration_gives_a_limited_list_of_printable_members(text):
    cluster = cluster_from_config(text)
    check(() if cluster is None else cluster.members)


@given(TEXT.map("peerTLS: cert = /{}".format) | TEXT)
def test_any_startup_line_gives_printable_paths(text):
    assert all(path.isprintable() and path.startswith("/") for _, path in paths_from_startup_line(text))


@given(TEXT.map("advertise client URLs = https://{}".format) | TEXT)
def test_any_startup_line_gives_printable_hosts(text):
    assert all(host.isprintable() and len(host) <= 253 for _, host in hosts_from_startup_line(text))


@given(TEXT | JSON.map(json.dumps) | st.fixed_dictionaries({"spec": JSON}).map(json.dumps))
def test_any_manifest_gives_printable_paths(text):
    assert all(path.isprintable() for _, path in paths_of_manifest(text))


def test_deeply_nested_reply_is_refused():
    assert voters_of(b"[" * 200_000) == ()
    assert paths_of_manifest("{" + '"a":{' * 40_000) == ()


@pytest.mark.parametrize("name", CONTROLS)
def test_reply_with_an_unprintable_member_name_is_refused(name):
    assert voters_of(json.dumps([member("b"), member(name)]).encode()) == ()


@pytest.mark.parametrize("host", ["a\x1b[2J", "a\u202eb", "\ud800", "a\x7f", "n" * 254])
def test_reply_with_an_unprintable_host_is_refused(host):
    assert voters_of(json.dumps([member("b"), member("a", f"https://{host}:2380")]).encode()) == ()


@pytest.mark.parametrize(("count", "expected"), [(32, 32), (33, 0)])
def test_reply_with_more_than_32_members_is_refused(count, expected):
    answer = json.dumps([member(f"m{number}") for number in range(count)]).encode()
    assert len(voters_of(answer)) == expected
    listed = ",".join(f"m{number}=https://10.0.0.1:2380" for number in range(count))
    cluster = cluster_from_flags((), {"ETCD_NAME": "m0", "ETCD_INITIAL_CLUSTER": listed})
    assert (0 if cluster is None else len(cluster.members)) == expected


@pytest.mark.parametrize(("port", "expected"), [(0, 0), (1, 1), (65535, 1), (65536, 0)])
def test_port_of_a_member_is_within_range(port, expected):
    assert len(voters_of(json.dumps([member("a", f"https://10.0.0.1:{port}")]).encode())) == expected


@pytest.mark.parametrize("mark", CONTROLS[:5])
def test_path_with_control_characters_is_refused(mark):
    assert paths_from_flags([f"--cert-file=/etc/{mark}.crt"], {}) == ()
    assert paths_from_flags(["--cert-file=/etc/a.crt"], {}) == (("server", "/etc/a.crt"),)


@pytest.mark.parametrize(("length", "expected"), [(4096, 1), (4097, 0)])
def test_path_is_at_most_as_long_as_the_kernel_allows(length, expected):
    assert len(paths_from_flags(["--cert-file=" + "/" + "a" * (length - 1)], {})) == expected


def test_too_long_manifest_is_refused():
    flags = "- --cert-file=/etc/a.crt\n- mountPath: /etc\n  name: a\n- name: a\n  hostPath:\n    path: /etc\n"
    assert paths_of_manifest(flags + "#" * (LONGEST_MANIFEST - len(flags))) == (("server", "/etc/a.crt"),)
    assert paths_of_manifest(flags + "#" * (LONGEST_MANIFEST - len(flags) + 1)) == ()
