"""What we say against an order in the very step in which it leaves, after any wait for the request budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.engine.ports import Departure


class Withholding:
    """One venue's orders that are about to leave, by client order id.

    `id_field` is where requests carry it; `rows_field` names the list of a request with several orders, "" where such a
    request is a list itself or there is none.
    """

    def __init__(self, id_field: str, *, rows_field: str = "") -> None:
        self._id_field, self._rows_field = id_field, rows_field
        self._objections: dict[str, Callable[[], str | None]] = {}
        self._withheld: dict[str, str] = {}

    @contextmanager
    def leaving(self, departures: Sequence[Departure]) -> Iterator[Mapping[str, str]]:
        """While these are sent. What it gives tells, by client order id, which were withheld and why; read it before
        the end."""
        mine = {str(departure.intent.client_order_id): departure.objection for departure in departures}
        self._objections |= mine
        try:
            yield self._withheld
        finally:
            for client_id in mine:
                self._objections.pop(client_id, None)
                self._withheld.pop(client_id, None)

    def leave(self, params: Any) -> Any | None:
        """The request as it may leave: itself, or without the orders that are objected to; None when none is left.

        Asks the objection of each order in it. What has no client order id that is leaving is let through.
        """
        if not self._objections:
            return params
        rows = params if isinstance(params, list) else params.get(self._rows_field) if self._rows_field else None
        if not isinstance(rows, list):
            return params if self._may_leave(params) else None
        kept = [row for row in rows if self._may_leave(row)]
        if len(kept) == len(rows):
            return params
        if not kept:
            return None
        return kept if isinstance(params, list) else {**params, self._rows_field: kept}

    def why(self, params: Any) -> str:
        """Why nothing of that request is left."""
        rows = params if isinstance(params, list) else params.get(self._rows_field) if self._rows_field else None
        ids = [str(row.get(self._id_field)) for row in (rows if isinstance(rows, list) else [params])]
        return "; ".join(dict.fromkeys(self._withheld[client_id] for client_id in ids if client_id in self._withheld))

    def _may_leave(self, row: Mapping[str, Any]) -> bool:
        client_id = str(row.get(self._id_field))
        objection = self._objections.get(client_id)
        why = None if objection is None else objection()
        if why is None:
            self._withheld.pop(client_id, None)
            return True
        self._withheld[client_id] = why
        return False
