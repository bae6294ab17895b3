"""A Telegram Bot API server on loopback, for tests and for trying the daemon's messages without Telegram.

Point a bot at it with TELEGRAM_API_URL=<url>; `python -m tools.bot_chat` is the same with a chat to type in.
Prints {"url": "http://…"} when it listens, runs until SIGTERM or SIGINT.
  POST /_bot/send {"chat_id", "text" | "data", "user_id"?, "message_id"?, "date"?}   somebody writes or presses a button
  GET  /_bot/outbox[?since=N]                                  what the bot sent, oldest first, n > N
  POST /_bot/fault {"kind": "slow"|"flood"|"down"|"garbage"|"http_error"|"markup", "method"?, "count"?,
                    "delay_ms"?, "retry_after"?, "status"?}                 GET lists with hits, DELETE [?id=] removes
Exit status: 0 ended by a signal, 2 unusable arguments.
"""

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from aiohttp import web
from msgspec.structs import asdict

if __package__ in {None, ""}:  # run by path: the project root is not on the path yet
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools.bot_account import ApiError, BotAccount, Fault, FaultKind, chat

_RECORDED = frozenset({"answerCallbackQuery", "deleteMessage", "sendChatAction"})
_SENDING = frozenset({"sendMessage", "sendPhoto", "sendDocument"})
_FAULT_KEYS = frozenset(Fault.__struct_fields__) - {"id", "hits"}


