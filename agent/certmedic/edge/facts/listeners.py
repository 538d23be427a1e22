"""The listeners of this machine, and the certificates that they serve."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from certmedic.core.certificates import NotACertificate, parse_der
from certmedic.core.model import Certificate, Served
from certmedic.edge.os.network import OWN, Network, rows, table

MAX_NAME = 254  # characters of a DNS name
MOST_RECEIVED = 256 * 1024  # bytes of one handshake
MOST_STEPS = 512  # reads of one handshake
MOST_SENT = 8  # certificates of a chain
PARTING = 0.5  # seconds to wait for the end of the connection
_ESTABLISHED, _LISTEN = "01", "0A"  # states of a socket in /proc/net/tcp


def own_addresses(network: Network = OWN) -> frozenset[str]:
    """Return the addresses of all interfaces of a network, loopback included, in the kernel's spelling.

    From /proc: a hardened unit would have to allow a netlink socket.
    """
    addresses = {"127.0.0.1", "::1"}
    with contextlib.suppress(OSError):
        addresses.update(re.findall(r"\|-- (\S+)\n\s+/32 host LOCAL", table(network, "fib_trie")))
    with contextlib.suppress(OSError):
        for line in table(network, "if_inet6").splitlines():
            addresses.add(str(ipaddress.IPv6Address(int(line.split()[0], 16))))
    return frozenset(addresses)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A listening socket of this machine, as the kernel lists it."""

    address: str  # to dial
    port: int
    uid: int
    inode: int


def listeners(ports: Iterable[int], network: Network = OWN) -> tuple[Listener, ...]:
    """Return the listeners of a network on these ports."""
    wanted = set(ports)
    sockets = []
    for name in ("tcp", "tcp6") if wanted else ():
        with contextlib.suppress(OSError):
            for fields in rows(network, name):
                if fields[3] != _LISTEN:
                    break  # the kernel lists the listeners first; to find the connections it searches a large table
                host, _, port = fields[1].rpartition(":")
                if int(port, 16) in wanted:
                    sockets.append(
                        Listener(address=_dialled(host), port=int(port, 16), uid=int(fields[7]), inode=int(fields[9]))
                    )
    return tuple(sorted(sockets, key=lambda at: (at.port, not _is_loopback(at.address), at.address)))


def connections(port: int, network: Network = OWN) -> dict[int, str]:
    """Return socket inode -> the address of the other end, of each connection that this machine made to a port of another machine.

    One that a listener here accepted does not count: a stranger may call from any port.
    """
    here, wanted, ends = own_addresses(network), f"{port:04X}", {}
    known = []
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            known += list(rows(network, name))
    accepting = {fields[1].rpartition(":")[2] for fields in known if fields[3] == _LISTEN}
    for fields in known:
        host, _, remote = fields[2].rpartition(":")
        is_made_here = fields[1].rpartition(":")[2] not in accepting
        if remote == wanted and fields[3] == _ESTABLISHED and is_made_here and (address := _dialled(host)) not in here:
            ends[int(fields[9])] = address
    return ends


def listening(ports: Iterable[int]) -> tuple[tuple[str, int], ...]:
    """Return (address, port) of each listener on these ports, loopback first."""
    return tuple(dict.fromkeys((at.address, at.port) for at in listeners(ports)))


def _dialled(kernel: str) -> str:
    """Convert an address in /proc/net (32-bit words in the machine's byte order) to one that can be dialled."""
    words = [int.from_bytes(bytes.fromhex(kernel[at : at + 8]), "little") for at in range(0, len(kernel), 8)]
    packed = b"".join(word.to_bytes(4, "big") for word in words)
    address = ipaddress.ip_address(packed)
    if isinstance(address, ipaddress.IPv6Address):
        # "::" accepts IPv4 too by default, even on hosts without IPv6.
        return "127.0.0.1" if address.is_unspecified else str(address.ipv4_mapped or address)
    return "127.0.0.1" if address.is_unspecified else str(address)


def _is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host).is_loopback


def shake_hands(address: str, port: int, *, server_name: str | None, deadline: float, network: Network = OWN) -> Served:
    """Return the leaf that a listener serves, even if it refuses clients without a certificate. Never raises.

    `address` is numeric, `server_name` is sent as SNI, `deadline` is in seconds for the whole handshake. TLS 1.0 to 1.3. The
    connection is closed as soon as the certificate has come, without an alert, so that the listener logs no TLS failure.
    """
    return probe(address, port, server_name=server_name, deadline=deadline, prove=False, network=network)[0]


@dataclass(frozen=True, slots=True)
class Proof:
    """The chain that a listener sent, and whether it has the key."""

    chain: tuple[bytes, ...] = ()  # DER, the leaf first
    proven: bool = False  # it signed the handshake with the leaf's key


