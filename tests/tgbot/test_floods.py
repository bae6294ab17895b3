"""A Telegram that takes only some of what is sent, or takes it late: commands are obeyed all the same."""

import asyncio

import pytest

from tests.tgbot.rig import OWNER, Rig
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
