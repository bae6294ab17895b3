"""How much is measured: the full measure, and a quick one that only shows that everything runs."""

from __future__ import annotations

from msgspec import Struct


class Effort(Struct, frozen=True, kw_only=True):
    """Counts of repetitions. `latency_ms` is D, what the simulator answers after.

    Between two waves at least `settle_ms` pass. For `rest_seconds` something is left alone before it is measured.
    `whole_windows`: bursts begin with a window of the venue's order count. `fresh_venues`: a large wave has venues and
    a daemon of its own. `cold_symbols`: so many a venue lists where the last ones must still be unread after the start.
    `exit_symbols` with a position tick for `exit_seconds`; so many are `watched` for that long over all venues.
    `replayed` candles in each of `replays`. `compared`: ccxt does the same beside us. Where a venue's clock and ours
    move against each other by more than `clock_move_ms` during the waves, their times are worth nothing; the probes
    themselves scatter by less than 2.
    """

    latency_ms: float = 250.0
    waves: int = 5
    large_wave: int = 50
    large_waves: int = 3
    ccxt_waves: int = 3
    frame_lives: int = 1_000
    frame_rounds: int = 5
    starts: int = 3
    markets: int = 500
    delays: int = 5
    pause_seconds: float = 5.0
    rest_seconds: float = 3.0
    settle_ms: int = 1_500
    clock_move_ms: float = 2.0
    whole_windows: bool = True
    fresh_venues: bool = True
    burst_orders: int = 1_000
    cpu_orders: int = 24
    cpu_rounds: int = 7
    idle_seconds: float = 30.0
    lag_seconds: float = 600.0
    validations: int = 3
    cold_symbols: int = 120
    replayed: int = 20_000
    replays: int = 3
    exit_symbols: int = 200
    exit_seconds: float = 50.0
    watched: tuple[int, ...] = (100, 250, 500)
    watched_seconds: float = 15.0
    compared: bool = True


FULL = Effort()
QUICK = Effort(
    latency_ms=20.0,
    waves=1,
    large_wave=8,
    large_waves=1,
    ccxt_waves=1,
    frame_lives=20,
    frame_rounds=1,
    starts=1,
    markets=40,
    delays=1,
    pause_seconds=0.2,
    rest_seconds=0.5,
    settle_ms=1_000,
    clock_move_ms=1_000.0,
    whole_windows=False,
    fresh_venues=False,
    burst_orders=20,
    replayed=600,
    replays=1,
    exit_symbols=20,
    exit_seconds=1.5,
    watched=(30, 60),
    watched_seconds=1.0,
    cpu_orders=12,
    cpu_rounds=1,
    idle_seconds=1.0,
    lag_seconds=2.0,
    validations=1,
    cold_symbols=50,
)
