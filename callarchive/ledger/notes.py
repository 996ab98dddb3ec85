"""Checkpoints of the ledger as signed notes: C2SP tlog-checkpoint and signed-note, with Ed25519 signatures.

A note is text, an empty line, and a line for each signature. A key has a name, and an id that is a hash of its name and itself,
so that a note with signatures of several keys can be checked with any of them.
"""

import base64
import binascii
import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from callarchive.domain.errors import ConfigurationError

_ED25519 = b"\x01"
_SIGNATURE = "\N{EM DASH} "
_PRIVATE = "PRIVATE+KEY"


class NoteError(ValueError):
    """A note or a checkpoint is malformed, or no signature of a trusted key is on it."""


@dataclass(frozen=True)
class PublicKey:
    """A key that checks signatures, written `name+id+key` (a "vkey")."""

    name: str
    raw: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the key. Raises ConfigurationError."""
        name, _, rest = text.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        key = cls(name, _decoded(encoded)[1:])
        if not name or _decoded(encoded)[:1] != _ED25519 or len(key.raw) != 32 or key.id.hex() != key_id:
            raise ConfigurationError("not a public key of the ledger: `callarchive ledger keygen` prints name+id+key")
        return key

    @property
    def id(self) -> bytes:
        """The first four bytes of the hash of the name and the key."""
        return hashlib.sha256(f"{self.name}\n".encode() + _ED25519 + self.raw).digest()[:4]

    def __str__(self) -> str:
        """Return the key as `parse` reads it."""
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(_ED25519 + self.raw).decode()}"

    def pem(self) -> str:
        """Return the key in PEM, as openssl reads it."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        public = Ed25519PublicKey.from_public_bytes(self.raw)
        return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()

    def has_signed(self, text: str, signature: bytes) -> bool:
        """Return whether the signature is this key's for the text."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, text.encode())
        except InvalidSignature:
            return False
        return True


class SigningKey:
    """A key that signs notes, written `PRIVATE+KEY+name+id+key`. Its repr contains no secret."""

    def __init__(self, name: str, seed: bytes) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self._seed = seed
        self.public = PublicKey(name, self._key.public_key().public_bytes_raw())

    @classmethod
    def generate(cls, name: str) -> Self:
        """Return a new key. Raises ConfigurationError if the name has a space or a plus sign, or is empty."""
        if not name or "+" in name or any(character.isspace() for character in name):
            raise ConfigurationError(f"the name of a key has neither spaces nor plus signs: {name!r}")
        return cls(name, secrets.token_bytes(32))  # an Ed25519 private key is any 32 random bytes (RFC 8032)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the key. Raises ConfigurationError; the message has nothing of the text."""
        name, _, rest = text.strip().removeprefix(f"{_PRIVATE}+").partition("+")
        key_id, _, encoded = rest.partition("+")
        seed = _decoded(encoded)
        wrong = "is not a signing key of the ledger: `callarchive ledger keygen` makes one"
        if not text.strip().startswith(f"{_PRIVATE}+") or seed[:1] != _ED25519 or len(seed) != 33:
            raise ConfigurationError(wrong)
        key = cls(name, seed[1:])
        if key.public.id.hex() != key_id:
            raise ConfigurationError(f"{wrong}: its id does not match")
        return key

    def __repr__(self) -> str:
        return f"SigningKey({self.public})"

    def private_text(self) -> str:
        """Return the key as `parse` reads it: a secret."""
        encoded = base64.b64encode(_ED25519 + self._seed).decode()
        return f"{_PRIVATE}+{self.public.name}+{self.public.id.hex()}+{encoded}"

    def sign(self, text: str) -> str:
        """Return the text as a note with this key's signature."""
        signature = base64.b64encode(self.public.id + self._key.sign(text.encode())).decode()
        return f"{text}\n{_SIGNATURE}{self.public.name} {signature}\n"


@dataclass(frozen=True)
class Checkpoint:
    """The state of a ledger: its origin, the number of its entries and the root hash of their tree."""

    origin: str
    size: int
    root: bytes

    @classmethod
    def parse(cls, note: str) -> Self:
        """Return the checkpoint in a note, signed or not. Raises NoteError."""
        lines = note.partition("\n\n")[0].split("\n")
        try:
            origin, size, root = lines[0], lines[1], base64.b64decode(lines[2], validate=True)
        except (IndexError, ValueError) as err:
            raise NoteError("not a checkpoint: it needs lines with origin, size and root hash") from err
        if not origin or not re.fullmatch("0|[1-9][0-9]{0,17}", size) or len(root) != 32:
            raise NoteError("not a checkpoint: its origin, size or root hash is malformed")
        return cls(origin, int(size), root)

    def text(self) -> str:
        """Return the text to sign."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def signers(note: str, keys: Sequence[PublicKey]) -> list[PublicKey]:
    """Return those of the keys that signed the note. A signature of another key is skipped. Raises NoteError.

    A signature with the name and id of one of the keys that does not match is an error, whatever others there are.
    """
    text, separator, tail = note.rpartition("\n\n")
    if not separator:
        return []
    found = []
    for line in tail.split("\n")[:-1]:
        name, _, encoded = line.removeprefix(_SIGNATURE).partition(" ")
        signature = _decoded(encoded)
        if not line.startswith(_SIGNATURE) or not name or len(signature) <= 4:
            raise NoteError("a line of its signatures is malformed")
        for key in keys:
            if (key.name, key.id) == (name, signature[:4]):
                if not key.has_signed(f"{text}\n", signature[4:]):
                    raise NoteError(f"the signature of {name} does not match")
                found.append(key)
    return found


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
