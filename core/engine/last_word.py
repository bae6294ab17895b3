"""LastWord: asked of every entry in the very step in which it leaves, after any wait for the venue's request budget.

Between approval and wire trading may have been stopped (RSK-11), the signal may have expired, the price may have gone
(NET-10). Reduce-only orders are never asked about.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from core.domain.ids import ClientOrderId
from core.domain.order import OrderIntent
from core.domain.verdict import Denied

REMEMBERED = 1_000

Objection = Callable[[OrderIntent], Denied | None]


class LastWord:
    def __init__(self) -> None:
        self._objections: list[Objection] = []
        self._withheld: OrderedDict[ClientOrderId, Denied] = OrderedDict()

    def give(self, objection: Objection) -> None:
        """Add somebody who may object to an entry. Synchronous and cheap; must not raise."""
        self._objections.append(objection)

    def on(self, intent: OrderIntent) -> str | None:
        """Why `intent` must not leave any more, None = it may."""
        for objection in () if intent.reduce_only else self._objections:
            if (denied := objection(intent)) is not None:
                self._withheld[intent.client_order_id] = denied
                while len(self._withheld) > REMEMBERED:
                    self._withheld.popitem(last=False)
                return str(denied)
        return None

    def withheld(self, client_order_id: ClientOrderId) -> Denied | None:
        """Why this approved entry never left."""
        return self._withheld.get(client_order_id)
