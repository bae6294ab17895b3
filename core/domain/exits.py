"""When a position is let go, and where its stop belongs meanwhile: the exit rules, in one stated order.

1. critical loss, 2. a stop that is passed and does not act, 3. the time limit: these protect, and nothing holds them
back but a price too old to believe (the time limit asks for none; INV-12, TRL-08, TRL-10).
4. trailing, 5. take profit in steps, 6. breakeven, 7. profit given back, 8. age, 9. funding, 10. what the strategy
says: these wait for a price fresh enough, for the minimum holding time, and while trading is halted (trailing and
breakeven, which only move the stop, wait for no holding time).

Everything here is a value in and a value out. Profit is percent of the entry price, without leverage (POS-11).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from core.domain.aging import AgedRules
from core.domain.ids import PositionId
from core.domain.instrument import Instrument
from core.domain.money import HUNDRED, ZERO, Price, Quantity
from core.domain.position import Position
from core.domain.prices import PriceSource
from core.domain.profit_steps import ProfitStep
from core.domain.signal import Side
from core.domain.trailing import TrailingRules, away, better, fallen, reached, trailing_level


class ExitReason(StrEnum):
    """Why a position was closed or its stop moved; told to people and kept with the order."""

    CRITICAL_LOSS = "critical_loss"
    STOP_PASSED = "stop_passed"
    TIME_LIMIT = "time_limit"
    TRAILING = "trailing"
    TAKE_PROFIT = "take_profit"
    BREAKEVEN = "breakeven"
    GIVEBACK = "giveback"
    AGED = "aged"
    FUNDING = "funding"
    STRATEGY = "strategy"


URGENT = frozenset({ExitReason.CRITICAL_LOSS, ExitReason.STOP_PASSED, ExitReason.TIME_LIMIT})
"""These close whatever the trading state is and however short the position was held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitRules:
    """What applies to one position: the configuration, and what its signal asked for in its place. Percent of the entry
    price, times in ms; 0 or None switches a rule off.

    `critical_percent` counts from the level of the stop onwards. `giveback_percent` is the share of the best profit
    that is lost again. `fee_percent` of one trade; breakeven pays two. `confirm_ms`: how long take profit and giveback
    must hold.
    """

    critical_percent: Decimal = ZERO
    critical_confirm_ms: int = 0
    stop_passed_ms: int = 3_000
    time_limit_ms: int
    trailing: TrailingRules | None = None
    steps: tuple[ProfitStep, ...] = ()
    breakeven_percent: Decimal = ZERO
    fee_percent: Decimal = ZERO
    giveback_from_percent: Decimal = ZERO
    giveback_percent: Decimal = ZERO
    aged: AgedRules | None = None
    funding_window_ms: int = 0
    funding_percent: Decimal = ZERO
    confirm_ms: int = 0
    least_holding_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitState:
    """What a position's exits remember; bound to this very position (TRL-03) and kept over a restart (TRL-02).

    `peak` is the best price seen, None before the first. `trailing` once latched stays on (TRL-06). `level` is where
    the rules want the stop, None = where it was placed first; it only ever gets tighter.
    """

    position_id: PositionId
    side: Side
    entry_price: Price
    entry_quantity: Quantity
    peak: Price | None = None
    trailing: bool = False
    level: Price | None = None

    def belongs_to(self, position: Position) -> bool:
        mine = (self.position_id, self.side, self.entry_price, self.entry_quantity)
        return mine == (position.id, position.side, position.entry_price, position.entry_quantity)


