"""What a connection to a venue takes and gives, the same for every venue."""

from __future__ import annotations

from dataclasses import dataclass

from core.domain.ids import VenueName
from core.engine.ports import MarketData, UserStream, VenueClient


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class VenueAccess:
    """Where an account is and how to get in. `base_url` replaces every host of the venue, sockets included
    (`http://127.0.0.1:PORT`, the simulator); without it `testnet` chooses between the venue's own hosts."""

    name: VenueName
    key: str
    secret: str
    passphrase: str = ""
    base_url: str | None = None
    testnet: bool = False

    def __repr__(self) -> str:
        where = self.base_url or ("testnet" if self.testnet else "production")
        return f"VenueAccess({self.name}, {where})"


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueConnection:
    """One venue, ready to be opened (`await client.open()`) and run (`user_stream.run()`, `market.run()`)."""

    client: VenueClient
    user_stream: UserStream
    market: MarketData
