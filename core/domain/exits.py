"""When a position is let go, and where its stop belongs meanwhile: the exit rules, in one stated order.

1. critical loss, 2. a stop that is passed and does not act, 3. the time limit: these protect, and nothing holds them
back but a price too old to believe (the time limit asks for none; INV-12, TRL-08, TRL-10).
4. trailing, 5. take profit in steps, 6. breakeven, 7. profit given back, 8. age, 9. funding, 10. what the strategy
says: these wait for a price fresh enough, for the minimum holding time, and while trading is halted (trailing and
breakeven, which only move the stop, wait for no holding time).

Everything here is a value in and a value out. Profit is percent of the entry price, without leverage (POS-11).
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct, field
from msgspec.structs import replace

from core.domain.aging import HOUR_MS, AgedRules
from core.domain.ids import PositionId
from core.domain.instrument import Instrument
from core.domain.money import HUNDRED, ZERO, Price, Quantity
from core.domain.position import Position
from core.domain.prices import PriceSource
from core.domain.profit_steps import ProfitStep
from core.domain.signal import Side
from core.domain.trailing import TrailingRules, away, better, fallen, reached, tighter, trailing_level


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
CONFIRMED = (ExitReason.TAKE_PROFIT, ExitReason.GIVEBACK)
"""These are no protection and must hold for `ExitRules.confirm_ms`."""


class ExitRules(Struct, frozen=True, kw_only=True):
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


class ExitState(Struct, frozen=True, kw_only=True):
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


class Funding(Struct, frozen=True, kw_only=True):
    """`rate_percent` what a long pays at `due_ms` (venue UTC); negative = it receives."""

    rate_percent: Decimal
    due_ms: int


class Seen(Struct, frozen=True):
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


class Close(Struct, frozen=True, kw_only=True):
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


class Confirmations(Struct, frozen=True, kw_only=True):
    """Since when each rule that must hold for a while has held, as far as was seen, ms. What is said of taking profit
    is about this `step`: the next one has to hold by itself."""

    since: tuple[tuple[ExitReason, int], ...] = ()
    step: int = 0

    def of(self, reason: ExitReason) -> int | None:
        return next((since for known, since in self.since if known is reason), None)

    def holding(self, reason: ExitReason, now_ms: int) -> Confirmations:
        """One that is said to hold since later than now was seen before the clock was set back: it holds from now."""
        since = self.of(reason)
        if since is not None and since <= now_ms:
            return self
        return replace(self, since=(*self.without(reason).since, (reason, now_ms)))

    def without(self, *reasons: ExitReason) -> Confirmations:
        if not self.since or not any(known in reasons for known, _ in self.since):
            return self
        return replace(self, since=tuple(entry for entry in self.since if entry[0] not in reasons))

    def about(self, step: int) -> Confirmations:
        return self if step == self.step else replace(self.without(ExitReason.TAKE_PROFIT), step=step)


NONE_CONFIRMED = Confirmations()


class Verdict(Struct, frozen=True, kw_only=True):
    """`close` None = hold. `state` is the one that went in where nothing was learnt. `moved_by` says which rule wants
    the stop at `state.level`. `waiting`: what is no protection waits for a fresher price. Within `acting` no rule
    closes or arms anything: a best price beyond `band` is only remembered there, and moves what follows it."""

    state: ExitState
    confirmations: Confirmations
    band: Band
    acting: Band
    close: Close | None = None
    moved_by: ExitReason | None = None
    waiting: bool = False


def rules_for(position: Position, defaults: ExitRules) -> ExitRules:
    """The rules of one position: what its signal asked for goes before the configuration (SIG-11), but for the time
    limit, which it can only bring forward (TRL-08). What is not above 0 is as if it had not been asked for (TRL-02)."""
    rules = defaults
    if rules.trailing is not None:
        trailing = replace(
            rules.trailing,
            activation_percent=_asked(position.trailing_activation_percent) or rules.trailing.activation_percent,
            callback_percent=_asked(position.trailing_callback_percent) or rules.trailing.callback_percent,
        )
        rules = replace(rules, trailing=trailing)
    if take := _asked(position.take_profit_percent):
        rules = replace(rules, steps=(ProfitStep(percent=take, share=HUNDRED),))
    if minutes := _asked(position.time_limit_minutes):
        rules = replace(rules, time_limit_ms=int(min(minutes * 60_000, Decimal(defaults.time_limit_ms))))
    return rules


def _asked(value: Decimal | None) -> Decimal | None:
    return value if value is not None and value > ZERO else None


def breakeven(position: Position, fee_percent: Decimal, instrument: Instrument) -> Price:
    """Where closing pays both fees, rounded so that it costs nothing (TRL-17)."""
    return price_netting(ZERO, position, fee_percent, instrument)


def price_netting(percent: Decimal, position: Position, fee_percent: Decimal, instrument: Instrument) -> Price:
    """Where closing leaves this much of what was entered with, percent, after the fees of both trades; rounded so that
    it is no less. Long and short lose and win alike there (TRL-14). Not above 0 where no price does it."""
    if position.side is Side.BUY:
        return instrument.round_price_up(
            position.entry_price * (HUNDRED + fee_percent + percent) / (HUNDRED - fee_percent)
        )
    return instrument.round_price_down(
        position.entry_price * (HUNDRED - fee_percent - percent) / (HUNDRED + fee_percent)
    )


class _Judging(Struct):
    """One run through the rules."""

    position: Position
    rules: ExitRules
    seen: Seen
    instrument: Instrument
    state: ExitState
    confirmations: Confirmations
    side: Side
    entry: Price
    age_ms: int
    moved_by: ExitReason | None = None
    lows: list[Price] = field(default_factory=list)
    highs: list[Price] = field(default_factory=list)
    best: Price | None = None

    @property
    def holding(self) -> bool:
        return self.age_ms < self.rules.least_holding_ms

    def worse(self, level: Decimal) -> None:
        """A price in the direction of loss at which some rule may speak."""
        (self.lows if self.side is Side.BUY else self.highs).append(Price(level))

    def ahead(self, level: Decimal) -> None:
        (self.highs if self.side is Side.BUY else self.lows).append(Price(level))

    def beyond(self, peak: Price) -> None:
        """Only a price better than the best one tells anything new; one that comes back to it does not."""
        self.best = Price(peak.next_plus() if self.side is Side.BUY else peak.next_minus())

    def held(self, reason: ExitReason, for_ms: int, *, now: bool) -> bool:
        """Whether what is so `now` has been so for `for_ms`."""
        if not now:
            self.confirmations = self.confirmations.without(reason)
            return False
        self.confirmations = self.confirmations.holding(reason, self.seen.now_ms)
        return self.seen.now_ms - (self.confirmations.of(reason) or 0) >= for_ms

    def lags(self, level: Price) -> bool:
        """Whether the resting stop stands further away than `level`: then a price there is ours to act on at once. One
        that stands there, or that the price has come to as well, acts by itself, and a close beside it would be a
        second order."""
        self.worse(level)
        if self.seen.passed:
            return False
        return self.seen.resting is None or better(self.side, level, self.seen.resting)

    def want(self, level: Price, reason: ExitReason) -> None:
        """The stop belongs there, if that is tighter than where it stands or is wanted, and can stand at all."""
        known, resting, side = self.state.level, self.seen.resting, self.side
        tighter = (known is None or better(side, level, known)) and (resting is None or better(side, level, resting))
        if tighter and level > ZERO:
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
    if seen.price is not None and seen.price <= ZERO:  # nothing costs that
        seen = replace(seen, price=None)
    age_ms = seen.now_ms - position.opened_ms
    run = _Judging(position, rules, seen, instrument, state, confirmations, position.side, position.entry_price, age_ms)
    close = _urgent(run)
    fresh = seen.normal and seen.price is not None
    waiting = close is None and seen.discretionary and not fresh
    if not seen.discretionary:
        run.confirmations = run.confirmations.without(*CONFIRMED)
    elif close is None and seen.normal and seen.price is not None:
        close = _normal(run, seen.price)
    restless = close is not None or not fresh or run.confirmations.since
    band = acting = EVERY_PRICE if restless else _band(run, seen.price)
    if run.best is not None and not restless:
        run.ahead(run.best)
        band = _band(run, seen.price)
    return Verdict(
        state=run.state,
        confirmations=run.confirmations,
        band=band,
        acting=acting,
        close=close,
        moved_by=run.moved_by,
        waiting=waiting,
    )


def _urgent(run: _Judging) -> Close | None:
    rules, seen, age_ms = run.rules, run.seen, run.age_ms
    if seen.price is not None:
        stop = seen.resting
        if rules.critical_percent and stop is not None:
            level = stop - run.side.sign * run.entry * rules.critical_percent / HUNDRED
            run.worse(level)
            beyond = fallen(run.side, seen.price, level)
            if run.held(ExitReason.CRITICAL_LOSS, rules.critical_confirm_ms, now=beyond):
                profit = run.position.profit_percent(seen.price)
                return Close(reason=ExitReason.CRITICAL_LOSS, detail=f"at {profit:.2f} %, its stop has not acted")
        if stop is not None:
            run.worse(stop)
        if run.held(ExitReason.STOP_PASSED, rules.stop_passed_ms, now=seen.passed):
            return Close(reason=ExitReason.STOP_PASSED, detail="the price stands beyond the stop, which does not act")
    if age_ms >= rules.time_limit_ms:
        return Close(reason=ExitReason.TIME_LIMIT, detail=f"held {age_ms / HOUR_MS:.1f} h")
    return None


def _normal(run: _Judging, price: Price) -> Close | None:
    _see(run, price)
    return (
        _trail(run, price)
        or _take_profit(run, price)
        or _break_even(run, price)
        or _give_back(run, price)
        or (None if run.holding else _age(run, price) or _fund(run) or _advised(run))
    )


def _see(run: _Judging, price: Price) -> None:
    peak = run.state.peak
    if peak is None or better(run.side, price, peak):
        run.state = replace(run.state, peak=price)


def _trail(run: _Judging, price: Price) -> Close | None:
    rules, state = run.rules.trailing, run.state
    if rules is None:
        return None
    start = away(run.side, run.entry, rules.activation_percent)
    if not state.trailing:
        if not reached(run.side, price, start):
            run.ahead(start)
            return None
        run.state = state = replace(state, trailing=True)
    peak = price if state.peak is None else state.peak
    level = trailing_level(run.side, peak, rules, run.instrument)
    run.want(level, ExitReason.TRAILING)
    run.beyond(peak)
    if run.lags(level) and fallen(run.side, price, level):
        return Close(reason=ExitReason.TRAILING, detail=f"back from {peak} to {price}")
    return None


def _take_profit(run: _Judging, price: Price) -> Close | None:
    done = run.seen.steps_done
    if done >= len(run.rules.steps):
        return None
    step = run.rules.steps[done]
    level = away(run.side, run.entry, step.percent)
    run.ahead(level)
    if run.holding:
        return None
    run.confirmations = run.confirmations.about(done)
    if run.held(ExitReason.TAKE_PROFIT, run.rules.confirm_ms, now=reached(run.side, price, level)):
        return Close(reason=ExitReason.TAKE_PROFIT, detail=f"{step.percent} % profit reached", step=done)
    return None


def _break_even(run: _Judging, price: Price) -> Close | None:
    rules = run.rules
    if not rules.breakeven_percent:
        return None
    level = breakeven(run.position, rules.fee_percent, run.instrument)
    beyond = Price(level + run.side.sign * run.instrument.tick)  # a stop stands behind the price, never at it
    start = tighter(run.side, Price(away(run.side, run.entry, rules.breakeven_percent)), beyond)
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
    rules, peak = run.rules, run.state.peak
    if not rules.giveback_from_percent or peak is None:
        return None
    start = away(run.side, run.entry, rules.giveback_from_percent)
    if not reached(run.side, peak, start):
        run.ahead(start)
        return None
    level = run.entry + (peak - run.entry) * (HUNDRED - rules.giveback_percent) / HUNDRED
    run.beyond(peak)
    run.worse(level)
    if run.holding:
        return None
    if run.held(ExitReason.GIVEBACK, rules.confirm_ms, now=fallen(run.side, price, level)):
        best, left = run.position.profit_percent(peak), run.position.profit_percent(price)
        return Close(reason=ExitReason.GIVEBACK, detail=f"{best:.2f} % profit was there, {left:.2f} % is left")
    return None


def _age(run: _Judging, price: Price) -> Close | None:
    aged, age_ms = run.rules.aged, run.age_ms
    accepted = None if aged is None else aged.accepted_loss(age_ms)
    if accepted is None:
        return None
    level = price_netting(-accepted, run.position, run.rules.fee_percent, run.instrument)
    run.ahead(level)
    if reached(run.side, price, level):
        return Close(reason=ExitReason.AGED, detail=f"{age_ms / HOUR_MS:.1f} h old, {accepted:.2f} % loss accepted")
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


def _advised(run: _Judging) -> Close | None:
    return Close(reason=ExitReason.STRATEGY, detail=run.seen.advice) if run.seen.advice else None


def _band(run: _Judging, price: Price | None) -> Band:
    """The nearest levels around this price."""
    if price is None:
        return EVERY_PRICE
    low = max([level for level in run.lows if level <= price], default=None)
    high = min([level for level in run.highs if level >= price], default=None)
    return Band(low, high)
