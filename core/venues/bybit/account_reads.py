"""Bybit's private lists by request: rows as the venue tells them, every page of them. All raise VenueError, and
MalformedPayload for what cannot be read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from core.domain.ids import ClientOrderId
from core.errors import MalformedPayload, Refused
from core.venues.bybit import facts
from core.venues.bybit.codes import NO_SUCH_ORDER, OF_THE_CALLER
from core.venues.bybit.payloads import (
    AccountInfo,
    Answer,
    ExecutionRow,
    KeyRow,
    OrderRow,
    Page,
    PositionRow,
    SymbolRow,
    TierRow,
    TransactionRow,
    WalletRow,
)
from core.venues.reading import ReadPolicy

_T = TypeVar("_T")
Call = Callable[[Any], Awaitable[Any]]


class AccountReads:
    """`ccxt` is a `PortedExchange`."""

    def __init__(self, ccxt: Any, reads: ReadPolicy) -> None:
        self._ccxt, self._reads = ccxt, reads

    # --- orders and trades ------------------------------------------------------------------------------------------

    async def open_orders(self, **of: str) -> list[OrderRow]:
        """Working and waiting ones, of a `symbol` or a `settleCoin`."""
        rows = await self._pages(self._ccxt.privateGetV5OrderRealtime, of, OrderRow, facts.ORDERS_PAGE)
        return list({row.orderId: row for row in rows}.values())

    async def order(self, venue_symbol: str, **name: str) -> OrderRow | None:
        """By `orderId` or `orderLinkId`, also one that has ended: the newest list first, the complete one after it."""
        params = {"category": facts.CATEGORY, "symbol": venue_symbol, **name}
        for call in (self._ccxt.privateGetV5OrderRealtime, self._ccxt.privateGetV5OrderHistory):
            found = await self._reads.found(call, params, Answer[Page[OrderRow]], "bybit", absent=NO_SUCH_ORDER)
            if found is not None and found.result.rows:
                return found.result.rows[0]
        return None

    async def ended_orders(self, venue_symbol: str) -> list[OrderRow]:
        """The newest page of those that have ended, stops that fired among them."""
        params = {"category": facts.CATEGORY, "symbol": venue_symbol, "limit": str(facts.ORDERS_PAGE)}
        answer = await self._one(self._ccxt.privateGetV5OrderHistory, params, Page[OrderRow])
        return answer.result.rows

    async def executions(self, venue_symbol: str, start_ms: int, end_ms: int) -> list[ExecutionRow]:
        """At most a week, funding and all; newest first."""
        of = {"symbol": venue_symbol, "startTime": str(start_ms), "endTime": str(end_ms)}
        return await self._pages(self._ccxt.privateGetV5ExecutionList, of, ExecutionRow, facts.FILLS_PAGE)

    async def executions_of(self, venue_symbol: str, client_order_id: ClientOrderId) -> list[ExecutionRow]:
        of = {"symbol": venue_symbol, "orderLinkId": str(client_order_id)}
        return await self._pages(self._ccxt.privateGetV5ExecutionList, of, ExecutionRow, facts.FILLS_PAGE)

    # --- positions and money ----------------------------------------------------------------------------------------

    async def positions(self, **of: str) -> list[PositionRow]:
        """What is held in a `settleCoin`; of a `symbol` also what is flat."""
        return await self._pages(self._ccxt.privateGetV5PositionList, of, PositionRow, facts.POSITIONS_PAGE)

    async def wallet(self) -> Answer[Page[WalletRow]]:
        params = {"accountType": "UNIFIED"}
        return await self._reads.shaped(
            self._ccxt.privateGetV5AccountWalletBalance, params, Answer[Page[WalletRow]], "bybit"
        )

    async def transactions(self, start_ms: int, end_ms: int) -> list[TransactionRow]:
        """At most a week of every wallet; newest first. No category is asked for: transfers have none."""
        of = {"accountType": "UNIFIED", "startTime": str(start_ms), "endTime": str(end_ms)}
        call, size = self._ccxt.privateGetV5AccountTransactionLog, facts.ORDERS_PAGE
        return await self._pages(call, of, TransactionRow, size, category=None)

    # --- settings ---------------------------------------------------------------------------------------------------

    async def account_info(self) -> AccountInfo:
        call = self._ccxt.privateGetV5AccountInfo
        return (await self._reads.shaped(call, {}, Answer[AccountInfo], "bybit")).result

    async def symbol_settings(self) -> list[SymbolRow]:
        """Leverage and position index of every contract, in one request; empty where the venue does not tell (accounts
        in portfolio margin, environments without this call)."""
        call, params = self._ccxt.privateGetV5PositionSymbolInfo, {"category": facts.CATEGORY}
        try:
            return (await self._one(call, params, Page[SymbolRow])).result.rows
        except Refused as error:
            if error.code in OF_THE_CALLER:
                raise
            return []

    async def key(self) -> KeyRow | None:
        """None where the environment does not tell."""
        try:
            answer = await self._reads.shaped(self._ccxt.privateGetV5UserQueryApi, {}, Answer[KeyRow], "bybit")
        except Refused as error:
            if error.code in OF_THE_CALLER:
                raise
            return None
        return answer.result

    # --- rules ------------------------------------------------------------------------------------------------------

    async def instruments(self) -> list[Any]:
        """Rows as decoded, because one that cannot be read must not cost the others."""
        rows = await self._pages(self._ccxt.publicGetV5MarketInstrumentsInfo, {}, object, facts.INSTRUMENTS_PAGE)
        return list(rows)

    async def tiers(self, found: list[TierRow]) -> None:
        """Into `found`, page after page as they come: fifteen contracts each, whatever is asked for."""
        await self._pages(self._ccxt.publicGetV5MarketRiskLimit, {}, TierRow, None, found)

    async def _one(self, call: Call, params: dict[str, str], shape: type[_T]) -> Answer[_T]:
        return await self._reads.shaped(call, params, Answer[shape], "bybit")  # type: ignore[valid-type]

    async def _pages(
        self,
        call: Call,
        of: dict[str, str],
        shape: type[_T],
        size: int | None,
        rows: list[_T] | None = None,
        *,
        category: str | None = facts.CATEGORY,
    ) -> list[_T]:
        """All of a list. Raises MalformedPayload for one that does not end."""
        params = dict(of) if category is None else {"category": category, **of}
        if size is not None:
            params["limit"] = str(size)
        rows = [] if rows is None else rows
        for _ in range(facts.MOST_PAGES):
            page = (await self._one(call, params, Page[shape])).result  # type: ignore[valid-type]
            rows += page.rows
            if not page.nextPageCursor or not page.rows:
                return rows
            params["cursor"] = page.nextPageCursor
        raise MalformedPayload("bybit", "a list whose pages do not end")
