"""An audit log in memory."""

from collections.abc import Mapping
from typing import Any


class FakeAudit:
    def __init__(self) -> None:
        self.records: list[tuple[str, Mapping[str, Any]]] = []

    def record(self, kind: str, data: Mapping[str, Any]) -> None:
        self.records.append((kind, data))

    def of(self, kind: str) -> list[Mapping[str, Any]]:
        return [data for recorded, data in self.records if recorded == kind]
