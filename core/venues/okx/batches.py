"""Several orders in one request: which may leave, and what became of each, judged by its own row.

The envelope's code "1" or "2" says only that some row failed; a row that is missing is an order of unknown fate.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from core.domain.ids import ClientOrderId
from core.domain.order import OrderIntent
from core.domain.reports import OrderStatusReport, Report
from core.engine.ports import About, Accepted, Departure, Outcome, Rejected, Unknown
from core.errors import Ambiguous, RateLimited, Unreachable
from core.venues.client import CommandPolicy, Seam
from core.venues.okx import codes
from core.venues.okx.limits import PLACE_MANY, charge_of
from core.venues.okx.orders import Params
from core.venues.okx.payloads import Ack

Send = Callable[[list[Params]], Awaitable[list[Ack]]]
Acknowledge = Callable[[OrderIntent, Ack], OrderStatusReport]


class Batch:
    """Orders of one request, in the order they were added; used once."""

    def __init__(self, seam: Seam) -> None:
        self._seam = seam
        self._departures: list[Departure] = []
        self._rows: dict[ClientOrderId, Params] = {}
        self._refused: dict[ClientOrderId, Rejected] = {}

    def add(self, departure: Departure, row: Params) -> None:
        self._departures.append(departure)
        self._rows[departure.intent.client_order_id] = row

    def refuse(self, departure: Departure, why: Rejected) -> None:
        """One that cannot even be written down; the others go."""
        self._departures.append(departure)
        self._refused[departure.intent.client_order_id] = why

    async def send(self, send: Send, policy: CommandPolicy, acknowledge: Acknowledge) -> list[Outcome]:
        """Once. An outcome for each, in order."""
        answered: dict[str, Ack] = {}

        async def once() -> tuple[Report, ...]:
            answered.update({ack.clOrdId: ack for ack in await send(list(self._rows.values()))})
            return ()

        with self._seam.withholding.leaving(self._departures) as withheld:
            whole: Outcome = Accepted(reports=())
            if self._rows:
                whole = await policy.run(once, protective=False)
            return [self._outcome(one.intent, whole, withheld, answered, acknowledge) for one in self._departures]

    def _outcome(
        self,
        intent: OrderIntent,
        whole: Outcome,
        withheld: Mapping[str, str],
        answered: dict[str, Ack],
        acknowledge: Acknowledge,
    ) -> Outcome:
        client_id = intent.client_order_id
        if (refused := self._refused.get(client_id)) is not None:
            return refused
        if (why := withheld.get(client_id)) is not None:
            return Rejected(code="", detail=why, about=About.WITHHELD)
        if not isinstance(whole, Accepted):
            return whole
        ack = answered.get(client_id)
        if ack is None:
            return Unknown(cause="the venue's answer does not speak of this order")
        return Accepted(reports=(acknowledge(intent, ack),)) if ack.sCode == "0" else self._judged(ack)

    def _judged(self, ack: Ack) -> Outcome:
        clock = self._seam.clock
        error = codes.ERRORS.error(200, ack.sCode, ack.sMsg, venue_ms=clock.now_ms(), offset_ms=clock.offset_ms)
        if isinstance(error, RateLimited):
            self._seam.pause(error, charge_of("POST", PLACE_MANY, list(self._rows.values()), 0))
        if isinstance(error, Ambiguous):
            return Unknown(cause=str(error))
        unreached = isinstance(error, Unreachable | RateLimited)
        about = About.UNREACHED if unreached else codes.ABOUT.get(error.code, About.OTHER)
        return Rejected(code=error.code, detail=error.what, about=about)
