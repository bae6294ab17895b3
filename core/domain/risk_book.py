"""What results make of the right to open positions: the day's loss, the row of stops, the drawdown, the cooldowns.

Each limit that is reached begins one episode (RSK-05), which holds entries back until it ends by itself at 00:00 UTC or
until somebody resumes. Endings are always looked for before new blocks (RSK-03).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct, field
from msgspec.structs import replace

from core.domain.cooldown import CloseKind, CooldownRules, LastClose, cooldown_gate
from core.domain.day import DayAccount, day_of, end_of
from core.domain.equity import Equity
from core.domain.gate import Gate, passed, refused
from core.domain.ids import InstrumentId
from core.domain.money import ZERO, plain
from core.domain.position import PositionKey
from core.domain.signal import Side
from core.domain.verdict import Reason


class Limit(StrEnum):
    """The limits that hold entries back until something lifts them."""

    DAY_LOSS = "day_loss"
    STREAK = "streak"
    DRAWDOWN = "drawdown"


_REASON = {
    Limit.DAY_LOSS: Reason.DAY_LOSS,
    Limit.STREAK: Reason.STOP_STREAK,
    Limit.DRAWDOWN: Reason.DRAWDOWN,
}


class ResultRules(Struct, frozen=True, kw_only=True):
    """`max_daily_loss` in quote coin, `max_drawdown_percent` of the equity's peak (10 = ten percent, 0 = off)."""

    max_daily_loss: Decimal
    streak_limit: int
    max_drawdown_percent: Decimal = ZERO
    cooldowns: CooldownRules = field(default_factory=CooldownRules)

    def text(self, limit: Limit) -> str:
        """The setting and its value."""
        match limit:
            case Limit.DAY_LOSS:
                return f"MAX_DAILY_LOSS={plain(self.max_daily_loss)}"
            case Limit.STREAK:
                return f"SL_STREAK_LIMIT={self.streak_limit}"
            case Limit.DRAWDOWN:
                return f"MAX_DRAWDOWN_PERCENT={plain(self.max_drawdown_percent)}"


class Episode(Struct, frozen=True, kw_only=True):
    """A limit was reached: one action, one alert. `until_ms` UTC, None = until somebody resumes."""

    limit: Limit
    what: str
    since_ms: int
    until_ms: int | None


