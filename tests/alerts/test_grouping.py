"""Merging and bounding of what waits for a channel."""

import pytest

from core.alerts.grouping import LISTED, NEWEST, AlertQueue, Message
from core.domain.alerts import AlertKind
from core.engine.ports import Level
from tests.alerts.rows import NOW_MS, an_alert


def taken(queue: AlertQueue, now_ms: int = NOW_MS) -> Message:
    message = queue.take(now_ms)
    assert message is not None
    return message


def everything(queue: AlertQueue) -> list[str]:
    texts = []
    while (message := queue.take(NOW_MS)) is not None:
        texts.append(message.text)
    return texts


def test_waiting_alerts_become_one_message_in_their_order() -> None:
    queue = AlertQueue()
    queue.put(an_alert(1, "first"))
    queue.put(an_alert(2, "second", Level.CRITICAL, AlertKind.STREAM))
    queue.put(an_alert(3, "third", Level.WARNING))
    message = taken(queue)
    assert message.text == "first\n🔴 second\n⚠️ third"
    assert (message.id, message.level, message.kind, message.alerts) == (3, Level.CRITICAL, "several", 3)
    assert queue.take(NOW_MS) is None


@pytest.mark.failure("TEL-03")
def test_a_thousand_alerts_end_as_a_summary_with_every_critical_one() -> None:
    queue = AlertQueue()
    for number in range(1000):
        queue.put(an_alert(number + 1, f"notice {number}", Level.CRITICAL if number % 100 == 0 else Level.INFO))
    texts = everything(queue)
    lines = "\n".join(texts).split("\n")
    assert [number for number in range(0, 1000, 100) if f"🔴 notice {number}" not in lines] == []
    assert lines[0] == f"… {990 - NEWEST} earlier messages are only in the log ({990 - NEWEST} wave)"
    assert lines[-1] == "notice 999"
    assert len(texts) == 1
    assert queue.dropped_total == 990 - NEWEST


def test_at_capacity_the_oldest_that_is_not_critical_goes() -> None:
    queue = AlertQueue(capacity=2)
    queue.put(an_alert(1, "kept", Level.CRITICAL))
    for number, text in enumerate(("old", "older", "new"), start=2):
        queue.put(an_alert(number, text))
    message = taken(queue)
    assert message.text == "… 1 earlier messages are only in the log (1 wave)\n🔴 kept\nolder\nnew"
    assert (message.id, message.summarised) == (4, 2)


def test_critical_alerts_are_kept_beyond_capacity_and_repetitions_counted() -> None:
    queue = AlertQueue(capacity=2)
    for number in range(4):
        queue.put(an_alert(number, f"{number}", Level.CRITICAL))
    for number in range(4, 1004):
        queue.put(an_alert(number, "again", Level.CRITICAL))
    assert len(queue) == 5
    message = taken(queue)
    assert message.text == "🔴 0\n🔴 1\n🔴 2\n🔴 3\n🔴 again (×1000)"
    assert (message.id, message.alerts) == (1003, 1004)


def test_equal_alerts_of_one_message_are_told_once_with_a_count() -> None:
    queue = AlertQueue()
    for number, text in enumerate(("refused", "other", "refused", "refused"), start=1):
        queue.put(an_alert(number, text))
    assert taken(queue).text == "refused (×3)\nother"


def test_few_alerts_are_listed_in_full() -> None:
    queue = AlertQueue()
    for number in range(LISTED):
        queue.put(an_alert(number, f"{number}"))
    assert len(taken(queue).text.split("\n")) == LISTED


def test_what_does_not_fit_comes_in_the_next_message() -> None:
    queue = AlertQueue(limit=100)
    for number in range(4):
        queue.put(an_alert(number, f"{number}" * 40, Level.CRITICAL))
    assert [text.replace("🔴 ", "")[0] + text[-1] for text in everything(queue)] == ["01", "23"]


def test_a_long_alert_is_a_message_of_its_own() -> None:
    queue = AlertQueue(limit=100)
    queue.put(an_alert(1, "x" * 500))
    queue.put(an_alert(2, "y"))
    assert everything(queue) == ["x" * 500, "y"]


def test_a_message_is_silent_when_all_in_it_are() -> None:
    queue = AlertQueue()
    queue.put(an_alert(1), silent=True)
    assert taken(queue).silent
    queue.put(an_alert(2), silent=True)
    queue.put(an_alert(3), silent=False)
    assert not taken(queue).silent


def test_an_alert_told_late_says_when_it_was() -> None:
    queue = AlertQueue()
    queue.put(an_alert(1, "old"))
    queue.put(an_alert(2, "new", time_ms=NOW_MS + 3_590_000))
    assert taken(queue, NOW_MS + 3_600_000).text == "[09-21 14:13:20 UTC] old\nnew"


def test_where_kinds_are_kept_apart_a_message_has_one_kind_and_level() -> None:
    queue = AlertQueue(mixed=False)
    for number, kind in enumerate((AlertKind.WAVE, AlertKind.WAVE, AlertKind.FILL), start=1):
        queue.put(an_alert(number, kind=kind))
    queue.put(an_alert(4, "loud", Level.CRITICAL, AlertKind.FILL))
    messages = [taken(queue) for _ in range(3)]
    assert [(one.kind, one.level, one.id, one.alerts) for one in messages] == [
        ("wave", Level.INFO, 2, 2),
        ("fill", Level.INFO, 3, 1),
        ("fill", Level.CRITICAL, 4, 1),
    ]


def test_what_could_forge_a_line_is_taken_out() -> None:
    queue = AlertQueue()
    queue.put(an_alert(1, "a\u202eb\x07"))
    assert taken(queue).text == "a�b�"


def test_a_row_ends_where_something_critical_came_between() -> None:
    """Else the number of the first message would cover an alert that nobody has been told."""
    queue = AlertQueue(limit=12)
    queue.put(an_alert(1, "refused"))
    queue.put(an_alert(2, "stop missing", Level.CRITICAL))
    queue.put(an_alert(3, "refused"))
    assert [taken(queue).id for _ in range(3)] == [1, 2, 3]
