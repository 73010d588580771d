"""
Clients that say in TLS what libraries would not: they make records of their own.

The handshake is Python's; the keys come from what that logs for debuggers.
"""

from __future__ import annotations

import hmac
import socket
import ssl
from itertools import count
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

HANDSHAKE, APPLICATION_DATA = 22, 23
_EMPTY_HELLO = bytes([1, 0, 0, 0])  # refused before anybody looks what is in it
_KEY_UPDATE = bytes([24, 0, 0, 1, 1])  # and the other side shall change its keys, too
_VERSION = bytes([3, 3])
_KEY = 32  # bytes, of both ciphers; their hash is SHA-384


class Renegotiating:
    """A client of TLS 1.2."""

    def __init__(self, plain: socket.socket, context: ssl.SSLContext, keys: Path) -> None:
        """Make the handshake; `context` is changed, `keys` is a file to make."""
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")  # for the keys of the tests' authority
        server_random = _handshake(plain, context, keys)
        client_random, master = _logged(keys, "CLIENT_RANDOM")
        keyed = _expand(master, b"key expansion" + server_random + client_random, 2 * _KEY + 2 * 4)
        self._cipher, self._salt = AESGCM(keyed[:_KEY]), keyed[2 * _KEY :][:4]
        self._numbers = count(1)  # the handshake's last message was 0

    def again(self) -> bytes:
        """Return a record that asks for another handshake."""
        return self.record(HANDSHAKE, _EMPTY_HELLO)

    def record(self, kind: int, data: bytes) -> bytes:
        """Return the next record (RFC 5288)."""
        number = next(self._numbers).to_bytes(8)
        about = number + bytes([kind]) + _VERSION + len(data).to_bytes(2)
        sealed = number + self._cipher.encrypt(self._salt + number, data, about)
        return bytes([kind]) + _VERSION + len(sealed).to_bytes(2) + sealed


class Rekeying:
    """A client of TLS 1.3."""

    def __init__(self, plain: socket.socket, context: ssl.SSLContext, keys: Path) -> None:
        """Make the handshake; `context` is changed, `keys` is a file to make."""
        context.minimum_version = ssl.TLSVersion.TLSv1_3  # of its ciphers, the first is taken
        _handshake(plain, context, keys)
        self._use(_logged(keys, "CLIENT_TRAFFIC_SECRET_0")[1])

    def again(self) -> bytes:
        """Return a record that changes the keys, and demands the same of the server."""
        made = self.record(HANDSHAKE, _KEY_UPDATE)
        self._use(_derive(self._secret, b"traffic upd", SHA384.digest_size))
        return made

    def record(self, kind: int, data: bytes) -> bytes:
        """Return the next record (RFC 8446, 5.2)."""
        nonce = (int.from_bytes(self._salt) ^ next(self._numbers)).to_bytes(len(self._salt))
        about = bytes([APPLICATION_DATA]) + _VERSION + (len(data) + 1 + 16).to_bytes(2)
        return about + self._cipher.encrypt(nonce, data + bytes([kind]), about)

    def _use(self, secret: bytes) -> None:
        self._secret = secret
        self._cipher, self._salt = AESGCM(_derive(secret, b"key", _KEY)), _derive(secret, b"iv", 12)
        self._numbers = count()


def _handshake(plain: socket.socket, context: ssl.SSLContext, keys: Path) -> bytes:
    """Make it, and return the server's random number."""
    context.keylog_filename = str(keys)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    received = b""
    while True:
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            plain.sendall(outgoing.read())
            data = plain.recv(65536)
            assert data, "the server has closed"
            received += data
            incoming.write(data)
        else:
            plain.sendall(outgoing.read())
            return received[11:43]  # behind the headers of record and message, and the version


def _logged(keys: Path, label: str) -> list[bytes]:
    """Return the random number of the client, and the secret of that name."""
    (line,) = (line for line in keys.read_text().splitlines() if line.startswith(f"{label} "))
    return [bytes.fromhex(word) for word in line.split()[1:]]


def _expand(secret: bytes, seed: bytes, size: int) -> bytes:
    """RFC 5246's pseudo-random function."""
    made, chained = b"", seed
    while len(made) < size:
        chained = hmac.digest(secret, chained, "sha384")
        made += hmac.digest(secret, chained + seed, "sha384")
    return made[:size]


def _derive(secret: bytes, label: bytes, size: int) -> bytes:
    """RFC 8446's HKDF-Expand-Label."""
    whole = b"tls13 " + label
    return HKDFExpand(SHA384(), size, size.to_bytes(2) + bytes([len(whole)]) + whole + b"\0").derive(secret)
