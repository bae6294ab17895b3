"""From a real socket to the book: what the venue pushes becomes orders, positions, balances and margin, unasked.

The simulator's server and the production transport, on real time.
"""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.clock import SystemClock
from core.domain.events import AssetModeChanged, Event, LeverageChanged, MarginCalled, ReducedElsewhere
from core.domain.ids import Asset, Leg, VenueName
from core.domain.order import Order, OrderIntent, OrderStatus
from core.domain.reports import Origin, PositionReport, WalletCause
from core.domain.signal import Side
from core.engine.bookkeeping import Bookkeeper
from core.engine.order_manager import OrderManager
from core.engine.ports import StreamState
from core.engine.records import FillRecord
from core.engine.state import State
from core.transport import AiohttpHttp, Transport, WebsocketsSocket
from core.venues import VenueAccess, VenueConnection, connect_venue
from core.venues.binance.parse import CAUSES
from core.venues.user_stream import UserDataStreamManager
from tests.builders import BTC, BTC_LONG, USDT, an_intent
from tests.fakes.diary import Diary
from tests.fakes.fake_audit import FakeAudit
from tests.fakes.fake_journal import FakeJournal
from tests.scenarios.owner import Owner, the_owner
from tests.scenarios.worlds import SimulatedWorld, World, a_wave
from tools.venuesim.binance.facade import BinanceFacade
from tools.venuesim.binance.user_frames import UserFrame
from tools.venuesim.exchange.model import IncomeType, PositionSide
from tools.venuesim.kernel import Simulation, SimulationSettings
from tools.venuesim.server import Driver, Server, wall_ms
from tools.venuesim.venues import load

pytestmark = [
    pytest.mark.asyncio(loop_factories=["loopback"]),
    pytest.mark.may_block("test doubles and the simulator share the loop"),
]
S = OrderStatus
ASKED = {"/fapi/v3/positionRisk", "/fapi/v3/account", "/fapi/v1/openOrders", "/fapi/v1/userTrades", "/fapi/v1/order"}
NOT_OURS = {"ORDER_TRADE_UPDATE", "ALGO_UPDATE", "TRADE_LITE", "CONDITIONAL_ORDER_TRIGGER_REJECT", "listenKeyExpired"}


class Oms:
    """The book behind the socket: the order manager and what it writes, without anything that asks or acts."""

    def __init__(self, simulation: Simulation, url: str, transport: Transport) -> None:
        clock = SystemClock()
        self.simulation = simulation
        self.state, self.audit, self.journal = State(), FakeAudit(), FakeJournal(Diary())
        books = Bookkeeper(journal=self.journal, audit=self.audit, clock=clock, default_stop_percent=Decimal(2))
        self.orders = OrderManager(clients={}, state=self.state, books=books, clock=clock)
        self.orders.on_unresolved(lambda _order, _cause: None)
        self.orders.on_broken(self._fail)
        self.events: list[Event] = []
        self.orders.listen(self.events.extend)
        self.broken: list[str] = []
        self._http, self._url = transport.http, url
        self.owner = Owner(transport.http, url, clock)
        access = VenueAccess(name=VenueName.BINANCE, key="sim", secret="sim", base_url=url)
        self.venue: VenueConnection = connect_venue(
            access, clock=clock, transport=transport, sink=self.orders.take, on_connected=_nothing_to_settle
        )

    def _fail(self, reason: str) -> None:
        self.broken.append(reason)

    @property
    def stream(self) -> UserDataStreamManager:
        assert isinstance(self.venue.user_stream, UserDataStreamManager)
        return self.venue.user_stream

    def expect(self, intent: OrderIntent) -> str:
        """An order of ours that somebody is about to send, so that only the stream can tell of it."""
        self.orders.restore([Order(intent=intent, status=S.IN_FLIGHT)], [])
        return intent.client_order_id

    def order(self, intent: OrderIntent) -> Order:
        order = self.state.order(intent.client_order_id)
        assert order is not None
        return order

    async def tell(self, name: str, **body: Any) -> None:
        """POST to the simulator's control interface."""
        answer = await self._http.request("POST", f"{self._url}/_sim/{name}", {}, json.dumps(body).encode())
        assert answer.status == 200, answer.body

    def push(self, payload: dict[str, Any]) -> None:
        """Any frame, as if the venue's engine had made it."""
        assert isinstance(self.simulation.facade, BinanceFacade)
        self.simulation.facade._users.push(UserFrame(str(payload["e"]), payload))

    def wallet(self) -> Decimal:
        balance = self.state.balance(VenueName.BINANCE, USDT)
        return Decimal(0) if balance is None else balance.wallet

    def row(self) -> PositionReport | None:
        """What the venue last told of BTC."""
        rows = [row for row in self.state.venue_positions() if row.instrument == BTC]
        return rows[-1] if rows else None

    async def until(self, condition: Callable[[], bool], seconds: float = 5.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - frames arrive from a socket
                await asyncio.sleep(0.005)


async def _nothing_to_settle() -> None: ...


@asynccontextmanager
async def an_oms(**settings: Any) -> AsyncIterator[Oms]:
    """Connected, its stream live. Every instrument has cross margin and leverage 20."""
    start = wall_ms()
    simulation = Simulation(load("binance"), SimulationSettings(**settings), start)
    server = Server(Driver(simulation, start))
    async with AsyncExitStack() as stack:
        url = f"http://127.0.0.1:{await server.start(0)}"
        stack.push_async_callback(server.stop)
        transport = Transport(http=AiohttpHttp("binance"), socket=lambda: WebsocketsSocket("binance"))
        stack.push_async_callback(transport.http.close)
        oms = Oms(simulation, url, transport)
        await oms.venue.client.open()
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(oms.orders.run()), tasks.create_task(oms.stream.run())]
            await oms.stream.wait_live()
            try:
                yield oms
            finally:
                for task in running:
                    task.cancel()
        assert oms.broken == []
        assert oms.stream.statistics.malformed == oms.stream.statistics.unknown == 0
        asked = {line["path"] for line in simulation.log.since(0) if line["method"] == "GET"}
        assert not asked & ASKED, "the book was filled by asking"


