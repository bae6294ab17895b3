"""The account made flat from its keys alone, at venues that lose answers, refuse, limit and fill in parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from core.domain.ids import InstrumentId, Leg, Symbol
from core.domain.order import OrderType
from core.domain.signal import Side
from core.engine.ports import Accepted, Departure, VenueClient
from core.venues import connect_venue
from core.wiring.accounts import accesses
from tests.builders import an_intent, price
from tests.fakes.sim_transport import Line
from tests.scenarios.worlds import SimulatedWorld
from tools.flattening import SECONDS, Flattened, flatten
from tools.venuesim.exchange.model import PositionMode

pytestmark = pytest.mark.may_block("simulation runs in process")

VENUES = ("binance", "bybit", "okx")
BTC, ETH, SOL = (Symbol(f"{coin}/USDT:USDT") for coin in ("BTC", "ETH", "SOL"))
SIZES: Mapping[Symbol, Decimal] = {BTC: Decimal("0.01"), ETH: Decimal("0.5"), SOL: Decimal(5)}


async def _nobody(reports: Sequence[object]) -> None:
    del reports


async def _nothing() -> None: ...


@asynccontextmanager
async def clients(world: SimulatedWorld) -> AsyncIterator[dict[str, VenueClient]]:
    """One of each venue, as a program with the keys has them; not opened."""
    made: dict[str, VenueClient] = {}
    async with AsyncExitStack() as stack:
        for access in accesses(world.settings()):
            connection = connect_venue(
                replace(access, only_closes=True),
                clock=world.clock,
                transport=Line(world.venues[access.name.value]).transport(),
                sink=_nobody,
                on_connected=_nothing,
            )
            stack.push_async_callback(connection.client.close)
            made[access.name.value] = connection.client
        yield made


@pytest.fixture(params=[PositionMode.ONE_WAY, PositionMode.HEDGE], ids=["one-way", "hedge"])
async def world(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[SimulatedWorld]:
    async with SimulatedWorld(tmp_path, VENUES, position_mode=request.param, latency_ms=50) as made:
        yield made


async def _open(client: VenueClient, symbol: Symbol, side: Side, *, key: str = "s", **named: Any) -> None:
    """A position under its stop."""
    instrument = InstrumentId(client.name, symbol)
    size = SIZES[symbol]
    entry = an_intent(key, instrument=instrument, side=side, amount=size, **named)
    assert isinstance(await client.submit(Departure(intent=entry)), Accepted)
    await asyncio.sleep(0.2)
    (position,) = [p for p in await client.positions() if p.instrument == instrument and p.quantity * side.sign > 0]
    assert position.mark_price is not None
    tick = client.instruments[symbol].tick
    level = (position.mark_price * (Decimal("0.9") if side is Side.BUY else Decimal("1.1")) // tick) * tick
    stop = an_intent(key, leg=Leg.STOP, instrument=instrument, side=side.opposite, amount=size, trigger=level)
    assert isinstance(await client.submit(Departure(intent=stop)), Accepted)


async def _rest(client: VenueClient, symbol: Symbol, *, name: str) -> None:
    """An entry far from the market, sent by somebody else."""
    instrument = InstrumentId(client.name, symbol)
    position = next(p for p in await client.positions() if p.instrument == instrument and p.quantity > 0)
    assert position.mark_price is not None
    known = client.instruments[symbol]
    far = known.round_price_down(position.mark_price * Decimal("0.97"))
    intent = replace(
        an_intent(client_id=name, instrument=instrument, amount=SIZES[symbol], type=OrderType.POST_ONLY),
        price=price(far),
    )
    assert isinstance(await client.submit(Departure(intent=intent)), Accepted)


async def _flatten(world: SimulatedWorld, **how: Any) -> dict[str, Flattened]:
    async with clients(world) as made:
        began = world.clock.monotonic()
        done = await asyncio.gather(
            *(flatten(client, world.clock, began=began, **{"seconds": SECONDS, **how}) for client in made.values())
        )
    return dict(zip(made, done, strict=True))


async def _everything_open(world: SimulatedWorld) -> None:
    async with clients(world) as made:
        for client in made.values():
            await client.open()
            await _open(client, BTC, Side.BUY, key="a")
            await _open(client, ETH, Side.SELL, key="b")
            await _rest(client, BTC, name="web1")


async def _is_flat(world: SimulatedWorld, venue: str) -> bool:
    state = await world.ask("state", venue)
    return not state["positions"] and not state["orders"]


async def test_every_position_is_closed_and_every_order_removed_at_all_venues_at_once(world: SimulatedWorld) -> None:
    await _everything_open(world)
    began = world.clock.monotonic()
    done = await _flatten(world)
    for venue in VENUES:
        assert await _is_flat(world, venue)
        assert done[venue].done, done[venue]
        assert {str(key) for key in done[venue].closings} == {f"{BTC} long", f"{ETH} short"}
        assert not [row for row in await world.ask("protection", venue) if row["max_unprotected_ms"] > 500]
    assert world.clock.monotonic() - began < 2, "a few round trips of 50 ms"


async def test_stops_are_the_last_thing_to_go(world: SimulatedWorld) -> None:
    await _everything_open(world)
    before = {venue: len(await world.sent("order", "stop", "cancel", venue=venue)) for venue in VENUES}
    await _flatten(world)
    for venue in ("binance", "okx"):  # at Bybit a stop goes with its position
        rows = (await world.sent("order", "stop", "cancel", venue=venue))[before[venue] :]
        kinds = [row["lane"] for row in rows]
        entry_cancels = kinds.index("order")
        assert kinds[:entry_cancels] == ["cancel"], "the resting entry goes before anything is closed"
        closed = max(row["answered"] for row in rows if row["lane"] == "order")
        stop_cancels = [row["received"] for row in rows[entry_cancels:] if row["lane"] == "cancel"]
        assert all(received > closed for received in stop_cancels)


FAULTS: Mapping[str, Mapping[str, Any]] = {
    "lost answers": {"kind": "drop_response", "count": 3},
    "lost requests": {"kind": "drop_request", "count": 3},
    "refused": {"kind": "reject_order", "count": 2},
    "filled in parts": {"kind": "partial_fill", "count": 2, "fraction": 0.5},
    "filled slowly": {"kind": "slow_fill", "count": 2, "fraction": 0.25, "delay_ms": 300},
    "limited": {"kind": "rate_limit", "count": 1},
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_whatever_the_venue_does_the_account_ends_flat(tmp_path: Path, fault: str) -> None:
    async with SimulatedWorld(tmp_path, VENUES, latency_ms=20) as world:
        await _everything_open(world)
        for venue in VENUES:
            keys = dict(FAULTS[fault])
            await world.fault(keys.pop("kind"), venue, **keys)
        done = await _flatten(world, seconds=200)
        assert [venue for venue in VENUES if not await _is_flat(world, venue)] == []
        assert [one.failed for one in done.values()] == [""] * 3
        assert await _hits(world) == [FAULTS[fault]["count"]] * 3


async def _hits(world: SimulatedWorld) -> list[int]:
    return [row["hits"] for venue in world.names for row in await world.ask("fault", venue)]


async def test_an_answer_that_shows_nothing_once_is_not_believed(tmp_path: Path) -> None:
    async with SimulatedWorld(tmp_path, VENUES) as world:
        empty = {"binance": ("BTCUSDT", "*/positionRisk"), "bybit": ("BTCUSDT", "*/position/list")}
        for venue, (symbol, path) in {**empty, "okx": ("BTC-USDT-SWAP", "*/positions")}.items():
            await world.tell("account", venue, position={"symbol": symbol, "qty": "0.01", "entry": "77000"})
            await world.fault("empty_rest", venue, match={"path": path}, count=1 if venue != "bybit" else 2)
        done = await _flatten(world)
        assert all(one.done for one in done.values()), done
        assert [venue for venue in VENUES if not await _is_flat(world, venue)] == []
        assert await _hits(world) == [1, 2, 1]


async def test_a_dead_venue_is_named_and_holds_up_no_other(tmp_path: Path) -> None:
    async with SimulatedWorld(tmp_path, VENUES) as world:
        await _everything_open(world)
        await world.fault("drop_request", "bybit", count=-1)
        done = await _flatten(world, seconds=30)
        assert not done["bybit"].done
        assert done["bybit"].failed
        for venue in ("binance", "okx"):
            assert await _is_flat(world, venue)
            removed = done[venue].removed_s
            assert removed is not None
            assert removed < 2


async def test_a_position_that_cannot_be_closed_keeps_its_stop_and_is_named(tmp_path: Path) -> None:
    async with SimulatedWorld(tmp_path, ("binance",)) as world:
        await _everything_open(world)
        await world.fault("reject_order", "binance", match={"symbol": "BTCUSDT"}, count=-1)
        (done,) = (await _flatten(world, seconds=15)).values()
        assert not done.done
        assert any("0.01 BTC/USDT:USDT long" in what for what in done.left), done.left
        state = await world.ask("state", "binance")
        assert [(o["symbol"], o["type"]) for o in state["orders"]] == [("BTCUSDT", "stop")]


async def test_the_smallest_position_and_one_beyond_the_largest_order_are_closed(tmp_path: Path) -> None:
    async with SimulatedWorld(tmp_path, ("binance",), balance=Decimal(100_000_000)) as world:
        await world.tell("account", position={"symbol": "BTCUSDT", "qty": "0.001", "entry": "77000"})
        async with clients(world) as made:
            client = made["binance"]
            await client.open()
            most = client.instruments[ETH].market_lot.maximum
        await world.tell("account", position={"symbol": "ETHUSDT", "qty": str(most * 2 + 1), "entry": "2400"})
        (done,) = (await _flatten(world, seconds=30)).values()
        assert done.done, done
        assert await world.held() == {}


async def test_only_what_is_ours_is_ended_where_that_is_asked_for(tmp_path: Path) -> None:
    async with SimulatedWorld(tmp_path, VENUES) as world:
        async with clients(world) as made:
            for client in made.values():
                await client.open()
                await _open(client, BTC, Side.BUY, key="ours")
                foreign = an_intent(
                    client_id="theirs1", instrument=InstrumentId(client.name, ETH), amount=SIZES[ETH], side=Side.SELL
                )
                assert isinstance(await client.submit(Departure(intent=foreign)), Accepted)
                await _rest(client, BTC, name="theirs2")
        done = await _flatten(world, ours_only=True)
        assert all(one.done for one in done.values()), done
        for venue in VENUES:
            assert [abs(quantity) for quantity in (await world.held(venue)).values()] == [SIZES[ETH]]
            assert [o["client_id"] for o in (await world.ask("state", venue))["orders"]] == ["theirs2"]


async def test_orders_that_only_the_venues_own_id_names_are_removed(tmp_path: Path) -> None:
    """Sent from the venue's own pages: without a client order id, waiting for a trigger or not."""
    async with SimulatedWorld(tmp_path, ("bybit", "okx")) as world, clients(world) as made:
        for client in made.values():
            await client.open()
        await _raw(made["bybit"], "privatePostV5OrderCreate", _BYBIT_TRIGGER)
        await _raw(made["bybit"], "privatePostV5OrderCreate", _BYBIT_LIMIT)
        await _raw(made["okx"], "privatePostTradeOrderAlgo", _OKX_TRIGGER)
        await _raw(made["okx"], "privatePostTradeOrder", _OKX_LIMIT)
        assert [len((await world.ask("state", venue))["orders"]) for venue in made] == [2, 2]
        done = await _flatten(world)
        assert all(one.done for one in done.values()), done
        assert [(await world.ask("state", venue))["orders"] for venue in made] == [[], []]


_BYBIT_TRIGGER = {
    "category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": "0.01", "positionIdx": 0,
    "triggerPrice": "90000", "triggerDirection": 1, "triggerBy": "MarkPrice",
}  # fmt: skip
_BYBIT_LIMIT = {
    "category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.01", "price": "70000",
    "positionIdx": 0, "timeInForce": "GTC",
}  # fmt: skip
_OKX_TRIGGER = {
    "instId": "BTC-USDT-SWAP", "tdMode": "cross", "side": "buy", "ordType": "trigger", "sz": "1", "triggerPx": "90000",
    "orderPx": "-1", "triggerPxType": "mark",
}  # fmt: skip
_OKX_LIMIT = {
    "instId": "BTC-USDT-SWAP", "tdMode": "cross", "side": "buy", "ordType": "limit", "sz": "1", "px": "60000",
}  # fmt: skip


async def _raw(client: VenueClient, endpoint: str, params: Mapping[str, Any]) -> None:
    exchange: Any = client
    await getattr(exchange._ccxt, endpoint)(dict(params))
