"""Writes a private key under a passphrase as PKCS#8 with scrypt (RFC 7914, section 7), which `openssl pkcs8` opens.

The library that does the cryptography reads this form but writes only PBKDF2 with 2,048 rounds, about a thousand times
cheaper to guess. So here its scrypt and AES are put into the structure that the RFC names; nothing else is done here.
"""

import base64
import os
import textwrap

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

COST, BLOCK_SIZE, PARALLEL = 1 << 14, 8, 5
"""OWASP's second choice (2023): the largest cost that OpenSSL opens, whose limit is 32 MB, five times over."""

_PBES2 = bytes.fromhex("06092a864886f70d01050d")
_SCRYPT = bytes.fromhex("06092b06010401da47040b")
_AES_256_CBC = bytes.fromhex("060960864801650304012a")


def encrypted_pem(key: EllipticCurvePrivateKey, passphrase: bytes) -> bytes:
    """The key as `ENCRYPTED PRIVATE KEY`, with a new salt."""
    salt, vector = os.urandom(16), os.urandom(16)
    cipher_key = Scrypt(salt=salt, length=32, n=COST, r=BLOCK_SIZE, p=PARALLEL).derive(passphrase)
    padder, encryptor = PKCS7(128).padder(), Cipher(AES(cipher_key), CBC(vector)).encryptor()
    plain = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    hidden = encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()
    numbers = (_integer(COST), _integer(BLOCK_SIZE), _integer(PARALLEL))
    derivation = _sequence(_SCRYPT, _sequence(_octets(salt), *numbers))
    how = _sequence(_PBES2, _sequence(derivation, _sequence(_AES_256_CBC, _octets(vector))))
    return _pem("ENCRYPTED PRIVATE KEY", _sequence(how, _octets(hidden)))


def _pem(label: str, der: bytes) -> bytes:
    lines = textwrap.wrap(base64.b64encode(der).decode(), 64)
    return "\n".join((f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", "")).encode()


def _sequence(*parts: bytes) -> bytes:
    return _tagged(0x30, b"".join(parts))


def _octets(content: bytes) -> bytes:
    return _tagged(0x04, content)


def _integer(value: int) -> bytes:
    return _tagged(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _tagged(tag: int, content: bytes) -> bytes:
    size = len(content)
    length = bytes([size]) if size < 0x80 else bytes([0x80 + (size.bit_length() + 7) // 8]) + _unsigned(size)
    return bytes([tag]) + length + content


def _unsigned(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "big")