async def test_an_order_and_its_trade_travel_to_order_position_wallet_and_margin() -> None:
    async with an_oms() as oms:
        intent = an_intent(amount="0.01")
        await oms.owner.trade("BTCUSDT", "BUY", "0.01", newClientOrderId=oms.expect(intent))
        await oms.until(lambda: oms.order(intent).status is S.FILLED)
        order, position, row = oms.order(intent), oms.state.position(BTC_LONG), oms.row()
        (fill,) = oms.simulation.engine.fills()
        assert (order.filled, order.average_price, order.trade_ids) == (Decimal("0.01"), fill.price, {str(fill.id)})
        assert order.venue_order_id == str(fill.order_id)
        assert position is not None
        assert (position.quantity, position.entry_price, position.fees) == (Decimal("0.01"), fill.price, fill.fee)
        assert position.opened_ms == fill.time_ms
        assert oms.wallet() == oms.simulation.engine.balance("USDT").wallet == 10_000 - fill.fee
        assert row is not None
        assert (row.quantity, row.entry_price) == (Decimal("0.01"), fill.price)
        mark = oms.simulation.engine.quote("BTCUSDT").mark
        assert row.unrealized is not None
        assert abs(row.unrealized - Decimal("0.01") * (mark - fill.price)) < 1
        assert (row.isolated, row.isolated_margin) == (False, 0)
        assert [r.fill.trade_id for r in oms.journal.posted if isinstance(r, FillRecord)] == [str(fill.id)]


async def test_an_order_filled_in_parts_grows_the_position_part_by_part() -> None:
    async with an_oms(faults=[{"kind": "slow_fill", "fraction": 0.25, "delay_ms": 20}]) as oms:
        intent = an_intent(amount="0.01")
        await oms.owner.trade("BTCUSDT", "BUY", "0.01", newClientOrderId=oms.expect(intent))
        await oms.until(lambda: oms.order(intent).status is S.PARTIALLY_FILLED)
        await oms.until(lambda: oms.order(intent).status is S.FILLED)
        position = oms.state.position(BTC_LONG)
        assert position is not None
        assert position.quantity == Decimal("0.01")
        assert len(oms.order(intent).trade_ids) == len(oms.simulation.engine.fills()) > 2
        assert oms.wallet() == oms.simulation.engine.balance("USDT").wallet


