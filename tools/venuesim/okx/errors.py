"""Answers of the venue: the envelope around every one of them, and what an error carries."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

from tools.venuesim.json_text import json_bytes
from tools.venuesim.okx.formats import Row
from tools.venuesim.wire import Response

_TABLE = Path(__file__).resolve().parent.parent / "data" / "okx_error_codes.json"
_PLACE = re.compile(r"\$?\{[^{}]*\}")
OK = "0"
ALL_FAILED = "1"
PARTLY_FAILED = "2"


@cache
def _table() -> dict[str, tuple[int, str]]:
    rows = json.loads(_TABLE.read_text(encoding="utf-8"))
    return {code: (status, text) for code, (status, text) in rows.items()}


_table()  # read while modules are loaded: nothing may block the loop later


def text_of(code: str, *details: object) -> str:
    """The documented text of a code, its places filled in order; places without a detail are left empty."""
    _, text = _table().get(code, (200, "Operation failed."))
    rest = iter(details)
    return _PLACE.sub(lambda _: str(next(rest, "")), text)


def status_of(code: str) -> int:
    """The HTTP status that goes with a code; 200 for codes that are not documented."""
    return _table().get(code, (200, ""))[0]


class VenueError(Exception):
    """A refusal. At the top level it is the answer's code, inside an item of an answer its sCode."""

    def __init__(self, code: str | int, *details: object, text: str | None = None, status: int | None = None) -> None:
        self.code = str(code)
        self.text = text if text is not None else text_of(self.code, *details)
        self.status = status if status is not None else status_of(self.code)
        super().__init__(f"{self.code}: {self.text}")

    def response(self) -> Response:
        """The whole HTTP answer."""
        return json_response(answer([], code=self.code, msg=self.text), status=self.status, code=self.code)


def answer(rows: list[Row], *, code: str = OK, msg: str = "", **more: object) -> Row:
    """The envelope of an answer."""
    return {"code": code, "data": rows, "msg": msg, **more}


def json_response(payload: object, *, status: int = 200, code: str | None = None) -> Response:
    """A compact JSON answer. ``payload`` holds no Decimal."""
    body = json_bytes(payload)
    return Response(status=status, headers={"content-type": "application/json"}, body=body, code=code)


def page(status: int, text: str) -> Response:
    """What the network in front of the venue answers: not JSON."""
    body = f"<html><head><title>{status}</title></head><body>{text}</body></html>"
    return Response(status=status, headers={"content-type": "text/html"}, body=body.encode())
