"""What people ask of a bench."""

from core.domain.ids import VenueName
from core.engine.ports import UserStream
from core.engine.queries import Queries
from tests.engine.bench import Bench
from tests.engine.registries import a_registry


def queries(bench: Bench) -> Queries:
    streams: dict[VenueName, UserStream] = dict(bench.streams)
    return Queries(
        build="test",
        orders=bench.orders,
        protection=bench.protection,
        risk=bench.risk,
        waves=bench.waves,
        inflight=bench.inflight,
        exits=bench.exits,
        data=a_registry(),
        reconciler=bench.reconciler,
        money=bench.money,
        streams=streams,
        rights={},
        reference=lambda _instrument, _trigger: None,
        headroom={},
        clock=bench.clock,
    )