async def test_a_stop_travels_from_resting_over_its_trigger_to_its_childs_trade() -> None:
    async with an_oms() as oms:
        entry = an_intent(amount="0.01")
        await oms.owner.trade("BTCUSDT", "BUY", "0.01", newClientOrderId=oms.expect(entry))
        await oms.until(lambda: oms.order(entry).status is S.FILLED)
        mark = oms.simulation.engine.quote("BTCUSDT").mark
        level = (mark * Decimal("0.98")).quantize(Decimal(1))
        stop = an_intent(leg=Leg.STOP, side=Side.SELL, amount="0.01", trigger=level)
        await oms.owner.call(
            "POST",
            "/fapi/v1/algoOrder",
            algoType="CONDITIONAL",
            symbol="BTCUSDT",
            side="SELL",
            type="STOP_MARKET",
            quantity="0.01",
            triggerPrice=str(level),
            workingType="MARK_PRICE",
            reduceOnly="true",
            clientAlgoId=oms.expect(stop),
        )
        await oms.until(lambda: oms.order(stop).status is S.ACCEPTED)
        assert (oms.order(stop).filled, oms.order(stop).reported_filled) == (0, 0)
        await oms.tell("price", symbol="BTCUSDT", price=str(level - 100))
        await oms.until(lambda: oms.order(stop).status is S.FILLED)
        assert oms.state.positions() == []
        closed = oms.state.last_closed(BTC_LONG)
        assert closed is not None
        fills = oms.simulation.engine.fills()
        assert closed.realized == sum(fill.realized for fill in fills)
        await oms.until(lambda: oms.wallet() == oms.simulation.engine.balance("USDT").wallet)
        row = oms.row()
        assert row is not None
        assert (row.quantity, row.entry_price) == (0, None)


async def test_margin_made_isolated_filled_and_moved_is_told_by_its_position() -> None:
    async with an_oms() as oms:
        await oms.owner.call("POST", "/fapi/v1/marginType", symbol="BTCUSDT", marginType="ISOLATED")
        await oms.until(lambda: (row := oms.row()) is not None and row.isolated is True)
        await oms.owner.trade("BTCUSDT", "BUY", "0.01")
        await oms.until(lambda: (row := oms.row()) is not None and row.quantity == Decimal("0.01"))
        row = oms.row()
        assert row is not None
        margin = oms.simulation.engine.position("BTCUSDT", PositionSide.BOTH).isolated_wallet
        assert row.isolated_margin == margin > 0
        before = oms.wallet()
        await oms.owner.call("POST", "/fapi/v1/positionMargin", symbol="BTCUSDT", amount="7.5", type="1")
        await oms.until(lambda: (row := oms.row()) is not None and row.isolated_margin == margin + Decimal("7.5"))
        await oms.owner.call("POST", "/fapi/v1/positionMargin", symbol="BTCUSDT", amount="2", type="2")
        await oms.until(lambda: (row := oms.row()) is not None and row.isolated_margin == margin + Decimal("5.5"))
        assert oms.wallet() == before  # moved between our own pockets


async def test_money_in_and_out_funding_and_insurance_change_the_wallet_each_with_its_cause() -> None:
    async with an_oms() as oms:
        await oms.tell("account", asset="USDT", wallet="10500")
        await oms.until(lambda: oms.wallet() == 10_500)
        await oms.tell("account", asset="USDT", wallet="9000")
        await oms.until(lambda: oms.wallet() == 9_000)
        await oms.owner.trade("BTCUSDT", "BUY", "0.1")
        await oms.until(lambda: oms.wallet() < 9_000)
        await _advance_to_funding(oms)
        await oms.until(lambda: WalletCause.FUNDING in _causes(oms))
        assert oms.wallet() == oms.simulation.engine.balance("USDT").wallet
        await oms.tell("fault", kind="liquidate", match={"symbol": "BTCUSDT"})
        await oms.until(lambda: WalletCause.INSURANCE in _causes(oms))
        assert oms.wallet() == oms.simulation.engine.balance("USDT").wallet
        told = {row["cause"]: row for row in oms.audit.of("wallet")}
        assert [told[cause]["change"] for cause in ("deposit", "withdrawal")] == ["500", "-1500"]
        assert list(dict.fromkeys(_causes(oms))) == ["deposit", "withdrawal", "trade", "funding", "insurance"]


