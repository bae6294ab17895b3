"""Telegram: messages to one chat, and answers to its questions. Nothing of trading ever waits for it.

Importing this costs a third of a second and needs python-telegram-bot: import it only when a token is configured.
"""

import os

try:
    from telegram import Bot as _Bot  # noqa: F401 - the import is the check
except ImportError as error:
    import telegram as _found

    _where = _found.__file__ or f"the folder {', '.join(_found.__path__)}"
    raise ImportError(
        f"`telegram` is not python-telegram-bot but {_where}: install requirements.txt, and keep telegram/ of this "
        "project without an __init__.py"
    ) from error

# The library's own way to get timedeltas; without it every RetryAfter it raises comes with a deprecation warning.
os.environ.setdefault("PTB_TIMEDELTA", "1")