class BotApi:
    """The HTTP face of one `BotAccount`. `account` may be looked at and changed by whoever runs it in process; call
    `wake` after adding an update by hand."""

    def __init__(self, account: BotAccount) -> None:
        self.account = account
        self._changed = asyncio.Event()
        self._closing = False
        self._polls = 0

    def application(self) -> web.Application:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/bot{token:[^/]+}/{method}", self._call)
        app.router.add_post("/_bot/send", self._send)
        app.router.add_get("/_bot/outbox", self._outbox)
        app.router.add_route("*", "/_bot/fault", self._fault)
        app.on_shutdown.append(self._shut_down)
        return app

    def wake(self) -> None:
        """Lets long polls and `wait_sent` look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait_sent(self, count: int) -> list[dict[str, Any]]:
        """The outbox, once it has at least `count` entries; the caller sets the deadline."""
        while len(self.account.outbox) < count:
            await self._changed.wait()
        return self.account.outbox

    # --- the Bot API ------------------------------------------------------------------------------------------------

    async def _call(self, request: web.Request) -> web.StreamResponse:
        token, method = request.match_info["token"], request.match_info["method"]
        params = await _parameters(request)  # also when it is not looked at: aiohttp lingers over an unread body
        fault = self.account.take_fault(method)
        try:
            if fault is not None and (answer := await self._broken(fault, request, params)) is not None:
                return answer
        except ApiError as error:
            return web.json_response(_refusal(error), status=error.status)
        status, body = await self.answer(token, method, params)
        return web.json_response(body, status=status)

    async def answer(self, token: str, method: str, params: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """HTTP status and body of one call that meets no fault."""
        try:
            result = await self._dispatch(token, method, params)
        except ApiError as error:
            return error.status, _refusal(error)
        self.wake()
        return 200, {"ok": True, "result": result}

    async def _dispatch(self, token: str, method: str, params: Mapping[str, Any]) -> object:
        me = self.account.user(token)
        if method in _SENDING:
            return self.account.send(token, method, params)
        if method in _RECORDED:
            return self.account.note(method, params)
        match method:
            case "getMe":
                return me
            case "getUpdates":
                return await self._updates(params)
            case "editMessageText":
                return self.account.edit(token, params)
            case "getChat":
                return {**chat(int(params.get("chat_id", 0))), "accent_color_id": 0, "max_reaction_count": 11}
            case "setMyCommands":
                self.account.commands = json.loads(params.get("commands") or "[]")
                return True
            case "deleteWebhook":
                return True
            case _:
                raise ApiError(404, "Not Found")

    async def _updates(self, params: Mapping[str, Any]) -> list[dict[str, Any]]:
        offset, limit = int(params.get("offset") or 0), int(params.get("limit") or 100)
        self._polls += 1
        ours = self._polls
        self.wake()  # an older poll must notice that it is no longer the only one
        try:
            async with asyncio.timeout(float(params.get("timeout") or 0)):
                while not (found := self.account.pending(offset, limit)) and not self._closing:
                    await self._changed.wait()
                    if ours != self._polls:
                        raise ApiError(
                            409,
                            "Conflict: terminated by other getUpdates request; "
                            "make sure that only one bot instance is running",
                        )
                return found
        except TimeoutError:
            return []

    async def _broken(self, fault: Fault, request: web.Request, params: Mapping[str, Any]) -> web.StreamResponse | None:
        match fault.kind:
            case FaultKind.SLOW:
                await asyncio.sleep(fault.delay_ms / 1000)
                return None
            case FaultKind.FLOOD:
                text = f"Too Many Requests: retry after {fault.retry_after}"
                raise ApiError(429, text, {"retry_after": fault.retry_after})
            case FaultKind.GARBAGE:
                return web.Response(text="<html>not what you expect</html>", content_type="text/html")
            case FaultKind.HTTP_ERROR:
                return web.Response(text="Bad Gateway", status=fault.status)
            case FaultKind.MARKUP:
                if params.get("entities") or params.get("parse_mode"):
                    raise ApiError(400, "Bad Request: can't parse entities")
                return None
            case FaultKind.DOWN:
                if request.transport is not None:
                    request.transport.abort()
                return web.Response(status=500)  # never arrives

    # --- control ----------------------------------------------------------------------------------------------------

    async def _send(self, request: web.Request) -> web.Response:
        body = await request.json()
        chat_id, user_id = int(body["chat_id"]), body.get("user_id")
        if "data" in body:
            update = self.account.press(chat_id, body["data"], user_id=user_id, message_id=body.get("message_id"))
        else:
            update = self.account.write(chat_id, body["text"], user_id=user_id, date=body.get("date"))
        self.wake()
        return web.json_response({"update_id": update})

    async def _outbox(self, request: web.Request) -> web.Response:
        since = int(request.query.get("since", "0"))
        return web.json_response([sent for sent in self.account.outbox if sent["n"] > since])

    async def _fault(self, request: web.Request) -> web.Response:
        if request.method == "DELETE":
            which = request.query.get("id")
            self.account.faults = [fault for fault in self.account.faults if which not in {None, str(fault.id)}]
        elif request.method == "POST":
            body: dict[str, Any] = await request.json()
            if unknown := sorted(body.keys() - _FAULT_KEYS):
                return web.json_response({"error": f"unknown keys: {', '.join(unknown)}"}, status=400)
            try:
                body["kind"] = FaultKind(str(body.get("kind")))
                fault = Fault(**body)
            except ValueError as error:
                return web.json_response({"error": str(error)}, status=400)
            return web.json_response({"id": self.account.add_fault(fault)})
        return web.json_response([asdict(fault) for fault in self.account.faults])

    async def _shut_down(self, app: web.Application) -> None:
        del app
        self._closing = True
        self.wake()


def _refusal(error: ApiError) -> dict[str, Any]:
    body: dict[str, Any] = {"ok": False, "error_code": error.status, "description": error.description}
    return body | ({"parameters": error.parameters} if error.parameters else {})


async def _parameters(request: web.Request) -> dict[str, Any]:
    """Query, JSON, form or multipart; a file is its content."""
    params: dict[str, Any] = dict(request.query)
    if request.content_type == "application/json":
        params |= await request.json()
    elif request.can_read_body:
        for key, value in (await request.post()).items():
            params[key] = value.file.read() if isinstance(value, web.FileField) else value
    return params


@asynccontextmanager
async def serving(api: BotApi, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Listens while the block runs and gives the URL. Raises ValueError for a host that is not loopback, OSError for a
    port in use."""
    if host != "localhost" and not ip_address(host).is_loopback:
        raise ValueError(f"{host} is not a loopback address: anybody could read and write the bot's messages")
    runner = web.AppRunner(api.application(), access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield f"http://{host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def _run(account: BotAccount, host: str, port: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serving(BotApi(account), host, port) as url:
        print(json.dumps({"url": url}), flush=True)
        await stop.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0 (default) takes a free one")
    parser.add_argument("--host", default="127.0.0.1", help="loopback only")
    parser.add_argument("--token", help="the bot's token (default: any well-formed one is taken)")
    parser.add_argument("--chat", type=int, action="append", default=[], help="a chat that exists; may be repeated")
    parser.add_argument("--json", action="store_true", help="accepted for uniformity: the ready line is JSON anyway")
    options = parser.parse_args(arguments)
    try:
        asyncio.run(_run(BotAccount(options.token, set(options.chat)), options.host, options.port))
    except (OSError, ValueError) as error:
        print(f"botapi: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
