"""VenueClient for Bybit linear perpetuals: ccxt's implicit endpoints with our own parameters."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from core.clock import Clock
from core.domain.ids import ClientOrderId, InstrumentId, Symbol, VenueName, VenueOrderId
from core.domain.instrument import Instrument
from core.domain.ledger import Income
from core.domain.money import Price, Quantity
from core.domain.order import Order, OrderIntent
from core.domain.reports import BalanceReport, FillReport, OrderStatusReport, PositionReport
from core.engine.ports import AccountSettings, Departure, KeyRights, MarginMode, MassStatus, NotFound, Outcome
from core.errors import MalformedPayload, Refused, StartRefused
from core.venues.bybit import facts
from core.venues.bybit.account import Account
from core.venues.bybit.account_reads import AccountReads
from core.venues.bybit.codes import ABOUT, ERRORS, NOT_UNIFIED
from core.venues.bybit.instruments import brackets_of, listing
from core.venues.bybit.lookups import Lookups
from core.venues.bybit.modes import ONE_WAY
from core.venues.bybit.order_commands import OrderCommands
from core.venues.bybit.payloads import Answer, SymbolRow, TierRow, TimeRow
from core.venues.bybit.stop_commands import StopCommands
from core.venues.bybit.user_feed import whole_leverage
from core.venues.client import CommandPolicy
from core.venues.payload import shaped
from core.venues.reading import ReadPolicy, reading, together
from core.venues.symbols import SymbolTable
from core.venues.venue_clock import VenueClock
from core.venues.warming import warm

log = structlog.get_logger(__name__)

_MARGINS = {"ISOLATED_MARGIN": MarginMode.ISOLATED}


class BybitClient:
    """`ccxt` is a `PortedExchange` of ccxt's bybit. One per account; `account` is shared with its private stream."""

    name = VenueName.BYBIT
    traits = facts.TRAITS

    def __init__(
        self, ccxt: Any, account: Account, clock: Clock, venue_clock: VenueClock, *, reads_tiers: bool = True
    ) -> None:
        """`reads_tiers`: whether sizes are to be checked against the venue's risk tiers."""
        self._reads_tiers = reads_tiers
        self._ccxt, self._account, self._clock, self._venue_clock = ccxt, account, clock, venue_clock
        self._reads = ReadPolicy(ERRORS, self.measure_clock)
        self._lists = AccountReads(ccxt, self._reads)
        self._lookups = Lookups(self._lists, account, clock, venue_clock)
        policy = CommandPolicy(ERRORS, clock, self.measure_clock, about=ABOUT)
        self._orders = OrderCommands(ccxt, policy, account, self._lookups, venue_clock)
        self._stops = StopCommands(ccxt, policy, account, self._orders, self._lookups, venue_clock)

    @property
    def instruments(self) -> Mapping[Symbol, Instrument]:
        return self._symbols.instruments

    @property
    def clock_offset_ms(self) -> int:
        return self._venue_clock.offset_ms

    @property
    def _symbols(self) -> SymbolTable:
        return self._account.symbols

    # --- life -------------------------------------------------------------------------------------------------------

    @reading("bybit")
    async def open(self) -> None:
        """Clock first, because everything signed depends on it; then the rest at once, which also warms the pool."""
        await self.measure_clock()
        try:
            settings, _ = await together(self._lists.symbol_settings(), self.load_instruments())
            await self._learn_modes(settings)
        except Refused as error:
            if ERRORS.is_key(error):
                raise StartRefused(
                    f"bybit refuses the API key (code {error.code}: {error.what}); "
                    "check BYBIT_API_KEY, its secret, its contract permissions, its address list and its site"
                ) from error
            if error.code in NOT_UNIFIED:
                raise StartRefused(
                    f"bybit: the account is no unified trading account (code {error.code}); upgrade it"
                ) from error
            raise

    async def close(self) -> None:
        await self._ccxt.seam.http.close()

    @reading("bybit")
    async def measure_clock(self) -> None:
        """Raises VenueError."""

        async def server_time() -> int:
            answer = shaped(await self._ccxt.publicGetV5MarketTime(), Answer[TimeRow], "bybit time")
            return int(answer.result.timeNano) // 1_000_000

        try:
            await self._venue_clock.measure(server_time)
        except ValueError as error:
            raise MalformedPayload("bybit time", str(error)) from None

    @reading("bybit")
    async def load_instruments(self) -> None:
        """Contract rules and risk limits, replaced as a whole; parsed off the loop. Raises VenueError."""
        rows, tiers = await together(self._lists.instruments(), self._tiers())
        known = self._symbols.instruments
        try:
            listed = await self._ccxt.seam.off_loop(lambda: listing(rows, brackets_of(tiers), known))
            self._symbols.replace(listed.usable)
        except ValueError as error:
            raise MalformedPayload("bybit rules", str(error)) from None
        if listed.unusable:
            first = next(iter(listed.unusable.items()))
            log.warning("venue.markets_unusable", venue=self.name, count=len(listed.unusable), first=first)

    async def _tiers(self) -> list[TierRow]:
        """One page leads to the next, some forty of them, and no start is to wait for all: what has not come in time is
        read with the next rules. Until then a position's size is limited by nothing but the venue's own refusal."""
        found: list[TierRow] = []
        if not self._reads_tiers:
            return found
        patience = None if self._symbols.instruments else facts.FIRST_TIERS_SECONDS
        try:
            async with asyncio.timeout(patience):
                await self._lists.tiers(found)
        except TimeoutError:
            log.info("venue.tiers_later", venue=self.name, contracts=len({row.symbol for row in found}))
        return found

    async def warm(self, connections: int) -> None:
        """Opens up to that many pooled connections with the cheapest request there is; failures do not matter here."""
        await warm(self._ccxt.publicGetV5MarketTime, connections)

    # --- commands ---------------------------------------------------------------------------------------------------

    async def submit(self, departure: Departure) -> Outcome:
        if departure.intent.conditional:
            return await self._stops.place(departure)
        return await self._orders.place(departure)

    async def submit_together(self, departures: Sequence[Departure]) -> Sequence[Outcome]:
        """Entries in one request. What closes or protects goes out each by itself: it is not to share a fate."""
        entries = [departure for departure in departures if not departure.intent.reduce_only]
        alone = [departure for departure in departures if departure.intent.reduce_only]
        if len(entries) == 1:
            entries, alone = [], list(departures)
        batch, singles = await asyncio.gather(self._batch(entries), self._each(alone))
        told = zip((*entries, *alone), (*batch, *singles), strict=True)
        outcomes = {departure.intent.client_order_id: outcome for departure, outcome in told}
        return [outcomes[departure.intent.client_order_id] for departure in departures]

    async def _batch(self, entries: Sequence[Departure]) -> Sequence[Outcome]:
        return await self._orders.place_together(entries) if entries else ()

    async def _each(self, departures: Sequence[Departure]) -> Sequence[Outcome]:
        return await asyncio.gather(*(self.submit(departure) for departure in departures))

    async def amend_stop(
        self, order: Order, *, trigger_price: Price, quantity: Quantity, tightening: bool = False
    ) -> Outcome:
        """The quantity follows the position by itself."""
        del quantity
        return await self._stops.move(order, trigger_price, tightening=tightening)

    def recall(self, orders: Sequence[Order]) -> None:
        self._account.stops.recall(orders)

    async def cancel(self, order: Order) -> Outcome:
        if order.intent.conditional:
            return await self._stops.cancel(order)
        return await self._orders.cancel(order)

    @reading("bybit")
    async def set_leverage(self, symbol: Symbol, leverage: int) -> None:
        text = str(leverage)
        params = {
            "category": facts.CATEGORY,
            "symbol": self._symbols.venue_symbol(symbol),
            "buyLeverage": text,
            "sellLeverage": text,
        }
        try:
            await self._reads.run(lambda: self._ccxt.privatePostV5PositionSetLeverage(dict(params)))
        except Refused as error:  # "not modified" is as good as done (VAL-10)
            if not ERRORS.is_done(error):
                raise

    async def set_margin_mode(self, symbol: Symbol, mode: MarginMode) -> None:
        del symbol
        raise Refused(self.name, f"{mode.value} margin is a setting of the whole account; change it at Bybit")

    # --- look-ups ---------------------------------------------------------------------------------------------------

    @reading("bybit")
    async def query_order(self, intent: OrderIntent) -> OrderStatusReport | NotFound:
        return await self._lookups.order(intent)

    @reading("bybit")
    async def client_id_of(self, instrument: InstrumentId, venue_order_id: VenueOrderId) -> ClientOrderId | NotFound:
        return await self._lookups.client_id_of(instrument, venue_order_id)

    @reading("bybit")
    async def fills(self, instrument: InstrumentId, since_ms: int) -> Sequence[FillReport]:
        return await self._lookups.fills(instrument, since_ms)

    @reading("bybit")
    async def income(self, since_ms: int) -> Sequence[Income]:
        return await self._lookups.income(since_ms)

    @reading("bybit")
    async def positions(self) -> Sequence[PositionReport]:
        """Contracts without a position are missing from the venue's answer."""
        return await self._lookups.positions()

    @reading("bybit")
    async def balances(self) -> Sequence[BalanceReport]:
        return await self._lookups.balances()

    @reading("bybit")
    async def mass_status(self) -> MassStatus:
        return await self._lookups.mass_status()

    @reading("bybit")
    async def account_settings(self) -> AccountSettings:
        """Three requests. Leverages are those of every contract, held or not, where the venue tells them at once; else
        of none: a contract that is missing is set before it is traded."""
        (info, settings), key = await together(
            together(self._lists.account_info(), self._lists.symbol_settings()), self._lists.key()
        )
        await self._learn_modes(settings)
        margin = _MARGINS.get(info.marginMode, MarginMode.CROSS)
        return AccountSettings(
            hedge_mode=self._account.modes.hedge,
            can_trade=key is None or _may_trade(key.readOnly, key.permissions),
            multi_assets=False,
            leverage=self._leverages(settings),
            margin=dict.fromkeys(self.instruments, margin),
        )

    @reading("bybit")
    async def key_rights(self) -> KeyRights | None:
        key = await self._lists.key()
        if key is None:
            return None
        return KeyRights(
            trade=_may_trade(key.readOnly, key.permissions),
            withdraw="Withdraw" in key.permissions.get("Wallet", ()),
            bound_to_addresses=bool(key.ips) and "*" not in key.ips,
        )

    def _leverages(self, settings: Sequence[SymbolRow]) -> dict[Symbol, int]:
        told: dict[Symbol, int] = {}
        mixed: set[Symbol] = set()
        for row in settings:
            if (instrument := self._symbols.unified(row.symbol)) is None:
                continue
            try:
                leverage = whole_leverage(row.leverage)
            except ValueError as error:
                raise MalformedPayload("bybit symbol-info", str(error)) from None
            if leverage is None or told.get(instrument.symbol, leverage) != leverage:
                mixed.add(instrument.symbol)  # the two sides of a hedged contract differ: neither is the figure
            else:
                told[instrument.symbol] = leverage
        return {symbol: leverage for symbol, leverage in told.items() if symbol not in mixed}

    async def _learn_modes(self, settings: Sequence[SymbolRow]) -> None:
        """The account's position mode is that of most contracts in USDT; single ones may be set otherwise."""
        hedged = {
            instrument: row.positionIdx != ONE_WAY
            for row in settings
            if (instrument := self._symbols.unified(row.symbol)) is not None
            and not instrument.symbol.endswith(f":{facts.NO_HEDGE_COIN}")
        }
        if hedged:
            account = sum(hedged.values()) * 2 > len(hedged)
            others = {instrument: hedge for instrument, hedge in hedged.items() if hedge is not account}
            self._account.modes.learn(hedge=account, others=others)
        else:
            await self._lookups.read_mode()
        self._account.stops.seat_recalled()


def _may_trade(read_only: int, permissions: Mapping[str, Sequence[str]]) -> bool:
    """Leverage and the stops of positions go by a right of their own."""
    return not read_only and {"Order", "Position"} <= set(permissions.get("ContractTrade", ()))
