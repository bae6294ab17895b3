"""One measured figure: its samples, what it is measured in, what is aimed at, what others need for the same today."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from msgspec import Struct


class Figure(Struct, frozen=True, kw_only=True):
    """`venue` names the one it was measured at, or says "mixed".

    `samples` are the repetitions, in `unit`; `ours` is their median, or the largest where `worst`.

    `others` is what is known of other programs (DESIGN §7), in words. `beside` is the number `ratio` divides by ours:
    measured in this very run when `beside_measured`, else the least of the known ones. `failed` says why a figure is
    not to be trusted: the run did not do what it was to be measured doing.
    """

    id: str
    venue: str = ""
    what: str
    unit: str
    samples: tuple[float, ...]
    aim: str
    others: str
    worst: bool = False
    beside: float | None = None
    beside_name: str = ""
    beside_measured: bool = False
    note: str = ""
    failed: str = ""

    @property
    def ours(self) -> float | None:
        """None when nothing was measured."""
        if not self.samples:
            return None
        return max(self.samples) if self.worst else statistics.median(self.samples)

    @property
    def ratio(self) -> float | None:
        """How many times less we need than `beside`."""
        return self.beside / self.ours if self.ours and self.beside is not None else None

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "venue": self.venue,
            "what": self.what,
            "unit": self.unit,
            "ours": _rounded(self.ours),
            "statistic": "max" if self.worst else "median",
            "median": _rounded(statistics.median(self.samples) if self.samples else None),
            "min": _rounded(min(self.samples, default=None)),
            "max": _rounded(max(self.samples, default=None)),
            "samples": [_rounded(sample) for sample in self.samples],
            "aim": self.aim,
            "others": self.others,
            "beside": _rounded(self.beside),
            "beside_name": self.beside_name,
            "beside_measured": self.beside_measured,
            "ratio": _rounded(self.ratio),
            "note": self.note,
            "failed": self.failed,
        }


def spread(samples: Sequence[float]) -> str:
    """Least to largest, and how many."""
    if not samples:
        return "–"
    return f"{number(min(samples))}–{number(max(samples))} ×{len(samples)}"


def number(value: float | None) -> str:
    """Three significant digits, for people."""
    if value is None:
        return "–"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
