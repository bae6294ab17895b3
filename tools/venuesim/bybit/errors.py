"""Answers of the venue: the envelope around every one of them, and what an error carries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tools.venuesim.bybit.error_texts import TEXTS
from tools.venuesim.json_text import json_bytes
from tools.venuesim.wire import Response

Row = dict[str, Any]
OK = "OK"


class VenueError(Exception):
    """A refusal: its code goes into ``retCode`` of an answer with HTTP status 200."""

    def __init__(self, code: int, text: str | None = None, *, result: Row | None = None, detail: object = "") -> None:
        details = detail if isinstance(detail, tuple) else (detail,)
        self.code = code
        self.text = text if text is not None else worded(code, *details)
        self.result: Row = result or {}
        super().__init__(f"{code}: {self.text}")


def worded(code: int, *details: object) -> str:
    """The venue's text of a code; details it has no place for are dropped, missing ones are left empty."""
    text = TEXTS.get(code, TEXTS[10001])
    return text.format(*details, *[""] * text.count("{}"))


def envelope(
    result: object, now_ms: int, *, code: int = 0, message: str = OK, extra: Mapping[str, object] | None = None
) -> Row:
    """What is around every answer; ``extra`` is retExtInfo."""
    return {"retCode": code, "retMsg": message, "result": result, "retExtInfo": dict(extra or {}), "time": now_ms}


def json_response(payload: object, *, status: int = 200, code: int | None = None) -> Response:
    """A compact JSON answer. ``payload`` holds no Decimal."""
    body = json_bytes(payload)
    return Response(status=status, headers={"content-type": "application/json; charset=utf-8"}, body=body, code=code)


def page(status: int, text: str) -> Response:
    """What the network in front of the venue answers: not JSON."""
    body = f"<html><head><title>{status}</title></head><body>{text}</body></html>"
    return Response(status=status, headers={"content-type": "text/html"}, body=body.encode(), code=None)
