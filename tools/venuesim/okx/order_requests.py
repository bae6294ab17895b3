"""Parameters of orders turned into the engine's commands; sizes come in contracts and leave in base units."""

from __future__ import annotations

import json
import re
from decimal import Decimal

from tools.venuesim.exchange.interface import Exchange
from tools.venuesim.exchange.model import (
    AmendRequest,
    Attachment,
    ConditionalType,
    Order,
    OrderRequest,
    OrderType,
    PositionMode,
    PositionSide,
    SelfTrade,
)
from tools.venuesim.okx.algo_book import GROUP, LEGS
from tools.venuesim.okx.errors import VenueError
from tools.venuesim.okx.formats import Row
from tools.venuesim.okx.params import Params
from tools.venuesim.okx.symbol_table import SymbolTable
from tools.venuesim.okx.words import (
    KIND_OF,
    MARGIN_MODE_OF,
    POSITION_SIDE_OF,
    REFERENCE_OF,
    SELF_TRADE_OF,
    SIDE_OF,
)

_NAME = re.compile(r"[A-Za-z0-9]{1,32}")
_TAG = re.compile(r"[A-Za-z0-9]{1,16}")
_ECHOED = ("ordType", "tdMode", "tag", "ccy", "reduceOnly", "stpMode")
_ATTACHED_FIELDS = (
    "attachAlgoClOrdId", "tpTriggerPx", "tpOrdPx", "tpTriggerPxType", "tpOrdKind", "slTriggerPx", "slOrdPx",
    "slTriggerPxType", "sz", "amendPxOnTriggerType",
)  # fmt: skip
# How attached stops were amended before they came in a list.
_OLD_AMENDMENTS = ("newSlTriggerPx", "newSlOrdPx", "newTpTriggerPx", "newTpOrdPx")
MARKET_PRICE = "-1"
FIRST_ATTACHED_ID = 2_700_000_000_000_000_001


class OrderRequests:
    """Reads parameters as the venue does. Raises ``VenueError`` for those that cannot be."""

    def __init__(self, exchange: Exchange, table: SymbolTable) -> None:
        self._exchange = exchange
        self._table = table
        self._next_attached = FIRST_ATTACHED_ID

    def symbol(self, params: Params) -> str:
        """A contract there is: 50014, 51001, 51015."""
        symbol = params.required("instId")
        if not self._table.knows(symbol):
            raise VenueError(51001)
        return symbol

    def size(self, params: Params, symbol: str, name: str = "sz") -> Decimal | None:
        """Contracts as base units."""
        value = params.decimal(name)
        return None if value is None else self._table.base(symbol, value)

    def position_side(self, params: Params) -> PositionSide:
        """net in net mode, long or short otherwise: 51000."""
        word = params.text("posSide")
        hedge = self._exchange.position_mode is PositionMode.HEDGE
        side = POSITION_SIDE_OF.get(word or "net")
        if side is None or hedge == (side is PositionSide.BOTH):
            raise VenueError(51000, "posSide")
        return side

    def order(self, params: Params) -> OrderRequest:
        """Parameters of trade/order."""
        symbol = self.symbol(params)
        mode = MARGIN_MODE_OF[params.choice("tdMode", tuple(MARGIN_MODE_OF))]
        side = SIDE_OF[params.choice("side", tuple(SIDE_OF))]
        kind, tif = KIND_OF[params.choice("ordType", tuple(KIND_OF))]
        params.required("sz")
        qty = self.size(params, symbol)
        price = params.decimal("px") if kind is OrderType.LIMIT else None
        if kind is OrderType.LIMIT and price is None:
            raise VenueError(50014, "px")
        position_side = self.position_side(params)
        extras = self.echoed(params)
        attached = self.attached(params, symbol, extras)
        return OrderRequest(
            symbol=symbol,
            side=side,
            type=kind,
            qty=qty if qty is not None else Decimal(0),
            price=price,
            position_side=position_side,
            tif=tif,
            reduce_only=params.flag("reduceOnly") and position_side is PositionSide.BOTH,
            client_id=self.name(params, "clOrdId"),
            self_trade=self._self_trade(params),
            attached=attached,
            margin_mode=mode,
            clamp_price=params.text("pxAmendType") == "1",
            extras=extras,
        )

    def amendment(self, params: Params, order: Order) -> AmendRequest:
        """Parameters of trade/amend-order; 51500 where nothing is to change."""
        if any(name in params for name in _OLD_AMENDMENTS):
            raise VenueError(51538)
        qty = self.size(params, order.symbol, "newSz")
        price = params.decimal("newPx")
        legs = params.entries("attachAlgoOrds")
        if qty is None and price is None and not legs:
            raise VenueError(51500)
        extras = {"reqId": params.text("reqId") or ""}
        attached = None
        if legs:
            rows = self._amended_rows(legs, order)
            extras["attachAlgoOrds"] = json.dumps(rows)
            attached = self._legs([Params(row) for row in rows], rows, order.symbol)
        return AmendRequest(
            symbol=order.symbol,
            order_id=order.id,
            qty=qty,
            price=price,
            attached=attached,
            clamp_price=params.text("pxAmendType") == "1",
            extras=extras,
        )

    def name(self, params: Params, key: str) -> str | None:
        """A client's name for something: up to 32 letters and digits, 51000 otherwise."""
        text = params.text(key)
        if text is not None and not _NAME.fullmatch(text):
            raise VenueError(51000, key)
        return text

    def which(self, params: Params, number: str, name: str) -> tuple[int | None, str | None]:
        """One of both; the number goes first."""
        text = params.text(number)
        if text is not None:
            return (int(text) if text.isdecimal() else -1), None
        client_id = params.text(name)
        if client_id is None:
            raise VenueError(51003)
        return None, client_id

    def echoed(self, params: Params) -> dict[str, str]:
        """What rows show again."""
        tag = params.text("tag")
        if tag is not None and not _TAG.fullmatch(tag):
            raise VenueError(51000, "tag")
        params.flag("reduceOnly")
        return {key: value.lower() if key == "reduceOnly" else value
                for key in _ECHOED if (value := params.text(key)) is not None}  # fmt: skip

    def attached(self, params: Params, symbol: str, extras: dict[str, str]) -> tuple[Attachment, ...]:
        """What an order brings along; ``extras`` get it as rows show it."""
        legs = params.entries("attachAlgoOrds")
        if not legs:
            return ()
        rows = []
        for leg in legs:
            self.name(leg, "attachAlgoClOrdId")
            rows.append({"attachAlgoId": str(self._next_attached), **_attached_row(leg)})
            self._next_attached += 1
        extras["attachAlgoOrds"] = json.dumps(rows)
        return self._legs(legs, rows, symbol)

    def _legs(self, legs: list[Params], rows: list[Row], symbol: str) -> tuple[Attachment, ...]:
        found: list[Attachment] = []
        for leg, row in zip(legs, rows, strict=True):
            halves = [half for half in ("sl", "tp") if f"{half}TriggerPx" in leg]
            if not halves:
                raise VenueError(50015, "tpTriggerPx", "slTriggerPx")
            group, name = row["attachAlgoId"], leg.text("attachAlgoClOrdId")
            extras = {
                GROUP: f"attached{group}",
                LEGS: str(len(halves)),
                "algoType": "oco" if len(halves) > 1 else "conditional",
                "algoClOrdId": name or "",
            }
            for half in halves:
                kind, trigger, price = half_of(leg, half)
                found.append(
                    Attachment(
                        kind=kind,
                        trigger_price=trigger,
                        price=price,
                        reference=REFERENCE_OF[leg.choice(f"{half}TriggerPxType", tuple(REFERENCE_OF), "last")],
                        qty=self.size(leg, symbol),
                        client_id=name,
                        pair=group if len(halves) > 1 else None,
                        extras=extras,
                    )
                )
        return tuple(found)

    def _amended_rows(self, legs: list[Params], order: Order) -> list[Row]:
        """The legs an order came with, with the new values on them; 51527 for a leg there is not."""
        rows: list[Row] = json.loads(order.extras.get("attachAlgoOrds", "[]"))
        if not rows:
            raise VenueError(51538)
        for leg in legs:
            names = {"attachAlgoId": leg.text("attachAlgoId"), "attachAlgoClOrdId": leg.text("attachAlgoClOrdId")}
            row = next((row for row in rows if any(value and row[key] == value for key, value in names.items())), None)
            if row is None:
                raise VenueError(51527)
            for half in ("sl", "tp"):
                _amend_half(row, leg, half)
        return [row for row in rows if row["slTriggerPx"] or row["tpTriggerPx"]]

    def _self_trade(self, params: Params) -> SelfTrade:
        return SELF_TRADE_OF[params.choice("stpMode", tuple(SELF_TRADE_OF), "cancel_maker")]