def probe(  # noqa: PLR0913 - as for `shake_hands`, and each says how
    address: str,
    port: int,
    *,
    server_name: str | None,
    deadline: float,
    prove: bool = True,
    network: Network = OWN,
) -> tuple[Served, Proof]:
    """Like `shake_hands`; with `prove`, wait until the listener has proven that it has the key. Never raises.

    Nothing is sent after the first flight, so that the listener logs neither a client certificate nor an alert.
    """
    seen = Proof()
    until = time.monotonic() + deadline
    local_port = 0
    shown = b""
    error = "it closed the connection before it showed a certificate"
    try:
        with network.connect(address, port, patience=deadline) as sock:
            local_port = sock.getsockname()[1]
            seen = _listen(sock, _client(server_name), until, prove=prove)
            shown = seen.chain[0] if seen.chain else b""
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
    return Served(address=address, port=port, certificate=certificate, error=error, local_port=local_port), seen


def _listen(sock: socket.socket, tls: Any, until: float, *, prove: bool) -> Proof:
    """Shake hands until the listener sends its certificate, or with `prove`, until it proves that it has the key."""
    received = 0
    for _ in range(MOST_STEPS):
        try:
            over = _step(tls)
        except _NoTLSError:
            if chain := _shown(tls):
                return Proof(chain)
            raise
        chain = _shown(tls)
        if chain and (not prove or _is_proven(tls, over=over)):
            return Proof(chain, proven=prove)
        if over:
            return Proof(chain)
        try:
            if not chain:
                _flush(tls, sock, until)
            data = b"" if received >= MOST_RECEIVED else _receive(sock, until)
        except OSError:
            if chain:
                return Proof(chain)
            raise
        if not data:
            return Proof(chain)
        received += len(data)
        tls.bio_write(data)
    return Proof(_shown(tls))


def _is_proven(tls: Any, *, over: bool) -> bool:
    """Whether the listener's signature over this handshake was verified.

    In TLS 1.3, it was verified when the handshake is over. In TLS 1.2, the client answers only after it has verified the
    signature over the parameters of (EC)DHE; with a static RSA key exchange, nothing is signed.
    """
    version = tls.get_protocol_version_name()
    if version == "TLSv1.3":
        return over
    if version != "TLSv1.2" or not (tls.get_cipher_name() or "").startswith(("ECDHE-RSA", "ECDHE-ECDSA", "DHE-RSA")):
        return False
    from OpenSSL import SSL  # noqa: PLC0415 - see _client

    try:
        return bool(tls.bio_read(65536))
    except SSL.WantReadError:
        return False


def _receive(sock: socket.socket, until: float) -> bytes:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    sock.settimeout(left)
    return sock.recv(65536)


def _part(sock: socket.socket, until: float) -> None:
    """Close without a reset, which unread bytes would cause."""
    until = min(until, time.monotonic() + PARTING)
    received = 0
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
        while received < MOST_RECEIVED and (data := _receive(sock, until)):
            received += len(data)


class _NoTLSError(Exception):
    pass


def _client(server_name: str | None) -> Any:
    """Return a TLS client without a socket, which accepts any certificate.

    The certificate is read after the handshake: a callback would need memory that is writable and executable, which
    MemoryDenyWriteExecute= in the unit forbids.
    """
    from OpenSSL import SSL  # noqa: PLC0415 - heavy, and many commands do not need it

    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_VERSION)
    context.set_cipher_list(b"ALL:@SECLEVEL=0")  # no secret is sent, and old servers should answer too
    tls = SSL.Connection(context, None)
    tls.set_connect_state()
    if server_name and server_name.isascii() and len(server_name) < MAX_NAME:
        tls.set_tlsext_host_name(server_name.encode())
    return tls


def _shown(tls: Any) -> tuple[bytes, ...]:
    """Return the chain that the listener has sent so far, as DER, the leaf first; empty if none."""
    from OpenSSL import crypto  # noqa: PLC0415 - see _client

    leaf = tls.get_peer_certificate()
    if leaf is None:
        return ()
    sent = (tls.get_peer_cert_chain() or [leaf])[:MOST_SENT]
    return tuple(crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate) for certificate in sent)


def _step(tls: Any) -> bool:
    """Process the bytes received; return whether the handshake is over. Raises _NoTLSError if it failed."""
    from OpenSSL import SSL  # noqa: PLC0415 - see _client

    try:
        tls.do_handshake()
    except SSL.WantReadError:
        return False
    except SSL.Error as error:
        reasons = error.args[0] if error.args and isinstance(error.args[0], list) else []
        raise _NoTLSError(f"no TLS handshake: {reasons[0][-1] if reasons else 'it ended early'}") from error
    return True


def _flush(tls: Any, sock: socket.socket, until: float) -> None:
    from OpenSSL import SSL  # noqa: PLC0415 - see _client

    with contextlib.suppress(SSL.WantReadError):
        while data := tls.bio_read(65536):
            sock.settimeout(max(until - time.monotonic(), 0.001))
            sock.sendall(data)
