"""Merging, bounding and splitting of messages, without Telegram."""

from hypothesis import given
from hypothesis import strategies as st

from core.engine.ports import Level
from tgbot.notices import LISTED, MAX_UNITS, NEWEST, NoticeQueue, sanitized, split


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def test_waiting_notices_become_one_message_in_their_order() -> None:
    queue = NoticeQueue()
    queue.put(Level.INFO, "first")
    queue.put(Level.CRITICAL, "second")
    queue.put(Level.WARNING, "third")
    assert queue.take() == ("first\n🔴 second\n⚠️ third",)
    assert queue.take() == ()


def test_a_thousand_notices_end_as_a_summary_with_every_critical_one() -> None:
    queue = NoticeQueue()
    for number in range(1000):
        queue.put(Level.CRITICAL if number % 100 == 0 else Level.INFO, f"notice {number}")
    text = "\n".join(queue.take())
    assert [number for number in range(0, 1000, 100) if f"🔴 notice {number}\n" not in text + "\n"] == []
    assert f"… {990 - NEWEST} earlier messages are only in the log ({990 - NEWEST} info)" in text
    assert text.endswith("notice 999")
    assert queue.dropped_total == 990 - NEWEST


def test_at_capacity_the_oldest_that_is_not_critical_goes() -> None:
    queue = NoticeQueue(capacity=2)
    queue.put(Level.CRITICAL, "kept")
    queue.put(Level.INFO, "old")
    queue.put(Level.INFO, "new")
    assert queue.take() == ("… 1 earlier messages are only in the log (1 info)\n🔴 kept\nnew",)


def test_critical_notices_are_kept_beyond_capacity_and_repetitions_counted() -> None:
    queue = NoticeQueue(capacity=2)
    for number in range(4):
        queue.put(Level.CRITICAL, f"{number}")
    for _ in range(1000):
        queue.put(Level.CRITICAL, "again")
    queue.put(Level.INFO, "not this one")
    assert len(queue) == 5
    (text,) = queue.take()
    assert text.endswith("🔴 0\n🔴 1\n🔴 2\n🔴 3\n🔴 again (×1000)")


def test_a_reply_goes_first_and_alone() -> None:
    queue = NoticeQueue()
    queue.put(Level.INFO, "notice")
    queue.reply("answer")
    assert (queue.take(), queue.take()) == (("answer",), ("notice",))


def test_few_notices_are_listed_in_full() -> None:
    queue = NoticeQueue()
    for number in range(LISTED):
        queue.put(Level.INFO, f"{number}")
    assert len(queue.take()[0].split("\n")) == LISTED


@given(st.text(), st.integers(2, 40))
def test_split_parts_fit_and_lose_nothing_but_line_ends(text: str, limit: int) -> None:
    text = sanitized(text)
    parts = split(text, limit)
    assert all(units(part) <= limit for part in parts)
    assert "".join(parts).replace("\n", "") == text.replace("\n", "")


def test_a_message_is_split_at_a_line_end_where_there_is_one() -> None:
    line = "x" * 3000
    assert split(f"{line}\n{line}") == (line, line)
    assert [len(part) for part in split("x" * (MAX_UNITS + 1))] == [MAX_UNITS, 1]


def test_text_from_outside_cannot_forge_lines_turn_direction_or_be_unsendable() -> None:
    assert sanitized("BTC\r\x1b[2K\u202e\ud800\u2028_*[x](y)") == "BTC��[2K���_*[x](y)"
    assert sanitized("\n\x00") == "\n\x00".replace("\n", "").replace("\x00", "�")
    assert sanitized("  ") == "(empty)"
