"""Messages to people, kept."""

from core.engine.ports import Level


class FakeNotifier:
    def __init__(self) -> None:
        self.messages: list[tuple[Level, str]] = []

    def notify(self, level: Level, text: str) -> None:
        self.messages.append((level, text))

    def critical(self) -> list[str]:
        return [text for level, text in self.messages if level is Level.CRITICAL]
