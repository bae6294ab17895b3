"""What a chaos run leaves for whoever judges it or tells it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.campaigns.chaos_plan import Plan
from tests.campaigns.chaos_witness import Witness


class Said(NamedTuple):
    """One line of the timeline; `time_s` since the start."""

    time_s: float
    who: str
    text: str


class Window(NamedTuple):
    """A stretch of time, seconds since the start."""

    since: float
    until: float
    venue: str = ""
    why: str = ""


@dataclass(slots=True, kw_only=True)
class Trouble:
    """A log line that needs to be explained."""

    number: int
    event: str
    text: str


@dataclass(slots=True)
class Record:
    """What a run leaves for the judge."""

    plan: Plan
    lines: list[Said] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    unhandled: list[str] = field(default_factory=list)
    down: list[Window] = field(default_factory=list)
    faulty: list[Window] = field(default_factory=list)
    no_entries: list[Window] = field(default_factory=list)
    own_hand: list[Window] = field(default_factory=list)
    resumed: list[float] = field(default_factory=list)
    """When somebody gave trading free, seconds."""
    disk: list[Window] = field(default_factory=list)
    """When it was full."""
    unwritten: list[Window] = field(default_factory=list)
    """What was done then no file knows: the disk was full, and the process ended before it had room."""
    answers: list[str] = field(default_factory=list)
    """To people, as JSON."""
    witnesses: dict[str, Witness] = field(default_factory=dict)
    folders: list[Path] = field(default_factory=list)
    killed: set[int] = field(default_factory=set)
    endings: list[str] = field(default_factory=list)
    struck: Counter[str] = field(default_factory=Counter)
    commands: Counter[str] = field(default_factory=Counter)
    log: list[str] = field(default_factory=list)
    waves: int = 0
    digest: str = ""
    end_s: float = 0.0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)
