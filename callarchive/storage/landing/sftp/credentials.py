"""The password or private key of an account for its SFTP server, read as the settings say. Nothing is contacted."""

import io
import re

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from callarchive.domain.errors import ConfigurationError
from callarchive.domain.foreign_text import cleaned
from callarchive.settings import Secret, SftpSettings

_FORMS: tuple[tuple[str, str], ...] = (
    (
        r"PuTTY-User-Key-File",
        "it is a PuTTY key (.ppk): convert it with puttygen KEY.ppk -O private-openssh -o KEY, or with PuTTYgen's Conversions",
    ),
    (
        r"(sk-)?(ssh|ecdsa)-\S+ AAAA|-+ ?BEGIN (SSH2 |RSA )?PUBLIC KEY",
        "it is the public key (.pub): name the private key, usually the same file name without .pub",
    ),
    (r"-+BEGIN CERTIFICATE", "it is a certificate, not the private key"),
    (r"---- BEGIN SSH2 ENCRYPTED", "it is a key of ssh.com's format: convert it with ssh-keygen -i -f KEY"),
    (
        r"['\"\s]*-+BEGIN .*-+\\+[rn]",
        "it has the two characters \\n in place of line ends: write it with line ends, as printf '%b' \"$KEY\" > FILE does",
    ),
    (r"LS0tLS1CRUdJTi", "it is a key in base64: decode it with base64 -d"),
    (r"['\"\s]*-+BEGIN [^\r\n]*-+END", "it has lost its line ends: copy the key again, line by line"),
    (r"\xff\xfe|\xfe\xff|.?\0", "it is UTF-16 text: save it as ASCII or UTF-8"),
)
"""How a file that is no readable private key begins, and what it is."""


def read_password(settings: SftpSettings, *, account: str) -> str | None:
    """Return the account's password; `None` if it has a private key.

    Raises:
        ConfigurationError: it is not set or cannot be read.
    """
    return _reveal(settings.password, f"account {account}: accounts.sftp.password")


def load_private_key(settings: SftpSettings, *, account: str) -> paramiko.PKey | None:
    """Return the account's private key (RSA, ECDSA or Ed25519; OpenSSH's format, PEM or PKCS#8); `None` if it has a password.

    Raises:
        ConfigurationError: it cannot be read, or not with this passphrase.
    """
    if settings.private_key is None:
        return None
    named = f"account {account}: accounts.sftp.passphrase"
    place = f"account {account}: accounts.sftp.private_key: {settings.private_key}"
    text = _reveal(settings.passphrase, named)
    passphrase = text.encode("utf-8") if text is not None else None
    try:
        data = settings.private_key.read_bytes()
    except (OSError, ValueError) as err:  # a ValueError is a NUL in the name
        reason = getattr(err, "strerror", None) or type(err).__name__
        raise ConfigurationError(f"{place} cannot be read: {reason}") from err
    load = serialization.load_ssh_private_key if b"OPENSSH PRIVATE" in data else serialization.load_pem_private_key
    try:
        try:
            loaded = load(data, passphrase)
        except TypeError as err:
            if passphrase is None:
                raise ConfigurationError(f"{place} is encrypted: name accounts.sftp.passphrase") from err
            loaded = load(data, None)  # the key needs no passphrase
    except (ValueError, UnsupportedAlgorithm) as err:
        wrong = _form_of(data) or (
            "it is no private key, or damaged" if passphrase is None else "wrong accounts.sftp.passphrase, or damaged"
        )
        if settings.passphrase is not None and (doubt := settings.passphrase.doubt()):
            wrong += f"; {doubt}"
        if isinstance(err, UnsupportedAlgorithm):
            wrong = f"{cleaned(str(err))}; use an RSA, ECDSA or Ed25519 key"
        raise ConfigurationError(f"{place} cannot be read: {wrong}") from err
    kind: type[paramiko.PKey]
    if isinstance(loaded, rsa.RSAPrivateKey):
        kind = paramiko.RSAKey
    elif isinstance(loaded, ec.EllipticCurvePrivateKey):
        kind = paramiko.ECDSAKey
    elif isinstance(loaded, ed25519.Ed25519PrivateKey):
        kind = paramiko.Ed25519Key
    else:
        raise ConfigurationError(f"{place} is neither an RSA, an ECDSA nor an Ed25519 key")
    # In memory only: paramiko reads fewer formats than cryptography does, and this is one of them.
    plain = loaded.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    return kind.from_private_key(io.StringIO(plain.decode("ascii")))


def _reveal(secret: Secret | None, named: str) -> str | None:
    if secret is None:
        return None
    try:
        return secret.reveal()
    except ConfigurationError as err:
        raise ConfigurationError(f"{named}: {err}") from err


def _form_of(data: bytes) -> str | None:
    """Return what the file is, judging by its beginning, and the next step; `None` if it is none of the known forms."""
    text = data[:10_000].removeprefix(b"\xef\xbb\xbf").decode("latin-1").lstrip()
    return next((what for form, what in _FORMS if re.match(form, text)), None)
