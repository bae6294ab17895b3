"""How badly a venue tells what happens."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Weather:
    """How much of what happens is told, and how. Shares are 0..1, times in seconds."""

    lost: float = 0.0
    doubled: float = 0.0
    late: float = 0.0
    """Longest extra time of a frame on its way; frames overtake each other by it."""
    unclear: float = 0.0
    """Share of commands without an answer; half of them were never carried out."""
    refused: float = 0.0
    unread: float = 0.0
    """Share of reads that fail."""
    early: float = 0.0
    """Share of look-ups and lists that do not have an order younger than a second."""
    latency: float = 0.05
