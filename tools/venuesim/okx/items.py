"""Answers that speak of items: each with a code of its own, and one over all of them."""

from __future__ import annotations

from collections.abc import Sequence

from tools.venuesim.okx.errors import ALL_FAILED, OK, PARTLY_FAILED, VenueError, answer, text_of
from tools.venuesim.okx.formats import Row, stamp
from tools.venuesim.okx.params import Params
from tools.venuesim.okx.routing import Items, Route
from tools.venuesim.wire import Lane

_ALGO_CALLS = ("order-algo", "amend-algos", "cancel-algos")
_MALFORMED = ("50014", "50015")
_RETIRED = "50005"


def carried_out(route: Route, path: str, items: Sequence[Params], now_ms: int) -> Row:
    """Every item by itself, in their order; a refused one does not hold up the others.

    Raises ``VenueError`` for a single item that lacks a parameter: there the code stands over the whole answer.
    """
    rows = []
    for item in items:
        try:
            rows += route.handler(item)
        except VenueError as error:
            if error.code == _RETIRED or (route.items is Items.ONE and error.code in _MALFORMED):
                raise
            rows.append(refused(route, path, item, error, now_ms))
    return judged(rows)


def judged(rows: list[Row]) -> Row:
    """The envelope: 0 when all went well, 1 when none did, 2 for some."""
    failed = sum(row["sCode"] != OK for row in rows)
    if not failed:
        return answer(rows)
    code = ALL_FAILED if failed == len(rows) else PARTLY_FAILED
    return answer(rows, code=code, msg=text_of(code))


def refused(route: Route, path: str, item: Params, error: VenueError, now_ms: int) -> Row:
    """The row of an item that was not taken."""
    if path.rsplit("/", 1)[-1] in _ALGO_CALLS:
        row = {"algoClOrdId": item.text("algoClOrdId") or "", "algoId": item.text("algoId") or ""}
    else:
        row = {"clOrdId": item.text("clOrdId") or "", "ordId": item.text("ordId") or "", "ts": stamp(now_ms)}
    if route.lane is Lane.AMEND:
        row["reqId"] = item.text("reqId") or ""
    elif route.lane in (Lane.ORDER, Lane.STOP):
        row["tag"] = item.text("tag") or ""
    return {**row, "sCode": error.code, "sMsg": error.text}
