"""Orders and trades by request: one by its id in every store where it can be, all that work, all that was traded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from core.domain.ids import ClientOrderId, VenueOrderId
from core.domain.order import OrderIntent, OrderStatus
from core.domain.reports import FillReport, OrderStatusReport, Source
from core.engine.giving_way import by_turns
from core.venues.okx import facts
from core.venues.okx.codes import NO_SUCH_ORDER
from core.venues.okx.contracts import Contract, ContractTable
from core.venues.okx.parse import ALGO_STATUSES, algo_report, order_report, trade_report
from core.venues.okx.payloads import AlgoRow, Answer, OrderRow, TradeRow
from core.venues.payload import note_page
from core.venues.reading import ReadPolicy, together

_ABSENT = frozenset({NO_SUCH_ORDER})
_ALGO_KINDS = ("conditional,oco", "trigger", "move_order_stop")
"""Of the pending ones; only the first two can be asked for together."""


class Lookups:
    """All raise VenueError, MalformedPayload."""

    def __init__(self, ccxt: Any, table: ContractTable, reads: ReadPolicy) -> None:
        self._ccxt, self._table, self._reads = ccxt, table, reads

    async def order(self, intent: OrderIntent) -> OrderStatusReport | None:
        """None: the venue positively has no such order, which may still be too early."""
        contract = self._table.contract_of(intent.instrument)
        if intent.conditional:
            return await self._stop(intent, contract)
        row = await self._plain(contract, clOrdId=str(intent.client_order_id))
        row = row or await self._ended(contract, intent.client_order_id)
        return None if row is None else order_report(row, contract, Source.REST)

    async def _stop(self, intent: OrderIntent, contract: Contract) -> OrderStatusReport | None:
        """Resting or ended, or what it became when it fired: the child has an id of the venue's."""
        call, params = self._ccxt.privateGetTradeOrderAlgo, {"algoClOrdId": str(intent.client_order_id)}
        answer = await self._reads.found(call, params, Answer[AlgoRow], "okx order-algo", absent=_ABSENT)
        if answer is None or not answer.data:
            return None
        row = answer.data[0]
        child_id = row.ordId or next(iter(row.ordIdList), "")
        if child_id and ALGO_STATUSES.get(row.state) is OrderStatus.TRIGGERED:
            child = await self._plain(contract, ordId=child_id)
            if child is not None:
                return order_report(child, contract, Source.REST, client_id=str(intent.client_order_id))
        return algo_report(row, contract, Source.REST)

    async def client_id_of(self, contract: Contract, venue_order_id: VenueOrderId) -> ClientOrderId | None:
        row = await self._plain(contract, ordId=str(venue_order_id))
        return None if row is None else order_report(row, contract, Source.REST).client_order_id

    async def _plain(self, contract: Contract, **name: str) -> OrderRow | None:
        call, params = self._ccxt.privateGetTradeOrder, {"instId": contract.inst_id, **name}
        answer = await self._reads.found(call, params, Answer[OrderRow], "okx order", absent=_ABSENT)
        return answer.data[0] if answer is not None and answer.data else None

    async def _ended(self, contract: Contract, client_id: ClientOrderId) -> OrderRow | None:
        """The look-up by client id forgets what has ended sooner than the history does."""
        params = {"instType": "SWAP", "instId": contract.inst_id, "limit": str(facts.PAGE)}
        call = self._ccxt.privateGetTradeOrdersHistory
        rows = (await self._reads.shaped(call, params, Answer[OrderRow], "okx orders-history")).data
        return next((row for row in rows if row.clOrdId == client_id), None)

    async def working(self) -> list[OrderStatusReport]:
        """Every resting order of the account, plain and conditional."""
        (plain, usual), (triggers, trailing) = await together(
            together(self._pending(), self._algos(_ALGO_KINDS[0])),
            together(self._algos(_ALGO_KINDS[1]), self._algos(_ALGO_KINDS[2])),
        )
        return [
            *(
                order_report(row, c, Source.REST)
                for row in plain
                if (c := self._table.contract(row.instId)) is not None
            ),
            *await by_turns(
                algo_report(row, c, Source.REST)
                for row in (*usual, *triggers, *trailing)
                if (c := self._table.contract(row.instId)) is not None
            ),
        ]

    async def _pending(self) -> list[OrderRow]:
        params = {"instType": "SWAP", "limit": str(facts.PAGE)}
        found: dict[str, OrderRow] = {}
        while True:
            call = self._ccxt.privateGetTradeOrdersPending
            page = (await self._reads.shaped(call, params, Answer[OrderRow], "okx orders-pending")).data
            last = len(page) < facts.PAGE
            note_page(found, {row.ordId: row for row in page}, "okx orders-pending", last=last)
            if last:
                return list(found.values())
            params = params | {"after": page[-1].ordId}

    async def _algos(self, kind: str) -> list[AlgoRow]:
        params = {"ordType": kind, "instType": "SWAP", "limit": str(facts.PAGE)}
        found: dict[str, AlgoRow] = {}
        while True:
            call = self._ccxt.privateGetTradeOrdersAlgoPending
            page = (await self._reads.shaped(call, params, Answer[AlgoRow], "okx orders-algo-pending")).data
            last = len(page) < facts.PAGE
            note_page(found, {row.algoId: row for row in page}, "okx orders-algo-pending", last=last)
            if last:
                return list(found.values())
            params = params | {"after": page[-1].algoId}

    async def fills(self, contract: Contract, since_ms: int, now_ms: int) -> list[FillReport]:
        """Own trades, oldest first. The quick endpoint has the last three days; the other one has three months."""
        recent = since_ms >= now_ms - facts.RECENT_FILLS_MS
        call = self._ccxt.privateGetTradeFills if recent else self._ccxt.privateGetTradeFillsHistory
        params = {"instType": "SWAP", "instId": contract.inst_id, "limit": str(facts.PAGE), "begin": str(since_ms - 1)}
        found: dict[str, TradeRow] = {}
        while True:
            page = (await self._reads.shaped(call, params, Answer[TradeRow], "okx fills")).data
            last = len(page) < facts.PAGE
            note_page(found, {row.billId: row for row in page}, "okx fills", last=last)
            if last:
                return _oldest_first(found.values(), contract, since_ms)
            params = params | {"after": page[-1].billId}


def _oldest_first(rows: Iterable[TradeRow], contract: Contract, since_ms: int) -> list[FillReport]:
    """Within a millisecond by the venue's own numbers, which are longer where they are later."""
    told = [(trade_report(row, contract, Source.REST), row.billId) for row in rows]
    told.sort(key=lambda one: (one[0].venue_time_ms, len(one[1]), one[1]))
    return [report for report, _ in told if report.venue_time_ms >= since_ms]
