"""Every command, in the order of /help."""

from tgbot.commands.acting import COMMANDS as ACT
from tgbot.commands.history import COMMANDS as LOOK_BACK
from tgbot.commands.pictures import COMMANDS as DRAW
from tgbot.commands.reading import COMMANDS as LOOK
from tgbot.commands.reading import DEEPER as LOOK_DEEPER
from tgbot.registry import Registry

_ALIASES = {"trade": "trades", "perf": "performance", "log": "logs"}


def registry() -> Registry:
    return Registry((*LOOK, *LOOK_BACK, *DRAW, *LOOK_DEEPER, *ACT), _ALIASES)
