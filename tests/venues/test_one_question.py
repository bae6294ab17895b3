"""A look at a venue that does not serve is one question, and that may be several requests at once."""

import pytest

from core.engine.ports import Condition, VenueHealth
from core.errors import Refused
from core.venues.binance.facts import ERRORS
from core.venues.health import KEY_LOOK_SECONDS, HealthMonitor


class _Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def now_ms(self) -> int:
        return int(self.now * 1_000)


def test_all_requests_of_one_look_at_a_refused_key_go_out_and_those_after_it_wait() -> None:
    clock, told = _Clock(), list[VenueHealth]()
    health = HealthMonitor(ERRORS, clock, told.append, jitter=lambda: 1.0)
    health.failed(Refused("binance", "no such key", code="-2015", status=401), signed=True, reading=True)
    assert [change.condition for change in told] == [Condition.KEY_REFUSED]
    with pytest.raises(Refused):
        health.admit(signed=True, protective=False)
    clock.now += KEY_LOOK_SECONDS
    for _ in range(5):  # lists that are read together: one held back would take the others with it
        health.admit(signed=True, protective=False)
    clock.now += 1
    with pytest.raises(Refused):
        health.admit(signed=True, protective=False)
