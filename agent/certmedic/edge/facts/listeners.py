"""What listens on this machine, and which certificate it shows."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from certmedic.core.certificates import NotACertificate, parse_der
from certmedic.core.model import Certificate, Served

MAX_NAME = 254  # longest name of DNS
_LISTEN = "0A"  # state of a socket in /proc/net/tcp


def own_addresses() -> frozenset[str]:
    """Return the addresses of all interfaces, loopback included, in the kernel's spelling.

    From /proc, since a netlink or interface socket is one more thing that a hardened unit would have to allow.
    """
    found = {"127.0.0.1", "::1"}
    with contextlib.suppress(OSError):
        found.update(re.findall(r"\|-- (\S+)\n\s+/32 host LOCAL", Path("/proc/net/fib_trie").read_text("ascii")))
    with contextlib.suppress(OSError):
        for line in Path("/proc/net/if_inet6").read_text("ascii").splitlines():
            found.add(str(ipaddress.IPv6Address(int(line.split()[0], 16))))
    return frozenset(found)


def listening(ports: Iterable[int]) -> tuple[tuple[str, int], ...]:
    """Return (address, port) for each of these ports on which something listens here; loopback where that is among them."""
    wanted = set(ports)
    found: dict[int, list[str]] = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            host, _, port = fields[1].rpartition(":")
            if fields[3] == _LISTEN and int(port, 16) in wanted:
                found.setdefault(int(port, 16), []).append(_dialled(host))
    return tuple((min(hosts, key=lambda host: not _is_loopback(host)), port) for port, hosts in sorted(found.items()))


def _dialled(kernel: str) -> str:
    """Return the address to dial for a listener's in /proc/net: 32-bit words in the machine's own byte order."""
    words = [int.from_bytes(bytes.fromhex(kernel[at : at + 8]), "little") for at in range(0, len(kernel), 8)]
    packed = b"".join(word.to_bytes(4, "big") for word in words)
    address = ipaddress.ip_address(packed)
    if isinstance(address, ipaddress.IPv6Address):
        # "::" takes IPv4 as well unless told otherwise, and hosts without IPv6 have it too.
        return "127.0.0.1" if address.is_unspecified else str(address.ipv4_mapped or address)
    return "127.0.0.1" if address.is_unspecified else str(address)


def _is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host).is_loopback


def shake_hands(address: str, port: int, *, server_name: str | None, deadline: float) -> Served:
    """Return the leaf that a listener shows, though it may refuse us: no client certificate is needed. Never raises.

    `server_name` is sent as SNI, `deadline` is in seconds for all of it. TLS 1.0 to 1.3. The handshake is left as soon as the
    certificate is seen, without an alert, so that the other side logs an end of the connection and no TLS failure.
    """
    until = time.monotonic() + deadline
    local_port = 0
    shown = b""
    error = "it closed the connection before it showed a certificate"
    try:
        with socket.create_connection((address, port), timeout=deadline) as sock:
            local_port = sock.getsockname()[1]
            shown = _listen(sock, _client(server_name), until)
            _part(sock, until)
    except TimeoutError:
        error = f"no answer within {deadline:g} s"
    except OSError as fault:
        error = fault.strerror or str(fault)
    except _NoTLSError as fault:
        error = str(fault)
    certificate: Certificate | None = None
    if shown:
        try:
            certificate, error = parse_der(shown), ""
        except NotACertificate as fault:
            error = f"what it showed is no certificate: {fault}"
    return Served(address=address, port=port, certificate=certificate, error=error, local_port=local_port)


def _listen(sock: socket.socket, tls: Any, until: float) -> bytes:
    """Go through the handshake until a certificate is shown, and return it as DER; b"" where the other side ends it before."""
    while True:
        try:
            over = _step(tls)
        except _NoTLSError:
            if shown := _shown(tls):
                return shown
            raise
        shown = _shown(tls)
        if over or shown:
            return shown
        _flush(tls, sock)
        # A deadline that has passed is the shortest time-out, as zero would mean "do not wait, and fail otherwise".
        sock.settimeout(max(until - time.monotonic(), 0.001))
        data = sock.recv(65536)
        if not data:
            return b""
        tls.bio_write(data)


def _part(sock: socket.socket, until: float) -> None:
    """End in order: to close while bytes are unread would reset the connection."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
        sock.settimeout(max(min(until - time.monotonic(), 0.5), 0.001))
        while sock.recv(65536):
            pass


class _NoTLSError(Exception):
    pass


def _client(server_name: str | None) -> Any:
    """Return a TLS client without a socket, which takes any certificate.

    It asks afterwards what was shown. A function that is called back would need memory that is writable and executable, which
    hardened machines and the unit's MemoryDenyWriteExecute= do not give.
    """
    from OpenSSL import SSL  # noqa: PLC0415 - heavy, and many commands never look

    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_VERSION)
    context.set_cipher_list(
        b"ALL:@SECLEVEL=0"
    )  # nothing is trusted to this connection; old servers should show theirs too
    tls = SSL.Connection(context, None)
    tls.set_connect_state()
    if server_name and server_name.isascii() and len(server_name) < MAX_NAME:
        tls.set_tlsext_host_name(server_name.encode())
    return tls


def _shown(tls: Any) -> bytes:
    """Return the leaf that the other side has shown so far, as DER; b"" for none."""
    from OpenSSL import crypto  # noqa: PLC0415 - see _client

    leaf = tls.get_peer_certificate()
    return crypto.dump_certificate(crypto.FILETYPE_ASN1, leaf) if leaf is not None else b""


def _step(tls: Any) -> bool:
    """Go on as far as the bytes at hand allow; whether the handshake is over. Raises _NoTLSError where it cannot go on."""
    from OpenSSL import SSL  # noqa: PLC0415 - see _client

    try:
        tls.do_handshake()
    except SSL.WantReadError:
        return False
    except SSL.Error as error:
        reasons = error.args[0] if error.args and isinstance(error.args[0], list) else []
        raise _NoTLSError(f"no TLS handshake: {reasons[0][-1] if reasons else 'it ended early'}") from error
    return True


def _flush(tls: Any, sock: socket.socket) -> None:
    from OpenSSL import SSL  # noqa: PLC0415 - see _client

    with contextlib.suppress(SSL.WantReadError):
        while data := tls.bio_read(65536):
            sock.sendall(data)
