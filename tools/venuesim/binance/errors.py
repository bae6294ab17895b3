"""Binance error answers: how one is written, and which HTTP status goes with a code."""

from __future__ import annotations

from tools.venuesim.binance.error_texts import TEXTS
from tools.venuesim.json_text import json_bytes
from tools.venuesim.wire import Response

_STATUS = {-2014: 401, -2015: 401, -1003: 429, -1015: 429, -1007: 408, -1008: 503, -5000: 404}


class VenueError(Exception):
    """An answer of the form {"code", "msg"} with its HTTP status; raised by handlers, caught once in the façade."""

    def __init__(self, code: int, *detail: object, text: str | None = None, status: int | None = None) -> None:
        self.code = code
        self.msg = text if text is not None else TEXTS[code].format(*detail)
        self.status = status if status is not None else _STATUS.get(code, 400)
        super().__init__(f"{code}: {self.msg}")

    def body(self) -> dict[str, object]:
        """The JSON object Binance sends, also used for the rows of a batch answer."""
        return {"code": self.code, "msg": self.msg}

    def response(self) -> Response:
        """The whole HTTP answer, without rate-limit headers."""
        return json_response(self.body(), status=self.status, code=self.code)


def json_response(payload: object, *, status: int = 200, code: int | None = None) -> Response:
    """A compact JSON answer; `payload` holds only str, int, float, bool, None, lists and dicts (never Decimal)."""
    body = json_bytes(payload)
    return Response(status=status, headers={"content-type": "application/json"}, body=body, code=code)
