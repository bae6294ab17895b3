"""Answers of the simulated venue, changed on their way to the daemon."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from tests.fakes import sim_transport
from tools.venuesim.wire import Dropped, Request, Response

Change = Callable[[str, Any], Any]
"""(what was asked, e.g. "POST /fapi/v1/order"; the decoded answer) -> the answer to deliver."""


def changed(monkeypatch: pytest.MonkeyPatch, change: Change) -> None:
    """Every good answer passes `change` first."""
    submit = sim_transport.SimHttp._submit

    async def submit_and_change(http: sim_transport.SimHttp, request: Request) -> Response | Dropped:
        answer = await submit(http, request)
        if isinstance(answer, Dropped) or answer.status != 200:
            return answer
        told = change(f"{request.method} {request.path}", json.loads(answer.body))
        return replace(answer, body=json.dumps(told).encode())

    monkeypatch.setattr(sim_transport.SimHttp, "_submit", submit_and_change)


def without(key: str, told: Any) -> Any:
    """`told` with no field of that name at any depth."""
    if isinstance(told, dict):
        return {name: without(key, value) for name, value in told.items() if name != key}
    return [without(key, row) for row in told] if isinstance(told, list) else told