class RiskBook(Struct, frozen=True, kw_only=True):
    """`streak` is how many stops in a row have lost since 00:00 UTC or the last winning close."""

    day: DayAccount
    streak: int = 0
    equity: Equity = field(default_factory=Equity)
    episodes: Mapping[Limit, Episode] = field(default_factory=dict)
    closes: Mapping[PositionKey, LastClose] = field(default_factory=dict)
    """The newest of each symbol and side: what closes on one side ends no wait of the other."""

    def judged(self, rules: ResultRules, now_ms: int) -> RiskBook:
        """With what is over taken away, then with what is reached now; the same object when nothing changed."""
        return _with_reached(self._rolled(now_ms), rules, now_ms)

    def resumed(self) -> RiskBook:
        """Somebody accepts what happened: the limits that were reached count anew from here. One that was not goes on
        counting, or a resume now and then would keep it from ever being reached; cooldowns go on, too."""
        return replace(
            self,
            day=self.day.forgave() if Limit.DAY_LOSS in self.episodes else self.day,
            streak=0 if Limit.STREAK in self.episodes else self.streak,
            equity=self.equity.begun_anew() if Limit.DRAWDOWN in self.episodes else self.equity,
            episodes={},
        )

    def with_close(
        self, instrument: InstrumentId, close: LastClose, *, by_stop: bool, rules: CooldownRules
    ) -> RiskBook:
        """A position is gone. Only a stop that lost lengthens the row, only a win of our own doing ends it."""
        streak = 0 if close.kind is CloseKind.WIN and not close.external else self.streak
        if by_stop and close.kind is CloseKind.LOSS and not close.external:
            streak += 1
        oldest = close.at_ms - rules.longest_ms
        closes = {key: kept for key, kept in self.closes.items() if kept.at_ms > oldest}
        return replace(self, streak=streak, closes={**closes, PositionKey(instrument, close.side): close})

    def gates(self, instrument: InstrumentId, side: Side, rules: ResultRules, now_ms: int) -> tuple[Gate, ...]:
        figures = {
            Limit.DAY_LOSS: plain(self.day.counted_loss),
            Limit.STREAK: str(self.streak),
            Limit.DRAWDOWN: plain(round(self.equity.drawdown_percent, 4)),
        }
        held = (self._gate(limit, value, rules) for limit, value in figures.items())
        closes = [close for key, close in self.closes.items() if key.instrument == instrument]
        return (*held, cooldown_gate(closes, side, rules.cooldowns, now_ms))

    def _gate(self, limit: Limit, value: str, rules: ResultRules) -> Gate:
        episode = self.episodes.get(limit)
        if episode is None:
            return passed(limit.value, value, rules.text(limit))
        until = "somebody resumes" if episode.until_ms is None else "00:00 UTC"
        detail = f"{episode.what}; no entries until {until}"
        return refused(limit.value, _REASON[limit], detail, value=value, limit=rules.text(limit), reached=episode.what)

    def _mended(self, now_ms: int) -> RiskBook:
        """The clock was far ahead and is right again: nothing is given away, and nothing waits for that far day."""
        book, today = self, day_of(now_ms)
        if any(close.at_ms > now_ms for close in self.closes.values()):
            closes = {key: replace(close, at_ms=min(close.at_ms, now_ms)) for key, close in self.closes.items()}
            book = replace(book, closes=closes)
        if self.day.day > today + 1:
            midnight = end_of(today)
            episodes = {
                k: e if e.until_ms is None else replace(e, until_ms=min(e.until_ms, midnight))
                for k, e in self.episodes.items()
            }
            book = replace(book, day=replace(self.day, day=today), episodes=episodes)
        return book

    def _rolled(self, now_ms: int) -> RiskBook:
        """Nothing but a later day rolls: a clock that is set back must not give the day's loss away."""
        book = self._mended(now_ms)
        over = {k: e for k, e in book.episodes.items() if e.until_ms is None or e.until_ms > now_ms}
        if day_of(now_ms) > book.day.day:
            return replace(book, day=book.day.rolled(day_of(now_ms)), streak=0, episodes=over)
        return book if len(over) == len(book.episodes) else replace(book, episodes=over)

    def reached(self, rules: ResultRules) -> dict[Limit, str]:
        """At the limit acts, one tick below does not (RSK-04)."""
        over = {}
        if self.day.counted_loss >= rules.max_daily_loss:
            lost, again = (
                plain(round(self.day.counted_loss, 2)),
                " since trading was resumed" if self.day.forgiven else "",
            )
            over[Limit.DAY_LOSS] = f"{lost} lost today{again} ({rules.text(Limit.DAY_LOSS)})"
        if self.streak >= rules.streak_limit:
            over[Limit.STREAK] = f"{self.streak} stops in a row have lost ({rules.text(Limit.STREAK)})"
        if ZERO < rules.max_drawdown_percent <= self.equity.drawdown_percent:
            down = plain(round(self.equity.drawdown_percent, 2))
            over[Limit.DRAWDOWN] = f"equity is {down} % below its peak ({rules.text(Limit.DRAWDOWN)})"
        return over


def _with_reached(book: RiskBook, rules: ResultRules, now_ms: int) -> RiskBook:
    new = {limit: what for limit, what in book.reached(rules).items() if limit not in book.episodes}
    if not new:
        return book
    midnight = end_of(book.day.day)
    ends = {Limit.DAY_LOSS: midnight, Limit.STREAK: midnight, Limit.DRAWDOWN: None}
    begun = {k: Episode(limit=k, what=what, since_ms=now_ms, until_ms=ends[k]) for k, what in new.items()}
    return replace(book, episodes={**book.episodes, **begun})
