"""Whether a private key is that of a certificate, from bytes, since a private key repeats the public key."""

from __future__ import annotations

from certmedic.core.der import public_numbers, rsa_numbers
from certmedic.core.pem import contents


def key_fits(certificate: bytes, private_key_pem: bytes) -> bool | None:
    """Whether the private key belongs to the certificate (DER); None if either cannot be read (encrypted, broken).

    The library is loaded only for a key that does not repeat the public key: it takes 45 ms for an RSA key, because it checks the primes.
    """
    try:
        numbers = public_numbers(certificate)
    except IndexError:
        return None
    for key in contents(private_key_pem, b"PRIVATE KEY"):
        held = rsa_numbers(key)
        if held is not None:
            return held.startswith(numbers)
        if numbers in key:
            return True
    from certmedic.core.certificates.signing import loaded_key_fits  # noqa: PLC0415 - see above

    return loaded_key_fits(certificate, private_key_pem)
