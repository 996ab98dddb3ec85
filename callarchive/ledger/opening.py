"""Opens the ledger and the anchor of a configuration."""

from callarchive.domain.days import Clock
from callarchive.domain.errors import ConfigurationError
from callarchive.ledger.anchor import Anchor
from callarchive.ledger.ledger import Ledger
from callarchive.settings import Settings
from callarchive.storage.stores import Store
from callarchive.storage.stores.opening import open_store


def open_ledger(settings: Settings, archive: Store, *, clock: Clock) -> Ledger:
    """Return the ledger in the archive, without contacting anything. Raises ConfigurationError for a malformed key."""
    chosen = settings.ledger
    signing_key, public_keys = None, []
    if chosen.signing_key is not None or chosen.public_keys:
        from callarchive.ledger.notes import PublicKey, SigningKey

        if chosen.signing_key is not None:
            try:
                signing_key = SigningKey.parse(chosen.signing_key.reveal())
            except ConfigurationError as err:
                raise ConfigurationError(f"ledger.signing_key: {err}") from err
            if signing_key.public.name != chosen.origin:
                named = f"its name is {signing_key.public.name}, but ledger.origin is {chosen.origin}"
                raise ConfigurationError(f"ledger.signing_key: {named}: they must be equal")
        for number, text in enumerate(chosen.public_keys):
            try:
                public_keys.append(PublicKey.parse(text))
            except ConfigurationError as err:
                raise ConfigurationError(f"ledger.public_keys.{number}: {err}") from err
    return Ledger(archive, origin=chosen.origin, clock=clock, signing_key=signing_key, public_keys=public_keys)


def open_anchor(settings: Settings, ledger: Ledger) -> Anchor | None:
    """Return the anchor, without contacting it; None if none is configured."""
    chosen = settings.ledger.anchor
    return None if chosen is None else Anchor(open_store(chosen.url, chosen.s3), ledger)
