"""Every figure that entries are judged by, as one picture for people and tools. Money in quote coin."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from msgspec import Struct

from core.clock import Clock
from core.domain.money import plain
from core.engine.risk_guard import RiskGuard
from core.engine.state import StateView


class BalanceRow(Struct, frozen=True, kw_only=True):
    """`free` is what entries may still use as margin, before the reserve; None = too old to be used."""

    venue: str
    asset: str
    wallet: Decimal
    free: Decimal | None
    age_s: float


class RiskFigures(Struct, frozen=True, kw_only=True):
    """`limits` are the settings by name; `reached` the limits that hold entries back, each with its end; `pauses` per
    venue, and `shortages` per venue and quote coin, what entries wait for; `cooling` per instrument the last close."""

    state: str
    reason: str
    author: str
    venue_states: Mapping[str, str]
    day_result: Decimal
    day_open: Decimal
    day_closed: Decimal
    day_funding: Decimal
    day_counted_loss: Decimal
    streak: int
    equity: Decimal
    equity_peak: Decimal
    drawdown_percent: Decimal
    positions: int
    exposure: Decimal
    entries_last_minute: int
    reached: Mapping[str, str]
    pauses: Mapping[str, str]
    shortages: Mapping[str, str]
    cooling: Mapping[str, str]
    clock_error_ms: Mapping[str, int | None]
    balances: tuple[BalanceRow, ...]
    limits: Mapping[str, str]
    denials: Mapping[str, int]


def risk_figures(risk: RiskGuard, state: StateView, clock: Clock) -> RiskFigures:
    book, standing, now = risk.ledger.book, risk.standing, clock.now_ms()
    used = [position.notional for position in state.positions()]
    venues = sorted({venue for venue, _ in state.balances()})
    return RiskFigures(
        state=standing.state.value,
        reason=standing.reason,
        author=standing.author,
        venue_states={v.value: f"{s.state}: {s.reason}" for v, s in risk.states.of_venues().items()},
        day_result=book.day.result,
        day_open=book.day.open,
        day_closed=book.day.closed,
        day_funding=book.day.funding,
        day_counted_loss=book.day.counted_loss,
        streak=book.streak,
        equity=book.equity.now,
        equity_peak=book.equity.peak,
        drawdown_percent=round(book.equity.drawdown_percent, 4),
        positions=len(used),
        exposure=sum(used, Decimal(0)),
        entries_last_minute=risk.entries_last_minute(),
        reached={limit.value: episode.what for limit, episode in book.episodes.items()},
        pauses=pauses_told(risk, now),
        shortages=shortages_told(risk),
        cooling={
            str(key): f"{last.kind} {'long' if last.side.sign > 0 else 'short'}, {(now - last.at_ms) // 1000} s ago"
            for key, last in sorted(book.closes.items(), key=lambda row: row[1].at_ms)
        },
        clock_error_ms={venue.value: risk.clocks.error_ms(venue) for venue in venues},
        balances=balance_rows(risk, state),
        limits=_limits(risk),
        denials={reason.value: count for reason, count in risk.denials.most_common()},
    )


def balance_rows(risk: RiskGuard, state: StateView) -> tuple[BalanceRow, ...]:
    return tuple(
        BalanceRow(
            venue=venue.value,
            asset=asset,
            wallet=balance.wallet,
            free=risk.usage(venue, asset).free,
            age_s=round(risk.balance_age(venue, asset) or 0.0, 1),
        )
        for (venue, asset), balance in state.balances().items()
        if balance.wallet
    )


def shortages_told(risk: RiskGuard) -> dict[str, str]:
    """By venue and quote coin: what its entries wait for."""
    return {f"{v} {a}": f"until {plain(s.needed)} is free" for (v, a), s in risk.pauses.shortages.items()}


def pauses_told(risk: RiskGuard, now_ms: int) -> dict[str, str]:
    """By venue: why its entries pause, and when one is tried again."""
    told = {}
    for venue, pause in risk.pauses.all().items():
        seconds = max(0, -(-(pause.retry_at_ms - now_ms) // 1000))
        told[venue.value] = f"{pause.cause}: {pause.detail}; tried again in {seconds} s"
    return told


def _limits(risk: RiskGuard) -> dict[str, str]:
    limits, rules = risk.limits, risk.ledger.rules
    cooldowns = rules.cooldowns
    values = {
        "MAX_DAILY_LOSS": plain(rules.max_daily_loss),
        "SL_STREAK_LIMIT": rules.streak_limit,
        "MAX_DRAWDOWN_PERCENT": plain(rules.max_drawdown_percent),
        "MAX_POSITIONS": limits.max_positions,
        "MAX_POSITIONS_PER_VENUE": limits.max_positions_per_venue,
        "MAX_EXPOSURE_USD": plain(limits.max_exposure),
        "MAX_EXPOSURE_PER_SYMBOL_USD": plain(limits.max_coin_exposure),
        "MAX_ENTRIES_PER_MINUTE": limits.max_entries_per_minute,
        "MINIMUM_ACTIVE_BALANCE_USD": plain(limits.reserve),
        "VENUE_ERRORS_LIMIT": limits.errors_in_a_row,
        "MAX_CLOCK_ERROR_MS": limits.max_clock_error_ms,
        "COOLDOWN_AFTER_LOSS_SECONDS": cooldowns.after_loss,
        "COOLDOWN_AFTER_WIN_SECONDS": cooldowns.after_win,
        "COOLDOWN_SAME_SIDE_SECONDS": cooldowns.same_side,
        "COOLDOWN_OPPOSITE_SIDE_SECONDS": cooldowns.opposite_side,
        "COOLDOWN_AFTER_EXTERNAL_SECONDS": cooldowns.after_external,
    }
    return {name: str(value) for name, value in values.items()}
