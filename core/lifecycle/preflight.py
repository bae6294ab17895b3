"""Before trading: is each venue usable? ok, warn (said, traded), late (tried again) or off (with what to change)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from core.domain.ids import Asset, Symbol, VenueName
from core.domain.instrument import Instrument
from core.domain.reports import BalanceReport
from core.domain.sizing import SizingRule
from core.engine.ports import AccountSettings, KeyRights, MarginMode, MarketReads, PriceTriple, VenueClient
from core.errors import Ambiguous, RateLimited, StartRefused, Unreachable, VenueError


class Grade(StrEnum):
    OK = "ok"
    WARN = "warn"
    LATE = "late"
    OFF = "off"


class Check(Struct, frozen=True, kw_only=True):
    """One finding; `about` names the question, `what` is a sentence with the remedy in it where there is one. `where`
    is a venue or `host`."""

    where: str
    grade: Grade
    about: str
    what: str


class Preflight(Struct, frozen=True, kw_only=True):
    """All findings about one venue; `account` None when the venue is off before its settings could be read, `rights`
    None when it did not tell what the key may do. `not_now`:
    the venue itself said so (maintenance, a limit), so that waiting for it is the thing to do."""

    venue: VenueName
    checks: tuple[Check, ...]
    account: AccountSettings | None
    rights: KeyRights | None = None
    not_now: bool = False

    @property
    def grade(self) -> Grade:
        return worst(self.checks)


class PreflightRules(Struct, frozen=True, kw_only=True):
    """What the settings ask of a venue. `access` says per venue where its orders go and which key signs them (CFG-03);
    `local` are venues on this very host, whose keys nobody else can use."""

    quotes: frozenset[Asset]
    least_balance: Decimal
    sizing: SizingRule
    leverage: int
    margin: MarginMode | None
    access: Mapping[VenueName, str]
    local: frozenset[VenueName] = frozenset()
    withdrawal_allowed: bool = False
    """ALLOW_WITHDRAWAL_KEYS: a key that may withdraw is said, and used."""

    def wanted(self, instruments: Mapping[Symbol, Instrument]) -> list[Instrument]:
        """What may be traded by its quote coin."""
        return [instrument for instrument in instruments.values() if instrument.quote in self.quotes]


class Reading(Struct, frozen=True, kw_only=True):
    """What a venue told; None = it could not be read, and `unread` says why. `margin_of_account` as in VenueTraits."""

    account: AccountSettings
    balances: tuple[BalanceReport, ...]
    rights: KeyRights | None
    prices: Mapping[Symbol, PriceTriple] | None
    instruments: Mapping[Symbol, Instrument]
    clock_offset_ms: int
    unread: Mapping[str, str]
    margin_of_account: bool = False


Question = Callable[[Reading, PreflightRules, VenueName], Iterable[tuple[Grade, str]]]
"""One question about one reading; the answers are grades and sentences."""


def why_not(results: Iterable[Preflight]) -> str:
    """What keeps these venues from being used, in one line."""
    return "; ".join(
        f"{result.venue}: {check.what}"
        for result in results
        for check in result.checks
        if check.grade in (Grade.OFF, Grade.LATE)
    )


def worst(checks: Iterable[Check]) -> Grade:
    grades = {check.grade for check in checks}
    return next((grade for grade in (Grade.OFF, Grade.LATE, Grade.WARN) if grade in grades), Grade.OK)


async def examine(
    client: VenueClient, reads: MarketReads, rules: PreflightRules, questions: Mapping[str, Question]
) -> Preflight:
    """Open the client and ask it everything. Never raises for what a venue says: that is a finding."""
    venue = client.name
    access = Check(where=venue, grade=Grade.OK, about="access", what=rules.access.get(venue, ""))
    try:
        reading = await _read(client, reads)
    except (Unreachable, RateLimited, Ambiguous) as error:
        late = Check(where=venue, grade=Grade.LATE, about="reached", what=str(error))
        not_now = isinstance(error, RateLimited) or (isinstance(error, Unreachable) and error.status != 0)
        return Preflight(venue=venue, checks=(access, late), account=None, not_now=not_now)
    except (VenueError, StartRefused) as error:
        off = Check(where=venue, grade=Grade.OFF, about="key", what=str(error))
        return Preflight(venue=venue, checks=(access, off), account=None)
    checks = [
        Check(where=venue, grade=grade, about=about, what=what)
        for about, question in questions.items()
        for grade, what in question(reading, rules, venue)
    ]
    return Preflight(venue=venue, checks=(access, *checks), account=reading.account, rights=reading.rights)


async def _read(client: VenueClient, reads: MarketReads) -> Reading:
    """The client opened; raises VenueError or StartRefused for what trading cannot do without."""
    await client.open()
    account = await client.account_settings()
    balances = await client.balances()
    rights, prices = await asyncio.gather(client.key_rights(), reads.prices(), return_exceptions=True)
    unread: dict[str, str] = {}
    for name, answer in (("rights", rights), ("prices", prices)):
        if isinstance(answer, VenueError):
            unread[name] = str(answer)
        elif isinstance(answer, BaseException):
            raise answer
    return Reading(
        account=account,
        balances=tuple(balances),
        rights=None if isinstance(rights, BaseException) else rights,
        prices=None if isinstance(prices, BaseException) else prices,
        instruments=client.instruments,
        clock_offset_ms=client.clock_offset_ms,
        unread=unread,
        margin_of_account=client.traits.margin_of_account,
    )
