"""How a run of the daemon ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from core.domain.wave import WaveReport
from core.lifecycle.preflight import Preflight


class ExitStatus(IntEnum):
    """DESIGN §5."""

    DONE = 0
    FAILED = 1
    CONFIGURATION = 2
    PREFLIGHT_REFUSED = 3
    OPERATOR_NEEDED = 4


@dataclass(slots=True)
class Outcome:
    """How a run ended. `reports`: the waves of a `--once` run. `said`: the last line, for the operator."""

    status: ExitStatus = ExitStatus.DONE
    said: str = "stopped"
    preflights: list[Preflight] = field(default_factory=list)
    reports: list[WaveReport] = field(default_factory=list)
