"""A Telegram that takes only some of what is sent, or takes it late: commands are obeyed all the same."""

import asyncio

import pytest

from tests.tgbot.rig import OWNER, Rig
from tgbot.confirmations import EXPIRE_S, Confirmations, Refusal
from tools.bot_account import Fault, FaultKind

pytestmark = pytest.mark.asyncio(loop_factories=["virtual"])


@pytest.mark.parametrize(
    ("fault", "again_s"),
    [
        (Fault(kind=FaultKind.FLOOD, method="setMyCommands", retry_after=3600), 3600),
        (Fault(kind=FaultKind.HTTP_ERROR, method="setMyCommands", status=502), 60),
        (Fault(kind=FaultKind.SLOW, method="setMyCommands", delay_ms=3_600_000), 3600),
    ],
)
async def test_commands_are_obeyed_while_the_menu_of_the_phone_cannot_be_set_and_it_is_set_later(
    fault: Fault, again_s: float
) -> None:
    rig = Rig()
    rig.phone.account.add_fault(fault)
    async with rig.running():
        await rig.phone.ask("/pause", user=OWNER, seconds=10)
        assert rig.done == [("pause", "telegram:1")]
        await asyncio.sleep(again_s - 20)
        assert rig.phone.account.commands == []
        await asyncio.sleep(30)
        assert rig.phone.account.commands


@pytest.mark.failure("TEL-05")
@pytest.mark.parametrize("retry_after", [35, 3600])
async def test_a_question_that_a_flood_held_up_can_be_answered_for_its_time_from_when_it_is_shown(
    retry_after: int,
) -> None:
    async with Rig().running() as rig:
        flood = Fault(kind=FaultKind.FLOOD, method="sendMessage", retry_after=retry_after)
        rig.phone.account.add_fault(flood)
        rig.phone.write("/panic", user=OWNER)
        await asyncio.sleep(retry_after)
        await rig.phone.read("Press within")
        await asyncio.sleep(EXPIRE_S - 1)
        rig.phone.press("✅", user=OWNER, times=2)
        await rig.phone.read("flat by the venue's word")
        assert await rig.phone.popup() == "Done already, once"
        assert rig.done[0] == ("panic", "telegram:1")
        since, shown = len(rig.done), len(rig.phone.shown)
        rig.phone.account.add_fault(Fault(kind=FaultKind.FLOOD, method="sendMessage", retry_after=retry_after))
        rig.phone.write("/panic", user=OWNER)
        await asyncio.sleep(retry_after)
        await rig.phone.read("Press within", since=shown)
        await asyncio.sleep(EXPIRE_S)
        rig.phone.press("✅", user=OWNER)
        await rig.phone.read("nothing was done by this press")
    assert rig.done[since:] == []


async def test_a_question_whose_showing_failed_expires_as_well() -> None:
    """Telegram may show it and the answer to us be lost, each time until the bot gives up."""
    rig = Rig()
    async with rig.running():
        rig.phone.account.add_fault(Fault(kind=FaultKind.DOWN, method="sendMessage", count=-1))
        rig.phone.write("/panic", user=OWNER)
        await asyncio.sleep(60)
        (token,) = rig.bot._talk._plans._waiting
        await asyncio.sleep(600)
        rig.phone.account.press(rig.phone.chat_id, f"y:{token}", user_id=OWNER)
        rig.phone.api.wake()
        assert await rig.phone.popup() == "Expired; ask again"
    assert rig.done == []


async def test_a_press_that_is_faster_than_the_answer_to_the_question_counts_once() -> None:
    now = 1_000.0
    waiting: Confirmations[str] = Confirmations(lambda: now)
    token = waiting.ask(OWNER, "panic")
    assert waiting.take(token, OWNER) == "panic"
    waiting.shown(token)
    assert waiting.take(token, OWNER) is Refusal.DONE