@pytest.mark.parametrize("word", [*CAUSES, "OPTIONS_PREMIUM_FEE", "A_WORD_OF_NEXT_YEAR"])
async def test_every_reason_of_an_account_update_reaches_wallet_and_audit(word: str) -> None:
    async with an_oms() as oms:
        oms.push(_account_update(word, wallet="10123.5", change="123.5"))
        await oms.until(lambda: oms.wallet() == Decimal("10123.5"))
        (row,) = oms.audit.of("wallet")
        assert row["cause"] == CAUSES.get(word, WalletCause.OTHER).value
        assert (row["cause_text"], row["change"], row["wallet"]) == (word, "123.5", "10123.5")


async def test_what_one_update_tells_is_applied_in_one_step() -> None:
    """Whoever hears of the position finds the wallet that belongs to it."""
    async with an_oms() as oms:
        seen: list[Decimal] = []
        oms.orders.listen(lambda events: seen.append(oms.wallet()))
        payload = _account_update("ADJUSTMENT", wallet="10100", change="0")
        payload["a"]["P"] = [_position("0.5", unrealized="12.25"), _position("-0.25", side="SHORT")]
        oms.push(payload)
        await oms.until(lambda: bool(seen))
        assert seen == [10_100]
        assert [row.quantity for row in oms.state.venue_positions()] == [Decimal("0.5"), Decimal("-0.25")]


async def test_an_older_update_changes_nothing_and_two_assets_are_kept_apart() -> None:
    async with an_oms() as oms:
        newer = _account_update("ORDER", wallet="9990", change="0")
        newer["a"]["B"].append({"a": "BNB", "wb": "0.99", "cw": "0.99", "bc": "0"})  # the fee was paid in BNB
        older = _account_update("DEPOSIT", wallet="12000", change="2000", at_ms=newer["T"] - 1)
        for payload in (newer, older, newer):
            oms.push(payload)
        oms.push(_account_update("DEPOSIT", asset="USDC", wallet="5", change="5"))
        await oms.until(lambda: (VenueName.BINANCE, Asset("USDC")) in oms.state.balances())
        assert oms.wallet() == 9_990
        bnb = oms.state.balance(VenueName.BINANCE, Asset("BNB"))
        assert bnb is not None
        assert bnb.wallet == Decimal("0.99")
        assert len(oms.audit.of("wallet")) == 3