def fresh_state(position: Position) -> ExitState:
    return ExitState(
        position_id=position.id,
        side=position.side,
        entry_price=position.entry_price,
        entry_quantity=position.entry_quantity,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Funding:
    """`rate_percent` what a long pays at `due_ms` (venue UTC); negative = it receives."""

    rate_percent: Decimal
    due_ms: int


class Seen(NamedTuple):
    """What one decision looks at. `price` None = there is none that even a critical exit may use. `normal`: it is fresh
    enough for a normal exit too. `now_ms` and all times by the venue's clock.

    `resting` is the level of the confirmed stop, `passed` whether the price that fires it stands beyond it.
    `steps_done` how many take-profit steps were ordered, `advice` what the strategy says.
    """

    now_ms: int
    price: Price | None
    source: PriceSource | None
    age_ms: int
    normal: bool
    resting: Price | None
    passed: bool
    steps_done: int = 0
    funding: Funding | None = None
    advice: str = ""
    discretionary: bool = True
    """False while trading is halted: only what protects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """`step` counts from 0 where a take-profit step is what closes; without one all of the position goes."""

    reason: ExitReason
    detail: str
    step: int | None = None


class Band(NamedTuple):
    """While the price stays strictly between, and nothing but the price changes, no rule has anything new to say.
    None = open on that side."""

    low: Price | None
    high: Price | None

    def calm(self, price: Decimal) -> bool:
        return (self.low is None or price > self.low) and (self.high is None or price < self.high)


EVERY_PRICE = Band(Price(ZERO), Price(ZERO))
"""No price is calm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmations:
    """Since when each rule that must hold for a while has held, ms."""

    since: tuple[tuple[ExitReason, int], ...] = ()

    def of(self, reason: ExitReason) -> int | None:
        return next((since for known, since in self.since if known is reason), None)

    def holding(self, reason: ExitReason, now_ms: int) -> Confirmations:
        return self if self.of(reason) is not None else Confirmations(since=(*self.since, (reason, now_ms)))

    def without(self, reason: ExitReason) -> Confirmations:
        if self.of(reason) is None:
            return self
        return Confirmations(since=tuple(entry for entry in self.since if entry[0] is not reason))


NONE_CONFIRMED = Confirmations()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`close` None = hold. `state` is the one that went in where nothing was learnt. `moved_by` says which rule wants
    the stop at `state.level`. `waiting`: a rule has something to do and the price is too old for it."""

    state: ExitState
    confirmations: Confirmations
    band: Band
    close: Close | None = None
    moved_by: ExitReason | None = None
    waiting: bool = False


def rules_for(position: Position, defaults: ExitRules) -> ExitRules:
    """The rules of one position: what its signal asked for goes before the configuration (SIG-11)."""
    rules = defaults
    trailing = defaults.trailing
    if trailing is not None:
        activation, callback = position.trailing_activation_percent, position.trailing_callback_percent
        if activation is not None or callback is not None:
            trailing = replace(
                trailing,
                activation_percent=trailing.activation_percent if activation is None else activation,
                callback_percent=trailing.callback_percent if callback is None else callback,
            )
            rules = replace(rules, trailing=trailing)
    if position.take_profit_percent is not None:
        rules = replace(rules, steps=(ProfitStep(percent=position.take_profit_percent, share=HUNDRED),))
    if position.time_limit_minutes is not None:
        limit = min(int(position.time_limit_minutes * 60_000), defaults.time_limit_ms)
        rules = replace(rules, time_limit_ms=limit)
    return rules


def breakeven(position: Position, fee_percent: Decimal, instrument: Instrument) -> Price:
    """Where closing pays both fees, rounded so that it costs nothing (TRL-17)."""
    fee = fee_percent / HUNDRED
    if position.side is Side.BUY:
        return instrument.round_price_up(position.entry_price * (1 + fee) / (1 - fee))
    return instrument.round_price_down(position.entry_price * (1 - fee) / (1 + fee))


@dataclass(slots=True)
class _Judging:
    """One run through the rules."""

    position: Position
    rules: ExitRules
    seen: Seen
    instrument: Instrument
    state: ExitState
    confirmations: Confirmations
    moved_by: ExitReason | None = None
    lows: list[Price] = field(default_factory=list)
    highs: list[Price] = field(default_factory=list)

    @property
    def side(self) -> Side:
        return self.position.side

    def worse(self, level: Decimal) -> None:
        """A price in the direction of loss at which some rule may speak."""
        (self.lows if self.side is Side.BUY else self.highs).append(Price(level))

    def ahead(self, level: Decimal) -> None:
        (self.highs if self.side is Side.BUY else self.lows).append(Price(level))

    def held(self, reason: ExitReason, for_ms: int, *, now: bool) -> bool:
        """Whether what is so `now` has been so for `for_ms`."""
        if not now:
            self.confirmations = self.confirmations.without(reason)
            return False
        self.confirmations = self.confirmations.holding(reason, self.seen.now_ms)
        return self.seen.now_ms - (self.confirmations.of(reason) or 0) >= for_ms

    def lags(self, level: Price) -> bool:
        """Whether the resting stop stands further away than `level`: then a price there is ours to act on at once. One
        that stands there acts by itself, and a close beside it would be a second order."""
        self.worse(level)
        return self.seen.resting is None or better(self.side, level, self.seen.resting)

    def want(self, level: Price, reason: ExitReason) -> None:
        """The stop belongs there, if that is tighter than where it stands or is wanted."""
        known = self.state.level
        if (known is None or better(self.side, level, known)) and (
            self.seen.resting is None or better(self.side, level, self.seen.resting)
        ):
            self.state = replace(self.state, level=level)
            self.moved_by = reason


def judge(
    position: Position,
    state: ExitState,
    confirmations: Confirmations,
    rules: ExitRules,
    seen: Seen,
    instrument: Instrument,
) -> Verdict:
    """What is to be done with this position now. Raises nothing; `state` must belong to the position."""
    run = _Judging(position, rules, seen, instrument, state, confirmations)
    age_ms = seen.now_ms - position.opened_ms
    close = _urgent(run, age_ms)
    waiting = False
    if close is None and seen.price is not None and seen.discretionary:
        if seen.normal:
            close = _normal(run, seen.price, age_ms)
        else:
            waiting = True
    if close is None and seen.advice and seen.discretionary and age_ms >= rules.least_holding_ms:
        if seen.normal:
            close = Close(reason=ExitReason.STRATEGY, detail=seen.advice)
        else:
            waiting = True
    restless = close is not None or waiting or run.confirmations.since or not seen.normal
    return Verdict(
        state=run.state,
        confirmations=run.confirmations,
        band=EVERY_PRICE if restless else _band(run, seen.price),
        close=close,
        moved_by=run.moved_by,
        waiting=waiting,
    )


def _urgent(run: _Judging, age_ms: int) -> Close | None:
    rules, seen, position = run.rules, run.seen, run.position
    if seen.price is not None:
        stop = seen.resting
        if rules.critical_percent and stop is not None:
            level = away(run.side, stop, -rules.critical_percent * position.entry_price / stop)
            run.worse(level)
            beyond = fallen(run.side, seen.price, level)
            if run.held(ExitReason.CRITICAL_LOSS, rules.critical_confirm_ms, now=beyond):
                gone = -position.profit_percent(seen.price)
                return Close(reason=ExitReason.CRITICAL_LOSS, detail=f"{gone:.2f} % lost, its stop has not acted")
        if stop is not None:
            run.worse(stop)
        if run.held(ExitReason.STOP_PASSED, rules.stop_passed_ms, now=seen.passed):
            return Close(reason=ExitReason.STOP_PASSED, detail="the price stands beyond the stop, which does not act")
    if age_ms >= rules.time_limit_ms:
        return Close(reason=ExitReason.TIME_LIMIT, detail=f"held {age_ms / 3_600_000:.1f} h")
    return None


def _normal(run: _Judging, price: Price, age_ms: int) -> Close | None:
    holding = age_ms < run.rules.least_holding_ms
    _see(run, price)
    return (
        _trail(run, price)
        or (None if holding else _take_profit(run, price))
        or _break_even(run, price)
        or (None if holding else _give_back(run, price))
        or (None if holding else _age(run, price, age_ms))
        or (None if holding else _fund(run))
    )


def _see(run: _Judging, price: Price) -> None:
    peak = run.state.peak
    if peak is None or better(run.side, price, peak):
        run.state = replace(run.state, peak=price)


def _trail(run: _Judging, price: Price) -> Close | None:
    rules, state = run.rules.trailing, run.state
    if rules is None:
        return None
    start = away(run.side, run.position.entry_price, rules.activation_percent)
    if not state.trailing:
        if not reached(run.side, price, start):
            run.ahead(start)
            return None
        run.state = state = replace(state, trailing=True)
    peak = price if state.peak is None else state.peak
    level = trailing_level(run.side, peak, rules, run.instrument)
    run.want(level, ExitReason.TRAILING)
    run.ahead(peak)
    if run.lags(level) and fallen(run.side, price, level):
        return Close(reason=ExitReason.TRAILING, detail=f"back from {peak} to {price}")
    return None


def _take_profit(run: _Judging, price: Price) -> Close | None:
    done = run.seen.steps_done
    if done >= len(run.rules.steps):
        return None
    step = run.rules.steps[done]
    level = away(run.side, run.position.entry_price, step.percent)
    run.ahead(level)
    if run.held(ExitReason.TAKE_PROFIT, run.rules.confirm_ms, now=reached(run.side, price, level)):
        return Close(reason=ExitReason.TAKE_PROFIT, detail=f"{step.percent} % profit reached", step=done)
    return None


def _break_even(run: _Judging, price: Price) -> Close | None:
    rules, position = run.rules, run.position
    if not rules.breakeven_percent:
        return None
    start = away(run.side, position.entry_price, rules.breakeven_percent)
    level = breakeven(position, rules.fee_percent, run.instrument)
    armed = run.state.level is not None and not better(run.side, level, run.state.level)
    if not armed and not reached(run.side, price, start):
        run.ahead(start)
    elif not armed:
        run.want(level, ExitReason.BREAKEVEN)
        armed = run.state.level is not None
    if armed and run.lags(level) and fallen(run.side, price, level):
        return Close(reason=ExitReason.BREAKEVEN, detail=f"back at {level}, where the costs are paid")
    return None


def _give_back(run: _Judging, price: Price) -> Close | None:
    rules, position, peak = run.rules, run.position, run.state.peak
    if not rules.giveback_from_percent or peak is None:
        return None
    best = position.profit_percent(peak)
    if best < rules.giveback_from_percent:
        run.ahead(away(run.side, position.entry_price, rules.giveback_from_percent))
        return None
    kept = best * (HUNDRED - rules.giveback_percent) / HUNDRED
    level = away(run.side, position.entry_price, kept)
    run.ahead(peak)
    run.worse(level)
    if run.held(ExitReason.GIVEBACK, rules.confirm_ms, now=fallen(run.side, price, level)):
        return Close(reason=ExitReason.GIVEBACK, detail=f"{best:.2f} % profit was there, {kept:.2f} % is left")
    return None


def _age(run: _Judging, price: Price, age_ms: int) -> Close | None:
    aged, position = run.rules.aged, run.position
    accepted = None if aged is None else aged.accepted_loss(age_ms)
    if accepted is None:
        return None
    even = breakeven(position, run.rules.fee_percent, run.instrument)
    level = even if not accepted else away(run.side, even, -accepted)
    run.ahead(level)
    if reached(run.side, price, level):
        return Close(reason=ExitReason.AGED, detail=f"{age_ms / 3_600_000:.1f} h old, {accepted:.2f} % loss accepted")
    return None


def _fund(run: _Judging) -> Close | None:
    rules, funding = run.rules, run.seen.funding
    if not rules.funding_window_ms or funding is None:
        return None
    pays = funding.rate_percent * run.side.sign
    left = funding.due_ms - run.seen.now_ms
    if pays >= rules.funding_percent and ZERO <= left <= rules.funding_window_ms:
        return Close(reason=ExitReason.FUNDING, detail=f"{pays} % funding due in {left // 1000} s")
    return None


def _band(run: _Judging, price: Price | None) -> Band:
    """The nearest levels around this price."""
    if price is None:
        return EVERY_PRICE
    low = max((level for level in run.lows if level <= price), default=None)
    high = min((level for level in run.highs if level >= price), default=None)
    return Band(low, high)
