"""Messages to people, kept."""

from core.domain.alerts import AlertKind
from core.engine.ports import Level


class FakeNotifier:
    """`kinds` and `conditions` go with `messages`, one by one; a condition is `+` or `-` and what begins or ends."""

    def __init__(self) -> None:
        self.messages: list[tuple[Level, str]] = []
        self.kinds: list[AlertKind] = []
        self.conditions: list[str] = []

    def notify(self, level: Level, text: str, *, kind: AlertKind, begins: str = "", ends: str = "") -> None:
        self.messages.append((level, text))
        self.kinds.append(kind)
        self.conditions.append(f"+{begins}" if begins else f"-{ends}" if ends else "")

    def critical(self) -> list[str]:
        return [text for level, text in self.messages if level is Level.CRITICAL]
