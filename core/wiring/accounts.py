"""The configured accounts: where each is, how to get in, and the name of its lock. Light enough for any tool."""

from __future__ import annotations

from core.config import Settings, VenueSettings
from core.domain.ids import VenueName
from core.domain.prices import PriceKind
from core.storage.instance_lock import account_key
from core.venues import VenueAccess


def accesses(settings: Settings) -> list[VenueAccess]:
    """How to reach each configured venue."""
    trades = PriceKind(settings.exits.price) is PriceKind.TRADES
    return [_access(VenueName(name), venue, trades=trades) for name, venue in settings.venues.items()]


def account_keys(settings: Settings) -> list[str]:
    """One key per configured account, for the instance locks."""
    return [lock_name(access) for access in accesses(settings)]


def lock_name(access: VenueAccess) -> str:
    """Of the account's instance lock."""
    return account_key(access.name, access.base_url or "", access.key)


def _access(name: VenueName, venue: VenueSettings, *, trades: bool) -> VenueAccess:
    passphrase = getattr(venue, "passphrase", None)
    return VenueAccess(
        name=name,
        key="" if venue.api_key is None else venue.api_key.get_secret_value(),
        secret="" if venue.api_secret is None else venue.api_secret.get_secret_value(),
        passphrase="" if passphrase is None else passphrase.get_secret_value(),
        base_url=venue.url,
        testnet=venue.testnet,
        trades=trades,
    )
