"""Telegram in a terminal: type what you would type on the phone and see what it would show, at a phone's width.

A Bot API server on loopback and the one chat in it. `--dry-run` also starts the daemon in dry run with a wave of
signals, so that there is something to ask about: user 1 is its owner, 2 an operator, 3 a viewer, others are strangers.
Without it the settings for a daemon of your own are printed.

  /status            any command, as on the phone          3        press the button with this number
  /as 3              write and press as the user 3         /fault flood    what the next call meets (slow, down, …)
  /press Close       press the newest button with this word
  /quit              end, and the daemon with it

Pictures are saved, and their file is named. Exit status: 0 ended, 2 unusable arguments.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

PROJECT_ROOT = Path(__file__).resolve().parent.parent
if __package__ in {None, ""}:  # run by path: the project root is not on the path yet
    sys.path.insert(0, str(PROJECT_ROOT))

from tools.bot_account import BotAccount, Fault, FaultKind
from tools.botapi import BotApi, serving
from tools.signal_feed import Form, SignalFeed, parse_script
from tools.signal_server import serving as serving_signals

TOKEN: Final = "1:loopback"
ME: Final = 1
WIDTH: Final = 40
STOP_SECONDS: Final = 15.0
_SIGNALS_TOKEN: Final = "chat"
_WAVE: Final = (
    ("BTCUSDT", "LONG", 92, "binance"),
    ("ETHUSDT", "SHORT", 88, "bybit"),
    ("SOLUSDT", "LONG", 85, "okx"),
    ("XRPUSDT", "SHORT", 81, "binance"),
    ("NOSUCHUSDT", "LONG", 80, "okx"),
)
_KEPT: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TERM", "TMPDIR")


class Phone:
    """What a phone shows of the outbox, and the buttons under its newest messages."""

    def __init__(self, api: BotApi, pictures: Path) -> None:
        self._api = api
        self._pictures = pictures
        self._seen = 0
        self.buttons: list[tuple[int, str, str]] = []
        """Message, data and label of each button that can be pressed by its number."""

    def news(self) -> list[str]:
        """Lines for everything sent since the last look."""
        lines: list[str] = []
        account = self._api.account
        for sent in account.outbox[self._seen :]:
            lines += self._shown(sent)
        self._seen = len(account.outbox)
        return lines

    def _shown(self, sent: Mapping[str, Any]) -> list[str]:
        method, text = str(sent["method"]), str(sent["text"])
        if method == "answerCallbackQuery":
            return [f"   ({text})"] if text else []
        head = {"editMessageText": "changed", "sendPhoto": "picture"}.get(method, "")
        lines = [f"┌{f' {head} ' if head else '':─<{WIDTH + 2}}┐"]
        lines += [f"│ {line:<{WIDTH}} │" for line in wrapped(text)]
        if (file := self._api.account.files.get(int(sent["n"]))) is not None:
            path = self._pictures / f"picture-{sent['n']}.png"
            path.write_bytes(file)
            lines.append(f"│ {'[picture]':<{WIDTH}} │")
            lines += [f"└{'─' * (WIDTH + 2)}┘", f"   {path}"]
        else:
            lines.append(f"└{'─' * (WIDTH + 2)}┘")
        if buttons := self._buttons(sent):
            lines.append("   " + "  ".join(buttons))
        return lines

    def _buttons(self, sent: Mapping[str, Any]) -> list[str]:
        markup = json.loads(str(sent.get("reply_markup") or "{}"))
        shown = []
        for row in markup.get("inline_keyboard", []):
            for button in row:
                self.buttons.append((int(sent["message_id"]), str(button["callback_data"]), str(button["text"])))
                shown.append(f"[{len(self.buttons)}] {button['text']}")
        return shown


def wrapped(text: str, width: int = WIDTH) -> list[str]:
    """Lines as a phone breaks them; a blank one stays."""
    lines: list[str] = []
    for line in text.split("\n"):
        rest = line
        while len(rest) > width:
            cut = rest.rfind(" ", 1, width + 1)
            cut = cut if cut > 0 else width
            lines.append(rest[:cut])
            rest = rest[cut:].lstrip()
        lines.append(rest)
    return lines


class Talk:
    """One line of the terminal at a time."""

    def __init__(self, api: BotApi, phone: Phone, chat_id: int) -> None:
        self._api = api
        self._phone = phone
        self._chat_id = chat_id
        self._user = ME

    def said(self, line: str) -> str | None:
        """What the terminal answers by itself; None = nothing. Raises EOFError to end."""
        word, _, rest = line.partition(" ")
        if line in {"/quit", "/exit"}:
            raise EOFError
        if word == "/as" and rest.isdecimal():
            self._user = int(rest)
            return f"you are user {self._user} now"
        if word == "/fault":
            return self._fault(rest)
        if word == "/press" and rest:
            labels = [label for _, _, label in self._phone.buttons]
            return self._press(max((n for n, label in enumerate(labels, 1) if rest in label), default=0))
        if line.isdecimal():
            return self._press(int(line))
        self._api.account.write(self._chat_id, line, user_id=self._user)
        self._api.wake()
        return None

    def _press(self, number: int) -> str | None:
        if not 1 <= number <= len(self._phone.buttons):
            return "there is no such button"
        message_id, data, _ = self._phone.buttons[number - 1]
        self._api.account.press(self._chat_id, data, user_id=self._user, message_id=message_id)
        self._api.wake()
        return None

    def _fault(self, kind: str) -> str:
        if kind not in list(FaultKind):
            return f"faults: {', '.join(FaultKind)}"
        self._api.account.add_fault(Fault(kind=FaultKind(kind)))
        return f"the next call meets {kind}"


async def _run(options: argparse.Namespace) -> int:
    _leave_in_order()
    account = BotAccount(TOKEN, {options.chat})
    api = BotApi(account)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bot-chat-")))
        pictures = options.pictures or folder
        url = await stack.enter_async_context(serving(api, port=options.port))
        settings = {"TELEGRAM_API_URL": url, "TELEGRAM_TOKEN": TOKEN, "TELEGRAM_CHAT_ID": str(options.chat)}
        if options.dry_run:
            script = parse_script(json.dumps({"at_ms": 0, "signals": list(_signals())}))
            feed = SignalFeed(script, Form.PUSHED, token=_SIGNALS_TOKEN)
            settings["SIGNAL_WS_URL"] = await stack.enter_async_context(serving_signals(feed))
            await stack.enter_async_context(_daemon(folder, settings | {"SIGNAL_WS_TOKEN": _SIGNALS_TOKEN}))
            print("the daemon starts in dry run; its log: logs/dry-run/breakwater.log. Try /status, /help", flush=True)
        else:
            print("\n".join(f"{name}={value}" for name, value in settings.items()), flush=True)
        phone = Phone(api, pictures)
        return await _talk(phone, Talk(api, phone, options.chat))


def _leave_in_order() -> None:
    """A closed terminal or a `kill` must not leave the daemon and its venues behind."""
    if (task := asyncio.current_task()) is not None:
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)


async def _talk(phone: Phone, talk: Talk) -> int:
    lines: asyncio.Queue[str | None] = asyncio.Queue(100)
    _read_terminal(lines)
    while True:
        for line in phone.news():
            print(line, flush=True)
        try:
            async with asyncio.timeout(0.3):
                typed = await lines.get()
        except TimeoutError:
            continue
        if typed is None:
            return 0
        try:
            if typed.strip() and (said := talk.said(typed.strip())) is not None:
                print(f"   {said}", flush=True)
        except EOFError:
            return 0


def _read_terminal(lines: asyncio.Queue[str | None]) -> None:
    """A thread of its own: reading a terminal waits for as long as nobody types."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        for line in sys.stdin:
            asyncio.run_coroutine_threadsafe(lines.put(line), loop)
        asyncio.run_coroutine_threadsafe(lines.put(None), loop)

    threading.Thread(target=read, name="terminal", daemon=True).start()


