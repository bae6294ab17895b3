"""Questions that are asked side by side, each bounded in time and none in the way of another."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum

from msgspec import Struct


class Grade(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(Struct, frozen=True, kw_only=True):
    """`what` is a sentence, with the remedy in it where there is something to do."""

    about: str
    grade: Grade
    what: str


def ok(about: str, what: str) -> Finding:
    return Finding(about=about, grade=Grade.OK, what=what)


def warn(about: str, what: str) -> Finding:
    return Finding(about=about, grade=Grade.WARN, what=what)


def fail(about: str, what: str) -> Finding:
    return Finding(about=about, grade=Grade.FAIL, what=what)


class Question(Struct, frozen=True, kw_only=True):
    """`ask` may block; what it raises is told as a failed answer."""

    about: str
    ask: Callable[[], Iterable[Finding]]
    seconds: float = 5.0


def answers(questions: Sequence[Question]) -> list[Finding]:
    """In the order of the questions. Each is asked on a thread that nobody joins: a name server or a disk that never
    answers costs its own answer only."""
    begun = time.monotonic()
    boxes = [_asked(question) for question in questions]
    return [
        finding
        for question, box in zip(questions, boxes, strict=True)
        for finding in _answer(question, box, begun + question.seconds)
    ]


def _asked(question: Question) -> queue.SimpleQueue[list[Finding]]:
    box: queue.SimpleQueue[list[Finding]] = queue.SimpleQueue()

    def ask() -> None:
        try:
            box.put(list(question.ask()))
        except Exception as error:  # swallow: told as the answer to this question, the others go on
            box.put([fail(question.about, f"could not be checked: {type(error).__name__}: {error}")])

    threading.Thread(target=ask, name=f"doctor/{question.about}", daemon=True).start()
    return box


def _answer(question: Question, box: queue.SimpleQueue[list[Finding]], until: float) -> list[Finding]:
    try:
        return box.get(timeout=max(0.0, until - time.monotonic()))
    except queue.Empty:
        return [fail(question.about, f"no answer within {question.seconds:g} s")]