async def test_settings_and_margin_calls_travel_to_those_who_must_know() -> None:
    async with an_oms() as oms:
        await oms.owner.call("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage="7")
        await oms.until(lambda: LeverageChanged(instrument=BTC, leverage=7) in oms.events)
        await oms.owner.call("POST", "/fapi/v1/multiAssetsMargin", multiAssetsMargin="true")
        await oms.until(lambda: AssetModeChanged(venue=VenueName.BINANCE, multi_assets=True) in oms.events)
        call = {
            "s": "BTCUSDT",
            "ps": "LONG",
            "pa": "1",
            "mt": "CROSSED",
            "iw": "0",
            "mp": "60000",
            "up": "-9",
            "mm": "8",
        }
        oms.push({"e": "MARGIN_CALL", "E": int(wall_ms()), "cw": "3.1", "p": [call]})
        await oms.until(lambda: any(isinstance(event, MarginCalled) for event in oms.events))


@pytest.mark.parametrize(("kind", "origin"), [("liquidate", Origin.LIQUIDATION), ("adl", Origin.ADL)])
async def test_a_liquidation_and_a_deleveraging_reach_the_position_they_took(kind: str, origin: Origin) -> None:
    async with an_oms() as oms:
        intent = an_intent(amount="0.01")
        await oms.owner.trade("BTCUSDT", "BUY", "0.01", newClientOrderId=oms.expect(intent))
        await oms.until(lambda: bool(oms.state.positions()))
        await oms.tell("fault", kind=kind, match={"symbol": "BTCUSDT"})
        await oms.until(lambda: not oms.state.positions())
        (taken,) = [event for event in oms.events if isinstance(event, ReducedElsewhere)]
        assert (taken.origin, taken.quantity) == (origin, Decimal("0.01"))
        assert taken.price == oms.simulation.engine.fills()[-1].price


async def test_every_documented_frame_passes_the_socket_without_a_complaint(shared: Path) -> None:
    """What is not ours changes nothing; nothing is malformed or unknown."""
    frames = [
        frame
        for path in sorted((shared / "venues" / "fixtures" / "binance_usdm").glob("uds_*.json"))
        for frame in _frames(json.loads(path.read_text("utf-8")))
    ]
    assert {frame["e"] for frame in frames} >= NOT_OURS | {"ACCOUNT_UPDATE", "ACCOUNT_CONFIG_UPDATE", "MARGIN_CALL"}
    frames = [
        frame for frame in frames if frame["e"] != "listenKeyExpired"
    ]  # it ends the connection: a test of its own
    async with an_oms() as oms:
        before = oms.stream.statistics.frames
        for frame in frames:
            oms.push(frame)
        await oms.until(lambda: oms.stream.statistics.frames == before + len(frames))
        await oms.orders.drained()
        assert oms.state.positions() == []
        assert oms.orders.counts["illegal_report"] == 0
        assert oms.stream.state is StreamState.LIVE


@pytest.mark.failure("UDS-01")
@pytest.mark.asyncio(loop_factories=["simulated", "loopback"])
async def test_a_trade_told_by_the_stream_alters_position_stop_and_journal_within_a_second(world: World) -> None:
    """The whole daemon, wired as it runs: nobody polls meanwhile. On real sockets the second is not ours to promise."""
    second = 1.0 if isinstance(world, SimulatedWorld) else 15.0
    await world.play(a_wave(["BTCUSDT"], at_ms=2_500))
    async with world.running(POSITION_SIZE_USD=400) as daemon:
        await daemon.wave()
        left = (await world.held())["BTCUSDT"] - Decimal("0.001")
        async with _an_owner(world) as owner:
            asked = len(await world.ask("requests?since=0"))
            await owner.trade("BTCUSDT", "SELL", "0.001", reduceOnly="true")
            async with asyncio.timeout(second):
                while await world.resting_stops() != {"BTCUSDT": [left]}:  # noqa: ASYNC110 - the venue tells nobody
                    await asyncio.sleep(0.01)
        assert daemon.held() == {"BTCUSDT": left}
        since = (await world.ask("requests?since=0"))[asked:]
        assert not {row["path"] for row in since if row["method"] == "GET"} & ASKED
        await world.everything_holds()
    with sqlite3.connect(daemon.data_dir / "journal.db") as journal:
        assert journal.execute("SELECT quantity FROM positions").fetchall() == [(str(left),)]
    journal.close()


@asynccontextmanager
async def _an_owner(world: World) -> AsyncIterator[Owner]:
    if isinstance(world, SimulatedWorld):
        yield the_owner(world)
        return
    http = AiohttpHttp("owner")
    try:
        yield Owner(http, world.url, world.clock)
    finally:
        await http.close()


async def _advance_to_funding(oms: Oms) -> None:
    """To the next full hour that pays, in steps short enough for the stream's key to be kept alive."""
    engine = oms.simulation.engine
    for _ in range(30):
        await oms.tell("clock", advance_ms=25 * 60_000)
        await oms.owner.call("PUT", "/fapi/v1/listenKey")
        if any(income.type is IncomeType.FUNDING_FEE for income in engine.income()):
            return
    raise AssertionError("no funding was paid in twelve hours")


def _causes(oms: Oms) -> list[str]:
    return [row["cause"] for row in oms.audit.of("wallet")]


def _account_update(
    reason: str, *, wallet: str, change: str, asset: str = "USDT", at_ms: int | None = None
) -> dict[str, Any]:
    at = int(wall_ms()) if at_ms is None else at_ms
    balance = {"a": asset, "wb": wallet, "cw": wallet, "bc": change}
    return {"e": "ACCOUNT_UPDATE", "T": at, "E": at, "a": {"m": reason, "B": [balance], "P": []}}


def _position(amount: str, *, side: str = "LONG", unrealized: str = "0") -> dict[str, str]:
    return {
        "s": "BTCUSDT",
        "pa": amount,
        "ep": "60000",
        "bep": "60000",
        "cr": "0",
        "up": unrealized,
        "mt": "cross",
        "iw": "0",
        "ps": side,
    }


def _frames(document: Any) -> Sequence[dict[str, Any]]:
    """A fixture is one frame, or a sequence of them."""
    if isinstance(document, dict) and "e" in document:
        return [document]
    rows = document if isinstance(document, list) else document.values()
    return [frame for row in rows for frame in (_frames(row) if isinstance(row, dict | list) else [])]
