"""The password or private key of an account for its SFTP server, read as the settings say. Nothing is contacted."""

import io

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from callarchive.domain.errors import ConfigurationError
from callarchive.settings import Secret, SftpSettings


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
        wrong = (
            "it is no private key, or damaged" if passphrase is None else "wrong accounts.sftp.passphrase, or damaged"
        )
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