def _signals() -> Iterator[dict[str, Any]]:
    for symbol, side, score, venue in _WAVE:
        named = {"id": f"{venue}-{symbol}".lower(), "pair_symbol": symbol, "direction": side, "exchange": venue}
        yield named | {"total_score": score, "timestamp": "$now"}


@asynccontextmanager
async def _daemon(folder: Path, settings: Mapping[str, str]) -> AsyncIterator[None]:
    file = folder / "chat.env"
    roles = {"TELEGRAM_OWNERS": "1", "TELEGRAM_OPERATORS": "2", "TELEGRAM_VIEWERS": "3"}
    values = roles | {"LEVERAGE": "5", "MAX_POSITIONS": "6", "DATA_DIR": str(folder / "data"), **settings}
    file.write_text("".join(f"{name}={value}\n" for name, value in values.items()), encoding="utf-8")
    file.chmod(0o600)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(PROJECT_ROOT / "main.py"), "--dry-run", "--env-file", str(file)),
        cwd=PROJECT_ROOT,
        env={name: value for name in _KEPT if (value := os.environ.get(name)) is not None},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module's text; `arguments` default to the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry-run", action="store_true", help="start the daemon in dry run beside it")
    parser.add_argument("--port", type=int, default=0, help="of the Bot API; 0 (default) takes a free one")
    parser.add_argument("--chat", type=int, default=ME, help="number of the chat; negative for a group (default 1)")
    parser.add_argument("--pictures", type=Path, metavar="PATH", help="folder that pictures are kept in")
    options = parser.parse_args(arguments)
    try:
        return asyncio.run(_run(options))
    except (OSError, ValueError) as error:
        print(f"bot_chat: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, asyncio.CancelledError):  # swallow: this is how it is ended
        return 0


if __name__ == "__main__":
    sys.exit(main())
