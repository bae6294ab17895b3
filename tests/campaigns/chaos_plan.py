"""What one seed of the chaos campaign means: venues, settings, waves, and what goes wrong when. A pure function."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any

from msgspec import Struct, field

from core.errors import ConfigError
from tests.builders_config import some_settings
from tests.campaigns.chaos_faults import BAN_STATUS, ENDURING, a_fault, kinds_at
from tests.campaigns.chaos_outside import Outside, limits_of, outside
from tools.bench.venues import VENUES

COINS = ("BTC", "ETH", "SOL", "XRP", "DOGE", "ADA")
LISTED = 8
"""The fewest with which every venue lists all of `COINS`; the others only cost time."""
CALM_SECONDS = 120.0
"""After the last fault ended; then everything must be as the venues have it."""
BANNED_SECONDS = 660.0
"""Bybit bans for ten minutes, and a refused key is tried again that seldom at every venue."""
FIRST_SECONDS = 2.0
LAST_WAVE_BEFORE_END = 6.0
EXIT_SETS: tuple[Mapping[str, Any], ...] = (
    {},
    {"TAKE_PROFIT_PERCENT": "0.8"},
    {"TAKE_PROFIT_STEPS": "0.4:50,1:50"},
    {"TAKE_PROFIT_STEPS": "0.5:40", "TP_ORDER_STYLE": "TAKE_PROFIT"},
    {"TAKE_PROFIT_PERCENT": "0.6", "TP_ORDER_STYLE": "TAKE_PROFIT"},
    {"GIVEBACK_FROM_PERCENT": "0.4", "GIVEBACK_PERCENT": "40"},
    {"TIME_LIMIT_HOURS": "0.006"},
    {"MAX_POSITION_AGE_HOURS": "0.004", "AGED_GRACE_PERIOD_HOURS": "0.004"},
)


class Happening(Struct, frozen=True, kw_only=True):
    """`at_s` counts from the start. `what`: fault, price, command, cancel, owner, kill_file, disk, stop or kill."""

    at_s: float
    what: str
    venue: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        said = ", ".join(f"{name} {value}" for name, value in self.details.items())
        return f"{self.what}: {said}" if said else self.what


class Plan(Struct, frozen=True, kw_only=True):
    """`chaos_s`: when everything that was broken is whole again. `waves` are lines of a signal script, `server` those
    with what the signal server does wrong."""

    seed: int
    venues: tuple[str, ...]
    world: Mapping[str, Any]
    settings: Mapping[str, Any]
    waves: tuple[Mapping[str, Any], ...]
    server: tuple[Mapping[str, Any], ...]
    happenings: tuple[Happening, ...]
    chaos_s: float
    calm_s: float = CALM_SECONDS


def plan_of(seed: int) -> Plan:
    """The same for the same seed, whatever else was drawn before."""
    chance = Random(f"chaos/{seed}")
    venues = tuple(chance.sample(sorted(VENUES), chance.choices((1, 2, 3), (6, 2, 2))[0]))
    chaos_s = round(chance.uniform(30.0, 90.0), 1)
    happenings = [
        *_faults(chance, venues, chaos_s),
        *_moves(chance, venues, chaos_s),
        *_people(chance, venues, chaos_s),
        *_ends(chance, chaos_s),
    ]
    world, settings = _world(chance, seed), _settings(chance, seed, venues)
    waves = tuple(_waves(chance, seed, venues, chaos_s))
    around = outside(seed, waves, chaos_s)
    happenings += _outside(around)
    return Plan(
        seed=seed,
        venues=venues,
        world=world,
        settings=settings,
        waves=waves,
        server=around.lines,
        happenings=tuple(sorted(happenings, key=lambda happening: happening.at_s)),
        chaos_s=chaos_s,
        calm_s=max(_calm(venue, happenings) for venue in venues),
    )


def _calm(venue: str, happenings: Sequence[Happening]) -> float:
    """The question about a refused key may meet a ban, and is then asked as late again."""
    kinds = {happening.details["kind"] for happening in happenings if happening.venue == venue and _bans(happening)}
    return BANNED_SECONDS * len(kinds) if kinds else CALM_SECONDS


def _bans(happening: Happening) -> bool:
    kind, status = happening.details.get("kind"), happening.details.get("status")
    return kind == "revoke_key" or (kind, status, happening.venue) == ("rate_limit", BAN_STATUS["bybit"], "bybit")


def symbol(venue: str, coin: str) -> str:
    """As that venue writes it."""
    return f"{coin}-USDT-SWAP" if venue == "okx" else f"{coin}USDT"


def _world(chance: Random, seed: int) -> dict[str, Any]:
    return {
        "seed": seed,
        "latency_ms": chance.choice((0.0, 20.0, 60.0, 150.0, 250.0)),
        "jitter_ms": chance.choice((0.0, 0.0, 10.0, 40.0)),
        "symbols": LISTED,
        "tick_hz": 1.0,
        "speed": chance.choice((1.0, 1.0, 6.0, 15.0)),
        "position_mode": "hedge" if chance.random() < 0.15 else "oneway",
    }


def _outside(around: Outside) -> Iterator[Happening]:
    for what, windows in (("kill_file", around.kill_file), ("disk", around.disk)):
        for since, until in windows:
            yield Happening(at_s=since, what=what, details={"on": True})
            yield Happening(at_s=until, what=what, details={"on": False})
    for at_s, which in around.cancels:
        yield Happening(at_s=at_s, what="cancel", details={"which": which})
    for at_s in around.asks:
        for name in ("status", "risk"):
            yield Happening(at_s=at_s, what="command", details={"command": name})


def _settings(chance: Random, seed: int, venues: tuple[str, ...]) -> dict[str, Any]:
    """Drawn until the daemon takes them: some rules would never act beside others, and it says so."""
    while True:
        given = {**_draw_settings(chance, venues), **limits_of(seed)}
        try:
            some_settings(**{name: str(value) for name, value in {**given, "DEFAULT_EXCHANGE": "binance"}.items()})
        except ConfigError:
            continue
        return given


def _draw_settings(chance: Random, venues: tuple[str, ...]) -> dict[str, Any]:
    stop = chance.choice(("1", "1.5", "2", "3"))
    return {
        "STOP_LOSS_PERCENT": stop,
        "TRAILING_MODE": chance.choices(("managed", "native", "off"), (6, 3, 1))[0],
        "TRAILING_ACTIVATION_PERCENT": chance.choice(("0.3", "0.6", "1.5")),
        "TRAILING_CALLBACK_PERCENT": chance.choice(("0.2", "0.4")),
        "TRAILING_MIN_UPDATE_INTERVAL_SECONDS": chance.choice((2, 10, 30)),
        "BREAKEVEN_ACTIVATION_PERCENT": chance.choice(("0", "0.5")),
        "ENTRY_ORDER_TYPE": chance.choices(("market", "limit_ioc"), (3, 1))[0],
        "WORKING_TYPE": chance.choice(("MARK_PRICE", "MARK_PRICE", "CONTRACT_PRICE")),
        "EXTERNAL_POSITIONS": chance.choice(("protect", "protect", "manage", "ignore")),
        "MAX_POSITIONS": chance.choice((2, 4, 20)),
        "MAX_TRADES_PER_WAVE": chance.choice((2, 5, 20)),
        "LEVERAGE": chance.choice((5, 10)),
        "DEFAULT_EXCHANGE": venues[0],
        "SIGNAL_MAX_PRICE_CHANGE_5MIN_PERCENT": 0,
        "PRICE_DIVERGENCE_REFUSE_PERCENT": 50,
        "SL_STREAK_LIMIT": chance.choice((2, 1000, 1000)),
        "MAX_DAILY_LOSS": chance.choice((5, 1_000_000, 1_000_000)),
        "MAX_DRAWDOWN_PERCENT": chance.choice((0, 0, 0, 1)),
        "VENUE_ERRORS_LIMIT": chance.choice((0, 5)),
        **chance.choice(EXIT_SETS),
    }


def _waves(chance: Random, seed: int, venues: tuple[str, ...], chaos_s: float) -> Iterator[Mapping[str, Any]]:
    at_s, number = FIRST_SECONDS + chance.uniform(0.0, 3.0), 0
    while at_s < chaos_s - LAST_WAVE_BEFORE_END:
        coins = chance.sample(COINS, chance.randint(1, len(COINS)))
        signals = [_signal(chance, f"{seed}-{number}-{coin}", chance.choice(venues), coin) for coin in coins]
        yield {"at_ms": round(at_s * 1000), "signals": signals}
        at_s += chance.uniform(3.0, 18.0)
        number += 1


def _signal(chance: Random, name: str, venue: str, coin: str) -> dict[str, Any]:
    signal: dict[str, Any] = {
        "id": name,
        "exchange": venue,
        "pair_symbol": f"{coin}USDT",
        "direction": chance.choice(("LONG", "SHORT")),
        "total_score": chance.randint(50, 99),
        "timestamp": "$now",
    }
    if chance.random() < 0.2:
        signal |= {"stop_loss_filter": chance.choice(("0.8", "2.5"))}
    if chance.random() < 0.2:
        signal |= {"take_profit_filter": chance.choice(("0.5", "2"))}
    if chance.random() < 0.1:
        signal |= {"time_limit_minutes": 1}
    return signal


def _faults(chance: Random, venues: tuple[str, ...], chaos_s: float) -> Iterator[Happening]:
    for _ in range(chance.choices((0, 1, 2, 3, 5, 8), (1, 2, 3, 3, 2, 1))[0]):
        venue = chance.choice(venues)
        at_s = round(chance.uniform(0.0, chaos_s - 5.0), 2)
        kind = chance.choice(kinds_at(venue))
        table = a_fault(chance, kind, venue, symbol(venue, chance.choice(COINS)), chaos_s - at_s)
        yield Happening(at_s=at_s, what="fault", venue=venue, details=table)
        if kind in ENDURING and chance.random() < 0.3:  # struck twice, perhaps while the first is being mended
            again = round(min(at_s + chance.uniform(0.5, 10.0), chaos_s - 1.0), 2)
            yield Happening(at_s=again, what="fault", venue=venue, details={**table, "duration_ms": 1_000.0})


def _moves(chance: Random, venues: tuple[str, ...], chaos_s: float) -> Iterator[Happening]:
    """Trends, and gaps; the rest of the market walks by itself."""
    for _ in range(chance.choices((0, 1, 3), (2, 3, 2))[0]):
        venue, coin = chance.choice(venues), chance.choice(COINS)
        at_s, step = chance.uniform(3.0, chaos_s - 5.0), chance.choice((-1, 1)) * chance.uniform(0.0005, 0.006)
        for _ in range(chance.randint(3, 20)):
            if at_s >= chaos_s:
                break
            yield _move(at_s, venue, coin, 1 + step)
            at_s += chance.uniform(0.4, 2.5)
    for _ in range(chance.choices((0, 1, 2), (3, 2, 1))[0]):
        size = chance.choice((-1, 1)) * chance.uniform(0.01, 0.12)
        yield _move(chance.uniform(3.0, chaos_s), chance.choice(venues), chance.choice(COINS), 1 + size)


def _move(at_s: float, venue: str, coin: str, factor: float) -> Happening:
    details = {"symbol": symbol(venue, coin), "factor": str(round(factor, 5))}
    return Happening(at_s=round(at_s, 2), what="price", venue=venue, details=details)


def _people(chance: Random, venues: tuple[str, ...], chaos_s: float) -> Iterator[Happening]:
    """The operator at the daemon, and the owner at the venue."""
    for _ in range(chance.choices((0, 1, 3), (3, 2, 1))[0]):
        at_s = chance.uniform(3.0, chaos_s - 1.0)
        name = chance.choice(("pause", "reduce", "close", "close", "panic"))
        about: dict[str, Any] = {"command": name}
        if chance.random() < 0.4:
            about["venue"] = chance.choice(venues)
        if name == "close" and chance.random() < 0.6:
            about["symbol"] = f"{chance.choice(COINS)}USDT"
        yield Happening(at_s=round(at_s, 2), what="command", details=about)
        if name != "close" and chance.random() < 0.7:
            later = min(at_s + chance.uniform(2.0, 15.0), chaos_s)
            yield Happening(at_s=round(later, 2), what="command", details={"command": "resume"})
    for _ in range(chance.choices((0, 1, 3), (5, 2, 1))[0]):
        venue = chance.choice(venues)
        details = {
            "does": chance.choice(("reduce", "close", "add", "open", "turn", "cancel_stop")),
            "symbol": symbol(venue, chance.choice(COINS)),
            "side": chance.choice(("buy", "sell")),
        }
        yield Happening(at_s=round(chance.uniform(4.0, chaos_s - 1.0), 2), what="owner", venue=venue, details=details)


def _ends(chance: Random, chaos_s: float) -> Iterator[Happening]:
    """Of the process: killed, or stopped in peace; started again after `down_s`."""
    for _ in range(chance.choices((0, 1, 2, 3), (5, 4, 2, 1))[0]):
        what = chance.choice(("kill", "kill", "stop"))
        down_s = round(chance.choice((0.0, 0.5, 3.0, 12.0)) * chance.uniform(0.5, 1.0), 2)
        yield Happening(at_s=round(chance.uniform(0.3, chaos_s), 2), what=what, details={"down_s": down_s})
