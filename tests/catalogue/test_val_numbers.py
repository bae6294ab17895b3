"""One kind of number from the parser to the wire, and what becomes of protection when code meets another (VAL-02)."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from msgspec import Struct
from msgspec.structs import asdict, force_setattr

from core.domain import equity
from core.domain.day import DayAccount, worth
from core.domain.order import apply_fill
from core.domain.position import open_or_add, reduce
from core.domain.protection import crossed, plan, stop_price
from core.domain.risk import RiskUsage, TradingState, check, needed
from core.domain.signal import Side
from core.domain.sizing import bracket_gate, size
from core.domain.wave import LegState
from core.venues.binance.orders import placement
from tests.builders import (
    BTC,
    a_fill,
    a_position,
    a_signal,
    an_instrument,
    an_intent,
    an_order,
    risk_limits,
    sizing_rule,
)
from tests.engine.bench import DEADLINE_SECONDS, a_bench
from tests.strict_numbers import messages, number_fields

WRONG: list[Any] = [1.5, "1.5"]
INSTRUMENT = an_instrument()
USAGE = RiskUsage(positions=0, exposure=Decimal(0), free=Decimal(1_000))


@pytest.mark.failure("VAL-02")
@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("message", list(messages()), ids=lambda message: message.__name__)
def test_no_message_of_the_domain_takes_a_float_or_a_text_for_a_number(message: type[Any], wrong: object) -> None:
    for name in number_fields(message):
        with pytest.raises(TypeError, match=f"{message.__name__}.{name}: "):
            message(**{**dict.fromkeys(message.__struct_fields__), name: wrong})


CALLS: dict[str, Callable[[Any], object]] = {
    "size: price": lambda wrong: size(INSTRUMENT, wrong, sizing_rule(), INSTRUMENT.lot),
    "size: quantity": lambda wrong: INSTRUMENT.round_quantity(wrong, INSTRUMENT.lot),
    "size: bracket": lambda wrong: bracket_gate(an_instrument(), wrong, Decimal(0), 1).value,
    "size: margin": lambda wrong: needed(wrong, risk_limits()),
    "size: limits": lambda wrong: check(wrong, risk_limits(), USAGE),
    "size: round down": INSTRUMENT.round_price_down,
    "size: round up": INSTRUMENT.round_price_up,
    "size: buy price": lambda wrong: INSTRUMENT.buy_price_in_band(wrong, Decimal(100)),
    "profit: unrealised": lambda wrong: a_position().unrealized(wrong),
    "profit: percent": lambda wrong: a_position().profit_percent(wrong),
    "profit: worth": lambda wrong: worth(a_position(), wrong),
    "profit: funding": lambda wrong: DayAccount(day=1).funded(wrong),
    "profit: equity": lambda wrong: equity.Equity().earned(wrong),
    "profit: transfer": lambda wrong: equity.Equity().transferred(wrong),
    "stop: reference": lambda wrong: plan(a_position(), INSTRUMENT, wrong, 0),
    "stop: refused once": lambda wrong: plan(a_position(), INSTRUMENT, wrong, 1),
    "stop: crossed": lambda wrong: crossed(Side.BUY, Decimal(98), wrong),
    "stop: level": lambda wrong: crossed(Side.SELL, wrong, Decimal(98)),
}


@pytest.mark.failure("VAL-02")
@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_float_or_a_text_that_enters_sizing_profit_or_stops_raises(
    call: Callable[[Any], object], wrong: object
) -> None:
    with pytest.raises(TypeError):
        call(wrong)


@pytest.mark.failure("VAL-02")
@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("name", ["quantity", "price", "fee"])
def test_a_trade_with_a_wrong_number_that_got_past_the_messages_still_raises(name: str, wrong: object) -> None:
    """As if some code had written it into the message afterwards."""
    entry, closing = a_fill(), a_fill(side=Side.SELL)
    for fill in (entry, closing):
        force_setattr(fill, name, wrong)
    with pytest.raises(TypeError):
        open_or_add(a_position(), entry, an_intent(), Decimal(2))
    with pytest.raises(TypeError):
        reduce(a_position(amount=3), closing)
    if name != "fee":
        with pytest.raises(TypeError):
            apply_fill(an_order(an_intent(amount=3)), entry)


@pytest.mark.failure("VAL-02")
@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("name", ["stop_loss_percent", "entry_cost", "entry_quantity"])
def test_a_stop_is_not_computed_from_a_wrong_number(name: str, wrong: object) -> None:
    position = a_position()
    force_setattr(position, name, wrong)
    with pytest.raises(TypeError):
        stop_price(position, INSTRUMENT)


@pytest.mark.failure("VAL-02")
async def test_every_number_from_the_signal_to_the_wire_is_a_decimal_and_text_on_the_wire() -> None:
    async with a_bench() as bench:
        report = await bench.wave(a_signal(stop_loss_percent=3))
        position = bench.position()
        orders = bench.state.orders_of(position.id)
        assert _numbers(report, position, *orders) == {Decimal}
        for order in orders:
            params = placement(order.intent, "BTCUSDT", hedge_mode=False).params
            assert {type(value) for value in params.values()} == {str}


def _numbers(*values: object) -> set[type]:
    """The kinds of numbers with a fraction in these messages."""
    found: set[type] = set()
    for value in values:
        if isinstance(value, Decimal):
            found.add(Decimal)
        elif isinstance(value, Struct):
            mine = asdict(value)
            mine.pop("stages", None)  # milliseconds, not money
            found |= _numbers(*mine.values())
        elif isinstance(value, tuple | frozenset):
            found |= _numbers(*value)
        elif isinstance(value, float):
            found.add(float)
    return found


class _FailsOnce:
    """Meets a type error at its first call, then is what it stands for."""

    def __init__(self, inner: Callable[[Any], None] = lambda _: None) -> None:
        self._inner, self.failed = inner, False

    def __call__(self, argument: Any) -> None:
        if not self.failed:
            self.failed = True
            raise TypeError("unsupported operand type(s) for -: 'decimal.Decimal' and 'float'")
        self._inner(argument)


@pytest.mark.failure("VAL-02")
async def test_a_type_error_in_a_critical_consumer_halts_trading_and_protection_goes_on() -> None:
    async with a_bench() as bench:
        bench.orders._must.insert(0, _FailsOnce())
        report = await bench.wave(a_signal())
        assert [leg.state for leg in report.legs] == [LegState.PROTECTED]
        standing = bench.risk.standing
        assert (standing.state, "TypeError" in standing.reason) == (TradingState.HALTED, True)
        assert bench.protection.all_covered()


@pytest.mark.failure("VAL-02")
async def test_a_type_error_in_protection_itself_halts_trading_and_the_stop_comes_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with a_bench() as bench:
        noting = _FailsOnce(bench.protection._note_size)
        monkeypatch.setattr(bench.protection, "_note_size", noting)
        await bench.enter(an_intent())
        await bench.until(lambda: bool(bench.state.positions()))
        await bench.until(bench.protection.all_covered, seconds=DEADLINE_SECONDS)
        assert noting.failed
        assert bench.risk.standing.state is TradingState.HALTED
        assert len(bench.sent_stops()) == 1


@pytest.mark.failure("VAL-02")
async def test_a_type_error_that_hides_a_fill_from_protection_is_found_by_reconciliation() -> None:
    async with a_bench() as bench:
        must = bench.orders._must
        must[must.index(bench.protection.on_events)] = deaf = _FailsOnce(bench.protection.on_events)
        await bench.enter(an_intent())
        await bench.until(lambda: bool(bench.state.positions()))
        await bench.until(bench.protection.all_covered, seconds=60)
        assert deaf.failed
        assert bench.risk.standing.state is TradingState.HALTED
        assert len(bench.sent_stops()) == 1


@pytest.mark.failure("VAL-02")
async def test_a_type_error_in_a_guardian_ends_the_daemon_loudly() -> None:
    async def story() -> None:
        async with a_bench() as bench:
            force_setattr(bench.instruments[BTC], "tick", 0.1)
            await bench.enter(an_intent())
            await bench.settle(5)

    with pytest.raises(ExceptionGroup) as ended:
        await story()
    assert ended.group_contains(TypeError)