def half_of(params: Params, half: str) -> tuple[ConditionalType, Decimal, Decimal | None]:
    """The stop-loss or take profit half of a leg: kind, trigger and price; both prices are needed."""
    trigger, price = params.decimal(f"{half}TriggerPx"), params.decimal(f"{half}OrdPx")
    if trigger is None:
        raise VenueError(50014, f"{half}TriggerPx")
    if price is None:
        raise VenueError(50014, f"{half}OrdPx")
    limit = price != Decimal(MARKET_PRICE)
    return kind_of(half, limit=limit), trigger, price if limit else None


def kind_of(half: str, *, limit: bool) -> ConditionalType:
    """The neutral type of a half."""
    if half == "sl":
        return ConditionalType.STOP_LIMIT if limit else ConditionalType.STOP
    return ConditionalType.TAKE_PROFIT_LIMIT if limit else ConditionalType.TAKE_PROFIT


def _attached_row(leg: Params) -> Row:
    row = {name: leg.text(name) or "" for name in _ATTACHED_FIELDS}
    for half in ("sl", "tp"):
        if row[f"{half}TriggerPx"]:
            row[f"{half}TriggerPxType"] = row[f"{half}TriggerPxType"] or "last"
    if row["tpTriggerPx"]:
        row["tpOrdKind"] = row["tpOrdKind"] or "condition"
    return {**row, "amendPxOnTriggerType": row["amendPxOnTriggerType"] or "0", "failCode": "", "failReason": ""}


def _amend_half(row: Row, leg: Params, half: str) -> None:
    """New values of a half; "0" deletes it."""
    capital = half.capitalize()
    trigger = leg.decimal(f"new{capital}TriggerPx")
    if trigger is not None and not trigger:
        row |= dict.fromkeys((f"{half}TriggerPx", f"{half}OrdPx", f"{half}TriggerPxType"), "")
        return
    for name in ("TriggerPx", "OrdPx", "TriggerPxType"):
        value = leg.text(f"new{capital}{name}")
        if value is not None:
            row[f"{half}{name}"] = value
    if row[f"{half}TriggerPx"]:
        row[f"{half}OrdPx"] = row[f"{half}OrdPx"] or MARKET_PRICE
        row[f"{half}TriggerPxType"] = row[f"{half}TriggerPxType"] or "last"
