"""Before trading: is each venue usable? ok, warn (said, traded), late (tried again) or off (with what to change)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from core.domain.ids import Asset, VenueName
from core.domain.money import plain
from core.domain.reports import BalanceReport
from core.engine.ports import AccountSettings, VenueClient
from core.errors import Ambiguous, RateLimited, StartRefused, Unreachable, VenueError


class Grade(StrEnum):
    OK = "ok"
    WARN = "warn"
    LATE = "late"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One finding about one venue; `what` is a sentence with the remedy in it where there is one."""

    venue: VenueName
    grade: Grade
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """All findings about one venue; `account` None when the venue is off before its settings could be read. `not_now`:
    the venue itself said so (maintenance, a limit), so that waiting for it is the thing to do."""

    venue: VenueName
    checks: tuple[Check, ...]
    account: AccountSettings | None
    not_now: bool = False

    @property
    def grade(self) -> Grade:
        grades = {check.grade for check in self.checks}
        return next((grade for grade in (Grade.OFF, Grade.LATE, Grade.WARN) if grade in grades), Grade.OK)


async def examine(client: VenueClient, quotes: Sequence[Asset], least_balance: Decimal) -> Preflight:
    """Open the client and look at the account. Never raises for what a venue says: that is a finding."""
    venue = client.name
    try:
        await client.open()
        account = await client.account_settings()
        balances = await client.balances()
    except (Unreachable, RateLimited, Ambiguous) as error:
        late = Check(venue=venue, grade=Grade.LATE, what=str(error))
        not_now = isinstance(error, RateLimited) or (isinstance(error, Unreachable) and error.status != 0)
        return Preflight(venue=venue, checks=(late,), account=None, not_now=not_now)
    except (VenueError, StartRefused) as error:
        off = Check(venue=venue, grade=Grade.OFF, what=str(error))
        return Preflight(venue=venue, checks=(off,), account=None)
    checks = [*_account(venue, account), *_balances(venue, balances, quotes, least_balance)]
    if not client.instruments:
        checks.append(Check(venue=venue, grade=Grade.OFF, what="it lists no linear perpetual"))
    return Preflight(venue=venue, checks=tuple(checks), account=account)


def _account(venue: VenueName, account: AccountSettings) -> list[Check]:
    checks = [
        Check(
            venue=venue,
            grade=Grade.OK,
            what=f"position mode {'hedge' if account.hedge_mode else 'one-way'}, {len(account.leverage)} symbols",
        )
    ]
    if not account.can_trade:
        checks.append(
            Check(venue=venue, grade=Grade.OFF, what="the API key may not trade; enable futures trading for it")
        )
    if account.multi_assets:
        what = "multi-assets mode is on; switch the account to single-asset mode"
        checks.append(Check(venue=venue, grade=Grade.OFF, what=what))
    return checks


def _balances(
    venue: VenueName, balances: Sequence[BalanceReport], quotes: Sequence[Asset], least: Decimal
) -> list[Check]:
    checks = []
    for quote in quotes:
        wallet = next((b.wallet for b in balances if b.asset == quote), Decimal(0))
        grade = Grade.OK if wallet >= least else Grade.WARN
        suffix = (
            "" if grade is Grade.OK else f", below MINIMUM_ACTIVE_BALANCE_USD={plain(least)}: entries will be denied"
        )
        checks.append(Check(venue=venue, grade=grade, what=f"balance {plain(wallet)} {quote}{suffix}"))
    return checks
