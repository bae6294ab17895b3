"""TradingStates: who said which trading state, globally and for each venue, kept over a restart (DESIGN §3.15)."""

from __future__ import annotations

import json
from collections.abc import Mapping

import structlog
from msgspec.structs import replace

from core.clock import Clock
from core.domain.ids import VenueName
from core.domain.risk import TradingState
from core.domain.standing import Standing, strictest
from core.engine.records import Journal, StateRecord

log = structlog.get_logger(__name__)

KILL_FILE = "kill-file"
"""Author of the state that the file `DATA_DIR/KILL` sets."""
OURS = "breakwater"
"""Author of what the program sets by itself, which is judged anew at every start."""
CONFIGURATION = "configuration"
"""Author of what TRADING_ENABLED says, which is read anew at every start."""
_KEY = "trading_state"
_STARTING = Standing(state=TradingState.HALTED, reason="starting", author=OURS)
_STOPPING = Standing(state=TradingState.REDUCING, reason="stopping", author=OURS)
_KILLED = Standing(state=TradingState.HALTED, reason="the KILL file exists", author=KILL_FILE)
_TRADING = Standing(state=TradingState.ACTIVE, reason="", author=OURS)


class TradingStates:
    """The KILL file holds beside what was said, so that its end gives nothing away that somebody holds back."""

    def __init__(self, *, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._said: dict[VenueName | None, Standing] = {None: _STARTING}
        self._noted: dict[VenueName | None, Standing] = {}
        self.killed = False
        self.stopping = False
        """The daemon is told to stop: nothing is entered any more, whatever else ends meanwhile."""

    @property
    def starting(self) -> bool:
        return self._said[None] == _STARTING

    def said(self, venue: VenueName | None = None) -> Standing:
        """The last word for this venue alone, or the global one."""
        return self._said.get(venue, _TRADING)

    def of_venues(self) -> dict[VenueName, Standing]:
        """States that hold for one venue alone."""
        return {venue: standing for venue, standing in self._said.items() if venue is not None}

    def standing(self, venue: VenueName | None = None) -> Standing:
        """The strictest that holds for this venue; None = everywhere."""
        ends = [*([_KILLED] if self.killed else []), *([_STOPPING] if self.stopping else [])]
        return strictest([*ends, self._said[None], self.said(venue)])

    def put(self, standing: Standing, venue: VenueName | None = None) -> None:
        """Ours never takes the place of what people said in the journal: it would be forgotten with the restart. Nor of
        what they said here, unless it is stricter: a panic goes on closing when something breaks in the middle of it.
        """
        before = self.said(venue)
        if standing.author == OURS and _holds(before) and strictest([before, standing]) is before:
            return
        if before == standing or (replace(before, author=standing.author) == standing):
            return
        if venue is not None and standing.state is TradingState.ACTIVE:
            self._said.pop(venue, None)
        else:
            self._said[venue] = standing
        ours = standing.author == OURS
        expected = standing.state is TradingState.ACTIVE or (ours and standing.state is TradingState.REDUCING)
        say = log.info if expected else log.warning
        say(
            "risk.trading_state",
            state=standing.state.value,
            reason=standing.reason,
            author=standing.author,
            venue=venue,
        )
        if not (ours and _holds(self._noted.get(venue))):
            self._note(standing, venue)

    def flattened(self, venue: VenueName | None) -> None:
        """A panic has closed everything; its HALTED stays."""
        self._said[venue] = replace(self._said[venue], flatten=False)
        self._note(self._said[venue], venue)

    def set_killed(self, exists: bool) -> None:  # noqa: FBT001 - the fact itself
        if exists is not self.killed:
            self.killed = exists
            log.warning("risk.kill_file", exists=exists)

    def recall(self, values: Mapping[str, str]) -> None:
        """The states of venues, at the beginning of a start; the global one waits for `restore`."""
        for venue in (None, *VenueName):
            held = _read(values, venue)
            if held is not None:
                self._noted[venue] = held
                if venue is not None and _holds(held):
                    self._said[venue] = held

    def restore(self, values: Mapping[str, str]) -> Standing | None:
        """What people had set before the restart; None when nothing of it holds."""
        held = _read(values, None)
        return held if _holds(held) else None

    def _note(self, standing: Standing, venue: VenueName | None) -> None:
        self._noted[venue] = standing
        row = {"state": standing.state.value, "reason": standing.reason, "author": standing.author}
        value = json.dumps(row | ({"flatten": True} if standing.flatten else {}))
        self._journal.append_nowait([StateRecord(key=_key(venue), value=value, time_ms=self._clock.now_ms())])


def _holds(standing: Standing | None) -> bool:
    if standing is None or standing.state is TradingState.ACTIVE:
        return False
    return standing.author not in (OURS, CONFIGURATION)


def _key(venue: VenueName | None) -> str:
    return _KEY if venue is None else f"{_KEY}/{venue}"


def _read(values: Mapping[str, str], venue: VenueName | None) -> Standing | None:
    if (text := values.get(_key(venue))) is None:
        return None
    held = json.loads(text)
    return Standing(
        state=TradingState(held["state"]),
        reason=held["reason"],
        author=held["author"],
        flatten=bool(held.get("flatten", False)),
    )
