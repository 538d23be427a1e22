"""Hostile requests: two hundred made by hand, and as many random ones as a test wants."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from certmedic.core.request import MOST_BYTES, MOST_REF, RUNTIMES

ME = "/mnt/master-vol-1/pki/etcd-cluster-token-etcd/peers/me.crt"
NAMES = (
    *("", " ", "-", "--", "-rf", "..", "../x", "/", "/etc/shadow", "etcd-manager", "kubelet.service", "sshd.service"),
    *(
        "etcd.service; reboot",
        "$(reboot)",
        "`id`",
        "x\ny",
        "x\0y",
        "\ud800",
        "é",
        "a" * 256,
        "0123abcd",
        "*",
        "%n",
        "k3s",
    ),
)
PATHS = (
    *(
        "",
        "/",
        "//",
        "me.crt",
        "/etc/shadow",
        "/etc/passwd",
        "/dev/zero",
        "/dev/mem",
        "/proc/self/mem",
        "/proc/1/environ",
    ),
    *(
        "/mnt/../etc/shadow",
        "/mnt/./x",
        "/mnt//x",
        f"{ME}\n",
        f"{ME}\0",
        f"{ME}/",
        "/tmp/me.crt",
        "/home/x/me.crt",
        "/\ud800",
    ),
    *(
        "/etc/kubernetes/pki/etcd-manager-main/etcd-peers-ca.key",
        "/" + "x" * 2000,
        "/var/lib/certmedic-actor/record.json",
    ),
)
ODD: tuple[Any, ...] = (None, True, False, 0, -1, 1.5, 2**63, 2**70, "1", [], [1], {}, {"a": 1}, "x" * 300)


def by_hand() -> list[bytes]:
    """Return the table of requests, each of which a healthy master must refuse."""
    made = [
        *(b"", b" ", b"\0", b"{", b"[]", b"null", b"7", b'"restart"', b"{}", b"\xff\xfe{}", b"[" * 9000, b"{" * 9000),
        *(b"GET / HTTP/1.0\r\n\r\n", b"restart etcd\n", b"reboot", b"\x00" * MOST_BYTES, b"A" * MOST_BYTES * 2),
        *(b'{"v":1,"verb":"restart"}', b'{"v":1,"v":1,"verb":"members"}', b'{"v":NaN,"verb":"members"}'),
        *(
            b'{"v":1,"verb":"members","verb":"undo"}',
            b'{"v":1,"verb":"members"}x',
            b'\xef\xbb\xbf{"v":1,"verb":"members"}',
        ),
    ]
    made += [_packet(v=odd, verb="members") for odd in ODD]
    made += [_packet(verb=odd) for odd in ODD]
    made += [
        _packet(verb=verb)
        for verb in ("run", "exec", "shell", "RESTART", "restart ", "reset", "sign", "read", "write", "put")
    ]
    made += [_packet(verb="restart", ref=1, runtime="docker", target=name) for name in NAMES]
    made += [
        _packet(verb="restart", ref=1, runtime=runtime, target="etcd") for runtime in (*RUNTIMES, "podman", "sh", "")
    ]
    made += [_packet(verb="restart", ref=1, runtime="systemd", target=name) for name in NAMES]
    made += [
        _packet(verb="restart", ref=1, runtime="command", target=name) for name in ("kubeadm", "/bin/sh", "sh -c id")
    ]
    made += [_packet(verb="renew", ref=1, paths=[path]) for path in PATHS]
    made += [_packet(verb="reissue", ref=1, runtime="docker", target="0123abcd", paths=[path]) for path in PATHS]
    made += [_packet(verb="renew", ref=1, paths=odd) for odd in ODD]
    made += [_packet(verb="undo", ref=odd) for odd in (*ODD, 7, MOST_REF - 1)]
    made += [_packet(verb="take", group=name) for name in (*NAMES[1:], "main", "events")]
    made += [_packet(verb="restart", ref=1, runtime="docker", target="x", command=["/bin/sh", "-c", "id"])]
    made += [_packet(verb="renew", ref=1, paths=[ME], key="-----BEGIN PRIVATE KEY-----")]
    made += [
        _packet(verb="renew", ref=1, paths=[ME] * 40),
        _packet(verb="renew", ref=1, paths=[f"/{n}" for n in range(40)]),
    ]
    return made


def at_random(count: int, seed: int) -> Iterator[bytes]:
    """Yield requests that are near to good ones, and some that are mere bytes."""
    chance = random.Random(seed)  # noqa: S311 - no secret hangs on it
    table = by_hand()
    for _ in range(count):
        kind = chance.randrange(4)
        if kind == 0:
            yield chance.randbytes(chance.randrange(200))
        elif kind == 1:
            data = bytearray(chance.choice(table)[:4000] or b"{}")
            for _ in range(chance.randrange(1, 6)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            yield bytes(data)
        else:
            yield _packet(
                verb=chance.choice(("restart", "renew", "reissue", "undo", "take", chance.choice(NAMES))),
                **{name: make(chance) for name, make in _FIELDS.items() if chance.random() < 0.5},
            )


_FIELDS: Mapping[str, Callable[[random.Random], Any]] = {
    "ref": lambda chance: chance.choice((1, chance.randrange(1, MOST_REF), *ODD)),
    "runtime": lambda chance: chance.choice((*RUNTIMES, *NAMES)),
    "target": lambda chance: chance.choice(NAMES),
    "paths": lambda chance: [chance.choice(PATHS) for _ in range(chance.randrange(4))],
    "group": lambda chance: chance.choice(NAMES[1:]),
}


def _packet(**fields: Any) -> bytes:
    return json.dumps({"v": 1, **fields}).encode()
