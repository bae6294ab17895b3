"""What was found while the configuration is read, before any of it is judged."""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec import Struct

from core.settings.problems import Problem


class Given(Struct, frozen=True):
    """The text given for a setting, where it stood, and under which name (the old one, or the one with `_FILE`)."""

    text: str
    source: str
    key: str


@dataclass(slots=True)
class Reading:
    """What was found so far; one per call of `load_settings`."""

    values: dict[str, Given] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def problem(self, variable: str, what: str, fix: str, *, source: str = "") -> None:
        self.problems.append(Problem(variable=variable, what=what, fix=fix, source=source))
