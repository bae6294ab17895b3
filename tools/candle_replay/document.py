"""A replay's result as plain values: what JSON prints, and what the table and the page are made of.

Nothing of the host is in it: no clock, no folder, no order of a dictionary that is not stated.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from msgspec import Struct

from core.clock import iso_utc
from core.config import Settings
from core.domain.money import HUNDRED, ZERO, plain
from core.domain.signal import Side
from core.settings.display import shown_value
from core.settings.fields import entries
from tools.candle_replay.candles import Recording
from tools.candle_replay.request import FILTER_OF_FIVE_MINUTES, FIVE_MINUTES_MS, FUNDING_HOURS, Prepared, Request
from tools.candle_replay.results import Figures, Trade, figures
from tools.candle_replay.session import Outcome

PATH = (
    "Each candle is played as open, the extreme against the open position, the other extreme, close: straight lines of "
    "equal time. Without a position the side is that of the entry under way."
)
DECISIONS = (
    "The strategy sees closed candles only. What it says is acted on at the next candle's open; the order arrives "
    "--latency-ms later, and so does every answer."
)
FILLS = (
    "Whatever takes is filled at the worse of the prices when it left and when it arrived, half the spread and the "
    "slippage beyond it. Depth is not limited."
)
STOPS = (
    "Last, mark and index price are one. A stop fires when the path reaches it, or at the open of a candle that begins "
    "beyond it, and is filled like a market order."
)
UNFILTERED = (
    "These candles are too long to tell the move of five minutes, so that its filter lets every signal pass; "
    f"--set {FILTER_OF_FIVE_MINUTES}=refuse has it refuse them all."
)
UNTRIED = (
    "Open interest is not in the file: the simulator's figure stands in. Nothing is lost, late or refused by a network."
)
POINTS = 500
"""Of the equity in the document."""


class Result(Struct, frozen=True, kw_only=True):
    """A replay that is done, with what it was asked."""

    request: Request
    prepared: Prepared
    outcome: Outcome

    @property
    def recording(self) -> Recording:
        return self.prepared.recording

    @property
    def trades(self) -> Sequence[Trade]:
        return self.outcome.recorder.trades

    @property
    def figures(self) -> Figures:
        span_ms = len(self.recording.candles) * self.recording.length_ms
        return figures(self.trades, self.outcome.equity, self.request.balance, span_ms)


def document(result: Result) -> dict[str, Any]:
    """Numbers are text where they are money or prices, so that nothing is rounded twice."""
    recorder = result.outcome.recorder
    return {
        "replay": _asked(result),
        "figures": _figures(result.figures),
        "exit_reasons": exit_reasons(result.trades),
        "signals": {
            "given": recorder.signals,
            "entered": recorder.entered,
            "refused": dict(by_number(recorder.refusals)),
        },
        "trades": [_trade(number, trade) for number, trade in enumerate(result.trades, start=1)],
        "equity": [[p.time_ms, f"{p.equity:.4f}"] for p in thinned(result.outcome.equity, POINTS)],
        "assumptions": assumptions(result),
        "settings": changed_settings(result.prepared.settings),
    }


def assumptions(result: Result) -> list[str]:
    request, fee = result.request, result.prepared.account.simulated.taker_fee * HUNDRED
    costs = (
        f"Spread {plain(request.costs.spread)} %, slippage {plain(request.costs.slippage)} %, fee {plain(fee)} % a "
        f"trade, funding {plain(request.funding_percent)} % every {FUNDING_HOURS} h, latency {request.latency_ms:g} ms "
        "each way."
    )
    coarse = [UNFILTERED] if _lets_unknown_moves_pass(result) else []
    return [PATH, DECISIONS, FILLS, STOPS, costs, *coarse, UNTRIED]


def _lets_unknown_moves_pass(result: Result) -> bool:
    on_missing = result.prepared.settings.signals.price_change_5min_on_missing
    return on_missing == "pass" and result.recording.length_ms > FIVE_MINUTES_MS


def exit_reasons(trades: Sequence[Trade]) -> list[dict[str, Any]]:
    """How often each closed a position and what these came to, most frequent first."""
    groups: defaultdict[str, list[Decimal]] = defaultdict(list)
    for trade in trades:
        groups[trade.reason].append(trade.net)
    rows = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    return [
        {"reason": reason, "count": len(nets), "wins": sum(net > 0 for net in nets), "net": money(sum(nets, ZERO))}
        for reason, nets in rows
    ]


def by_number(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda row: (-row[1], row[0]))


def changed_settings(settings: Settings) -> dict[str, str]:
    """Those that are not as the program has them by itself; access to venues left out."""
    rows = {}
    for entry in entries(Settings):
        if entry.path[0] in ("binance", "bybit", "okx", "telegram", "process") or entry.secret:
            continue
        group, name = entry.path
        if getattr(getattr(settings, group), name) != entry.default:
            rows[entry.env] = shown_value(settings, entry)
    return dict(sorted(rows.items()))


def thinned(points: Sequence[Any], most: int) -> list[Any]:
    """At most about so many, evenly chosen, the last one always."""
    if len(points) <= most:
        return list(points)
    step = -(-len(points) // most)
    return [*points[:-1:step], points[-1]]


def money(value: Decimal) -> str:
    return plain(round(value, 4))


def side_name(trade: Trade) -> str:
    return "long" if trade.side is Side.BUY else "short"


def _asked(result: Result) -> dict[str, Any]:
    request, recording = result.request, result.recording
    first, last = recording.candles[0].open_ms, recording.candles[-1].open_ms + recording.length_ms
    return {
        "strategy": request.strategy,
        "venue": request.venue.value,
        "symbol": result.prepared.account.instrument.id.symbol,
        "timeframe": recording.timeframe,
        "file": request.data.name,
        "from": iso_utc(first),
        "to": iso_utc(last),
        "candles": len(recording.candles),
        "gaps": len(recording.gaps),
        "missing_candles": sum(gap.missing for gap in recording.gaps),
        "balance": plain(request.balance),
        "walked_candles": result.outcome.walked,
        "halted": result.outcome.halted,
    }


def _figures(told: Figures) -> dict[str, Any]:
    return {
        "final_balance": money(told.final),
        "net": money(told.net),
        "return_percent": money(told.return_percent),
        "gross": money(told.gross),
        "fees": money(told.fees),
        "funding": money(told.funding),
        "slippage": money(told.slippage),
        "max_drawdown": money(told.drawdown),
        "max_drawdown_percent": money(told.drawdown_percent),
        "trades": told.trades,
        "wins": told.wins,
        "win_rate_percent": _maybe(told.win_rate),
        "profit_factor": _maybe(told.profit_factor),
        "average_win": _maybe(told.average_win),
        "average_loss": _maybe(told.average_loss),
        "exposure_percent": money(told.exposure_percent),
        "average_held_minutes": _maybe(told.held_minutes),
    }


def _maybe(value: Decimal | None) -> str | None:
    return None if value is None else money(value)


def _trade(number: int, trade: Trade) -> Mapping[str, Any]:
    return {
        "number": number,
        "side": side_name(trade),
        "opened": iso_utc(trade.opened_ms),
        "closed": iso_utc(trade.closed_ms),
        "entry_price": plain(round(trade.entry_price, 8)),
        "exit_price": plain(round(trade.exit_price, 8)),
        "quantity": plain(trade.quantity),
        "gross": money(trade.gross),
        "fees": money(trade.fees),
        "funding": money(trade.funding),
        "slippage": money(trade.slippage),
        "net": money(trade.net),
        "net_percent": money(trade.percent),
        "score": None if trade.score is None else plain(trade.score),
        "exit_reason": trade.reason,
        "detail": trade.detail,
    }
