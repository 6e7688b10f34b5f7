"""Codecs for the payloads in the database: zlib, AES-GCM with keys that are changed, Fernet, and one after another.

The law of this file: a codec gives back the very bytes, or raises. Whatever it must know to decode stands in what it
stored, such as the name of the key, so that old payloads stay readable when it changes.
"""

import os
import zlib
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import flowtx

NONCE_SIZE = 12
"""What AES-GCM wants; a random one may be used for 4 billion payloads a key."""


class Zlib:
    """Compresses. A payload that would grow is stored as it is, so short ones cost a byte."""

    def encode(self, payload: bytes, context: flowtx.PayloadContext) -> bytes:
        compressed = zlib.compress(payload)
        return b"z" + compressed if len(compressed) < len(payload) else b"-" + payload

    def decode(self, stored: bytes, context: flowtx.PayloadContext) -> bytes:
        return zlib.decompress(stored[1:]) if stored[:1] == b"z" else stored[1:]

    def __repr__(self) -> str:
        return "Zlib()"


class AesGcm:
    """Encrypts with AES-256-GCM: each payload under the newest key, whose name is stored before it.

    To change the key, add one and make it the newest; take an old one out when no run that needs it is kept. The place
    of the payload is authenticated too, so what was encrypted for one transaction cannot be put into another.
    """

    def __init__(self, keys: Mapping[str, bytes], newest: str) -> None:
        self._ciphers = {name: AESGCM(key) for name, key in keys.items()}
        self._newest = newest

    def encode(self, payload: bytes, context: flowtx.PayloadContext) -> bytes:
        nonce = os.urandom(NONCE_SIZE)
        encrypted = self._ciphers[self._newest].encrypt(nonce, payload, str(context).encode())
        return self._newest.encode() + b"\0" + nonce + encrypted

    def decode(self, stored: bytes, context: flowtx.PayloadContext) -> bytes:
        name, _, rest = stored.partition(b"\0")
        cipher = self._ciphers.get(name.decode(errors="replace"))
        if cipher is None:
            raise LookupError(f"there is no key {name.decode(errors='replace')!r}, only {', '.join(self._ciphers)}")
        try:
            return cipher.decrypt(rest[:NONCE_SIZE], rest[NONCE_SIZE:], str(context).encode())
        except InvalidTag as error:
            raise ValueError(f"key {name.decode()!r} did not encrypt this, or it was changed") from error

    def __repr__(self) -> str:
        return f"AesGcm(newest={self._newest!r})"  # never the keys


class FernetKeys:
    """Encrypts with Fernet; the first key encrypts, all of them decrypt."""

    def __init__(self, *keys: bytes) -> None:
        self._fernet = MultiFernet([Fernet(key) for key in keys])

    def encode(self, payload: bytes, context: flowtx.PayloadContext) -> bytes:
        return self._fernet.encrypt(payload)

    def decode(self, stored: bytes, context: flowtx.PayloadContext) -> bytes:
        try:
            return self._fernet.decrypt(stored)
        except InvalidToken as error:
            raise ValueError("none of the keys decrypts it") from error

    def __repr__(self) -> str:
        return "FernetKeys()"


class Chain:
    """One codec after another: ``Chain(Zlib(), AesGcm(...))`` compresses, then encrypts."""

    def __init__(self, *codecs: flowtx.PayloadCodec) -> None:
        self._codecs = codecs

    def encode(self, payload: bytes, context: flowtx.PayloadContext) -> bytes:
        for codec in self._codecs:
            payload = codec.encode(payload, context)
        return payload

    def decode(self, stored: bytes, context: flowtx.PayloadContext) -> bytes:
        for codec in reversed(self._codecs):
            stored = codec.decode(stored, context)
        return stored

    def __repr__(self) -> str:
        return f"Chain({', '.join(map(repr, self._codecs))})"


def from_environment() -> flowtx.PayloadCodec:
    """Compressed, then encrypted with the keys in PAYLOAD_KEYS, ``name:hex`` separated by blanks, the newest first.

    For the command line: ``--codec examples.payloads.codecs:from_environment``.
    """
    keys = {name: bytes.fromhex(key) for name, _, key in (one.partition(":") for one in _words("PAYLOAD_KEYS"))}
    return Chain(Zlib(), AesGcm(keys, newest=next(iter(keys))))


def _words(variable: str) -> list[str]:
    words = os.environ.get(variable, "").split()
    if not words:
        raise LookupError(f"the environment variable {variable} holds no keys")
    return words
