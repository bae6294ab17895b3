"""Disconnect protection: orders are cancelled when the last connection that armed it stays away too long."""

from __future__ import annotations

from tools.venuesim.bybit.errors import VenueError
from tools.venuesim.bybit.params import Params
from tools.venuesim.wire import Host, Timer

TOPIC = "dcp.future"
"""Whoever listens to it arms the switch; nothing is ever told there."""
_SHORTEST_S, _LONGEST_S, _USUAL_S = 3, 300, 10


class DeadMansSwitch:
    """Off until it is configured. It cancels what works in the book; stops that wait are left in place."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._timer: Timer | None = None
        self.is_on = False
        self.window_s = _USUAL_S

    def configure(self, params: Params) -> None:
        """``timeWindow`` of 3 to 300 seconds; 10001 for others."""
        window_s = params.integer("timeWindow")
        if window_s is None or not _SHORTEST_S <= window_s <= _LONGEST_S:
            raise VenueError(10001, "params error: timeWindow invalid")
        self.window_s, self.is_on = window_s, True

    def lost(self) -> None:
        """The last connection that armed it is gone."""
        if self.is_on:
            self.back()
            self._timer = self._host.call_later(self.window_s * 1_000, self._fire)

    def back(self) -> None:
        """Somebody armed it again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        self._timer = None
        self._host.exchange.cancel_all()
