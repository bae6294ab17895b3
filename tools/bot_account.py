"""One bot as the Telegram Bot API keeps it: what people wrote, what it sent, and what is to go wrong. No sockets."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from msgspec import Struct

from tools.bot_entities import EntityError, check

MAX_TEXT: Final = 4096
MAX_CAPTION: Final = 1024
MAX_BUTTON_DATA: Final = 64
ENTITIES: Final = frozenset({"bold", "italic", "underline", "strikethrough", "code", "pre", "text_link", "spoiler"})


class ApiError(Exception):
    """A refusal of the Bot API: HTTP status, description, and `parameters` where it has some."""

    def __init__(self, status: int, description: str, parameters: Mapping[str, Any] | None = None) -> None:
        super().__init__(description)
        self.status, self.description, self.parameters = status, description, parameters


class FaultKind(StrEnum):
    """SLOW answers after `delay_ms`; FLOOD refuses with 429 and `retry_after` seconds; DOWN drops the connection
    unanswered; GARBAGE answers with something that is not JSON; HTTP_ERROR answers with `status`; MARKUP refuses every
    message that is styled."""

    SLOW = "slow"
    FLOOD = "flood"
    DOWN = "down"
    GARBAGE = "garbage"
    HTTP_ERROR = "http_error"
    MARKUP = "markup"


class Fault(Struct, kw_only=True):
    """Holds for the next `count` calls (-1 = until deleted) of `method` (None = every method)."""

    kind: FaultKind
    method: str | None = None
    count: int = 1
    delay_ms: int = 1000
    retry_after: int = 5
    status: int = 502
    id: int = 0
    hits: int = 0

    def holds(self, method: str) -> bool:
        return self.count != 0 and self.method in {None, method}


@dataclass(slots=True)
class BotAccount:
    """Chats become known when somebody writes in them or by `chats`; sending to others is refused as at Telegram."""

    token: str | None = None
    chats: set[int] = field(default_factory=set)
    updates: list[dict[str, Any]] = field(default_factory=list)
    outbox: list[dict[str, Any]] = field(default_factory=list)
    commands: list[Any] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    files: dict[int, bytes] = field(default_factory=dict)
    """Pictures and documents that were sent, by the number of their entry in the outbox."""
    _last_update: int = 1000
    _last_message: int = 0
    _last_fault: int = 0

    def user(self, token: str) -> dict[str, Any]:
        """What getMe answers. Raises ApiError for a token that is not this bot's."""
        number = token.partition(":")[0]
        if not number.isdecimal() or ":" not in token:
            raise ApiError(404, "Not Found")
        if self.token is not None and token != self.token:
            raise ApiError(401, "Unauthorized")
        return {
            "id": int(number),
            "is_bot": True,
            "first_name": "Breakwater",
            "username": "breakwater_bot",
            "can_join_groups": True,
            "can_read_all_group_messages": False,
            "supports_inline_queries": False,
        }

    def write(self, chat_id: int, text: str, *, user_id: int | None = None, date: int | None = None) -> int:
        """Somebody writes `text` in a chat (`date` in seconds since the epoch, default now); answers the update id."""
        message = {**self._message(chat_id, date), "text": text, "from": _person(user_id or chat_id)}
        if text.startswith("/"):
            message["entities"] = [{"type": "bot_command", "offset": 0, "length": len(text.split(maxsplit=1)[0])}]
        return self._deliver({"message": message})

    def press(self, chat_id: int, data: str, *, user_id: int | None = None, message_id: int | None = None) -> int:
        """Somebody presses an inline button carrying `data`; answers the update id."""
        message = self._message(chat_id, None)
        if message_id is not None:
            message["message_id"] = message_id
        query = {
            "id": str(self._last_update + 1),
            "from": _person(user_id or chat_id),
            "chat_instance": "1",
            "message": message,
            "data": data,
        }
        return self._deliver({"callback_query": query})

    def pending(self, offset: int, limit: int) -> list[dict[str, Any]]:
        """Updates from `offset` on; earlier ones are confirmed and forgotten. A negative offset counts from the end."""
        if offset < 0:
            self.updates = self.updates[offset:]
        elif offset > 0:
            self.updates = [update for update in self.updates if update["update_id"] >= offset]
        return self.updates[:limit]

    def send(self, token: str, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """sendMessage, sendPhoto and sendDocument: checks, records and answers the message. Raises ApiError."""
        chat_id = self._known_chat(params.get("chat_id"))
        is_text = method == "sendMessage"
        text = str(params.get("text" if is_text else "caption") or "")
        _check_text(text, str(params.get("parse_mode") or ""), limit=MAX_TEXT if is_text else MAX_CAPTION)
        if is_text and not text.strip():
            raise ApiError(400, "Bad Request: message text is empty")
        _check_entities(text, params.get("entities" if is_text else "caption_entities"))
        _check_buttons(params.get("reply_markup"))
        message: dict[str, Any] = {**self._message(chat_id, None), "from": self.user(token)}
        message["text" if is_text else "caption"] = text
        if method == "sendPhoto":
            message["photo"] = [{"file_id": "p", "file_unique_id": "p", "width": 1, "height": 1}]
        elif method == "sendDocument":
            message["document"] = {"file_id": "d", "file_unique_id": "d"}
        self._record(method, params, message["message_id"])
        for name in ("photo", "document"):
            if isinstance(file := params.get(name), bytes):
                self.files[len(self.outbox)] = file
        return message

    def edit(self, token: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """editMessageText. Raises ApiError; an edit that changes nothing is refused, as at Telegram."""
        chat_id = self._known_chat(params.get("chat_id"))
        message_id = int(params.get("message_id") or 0)
        text = str(params.get("text") or "")
        _check_text(text, str(params.get("parse_mode") or ""), limit=MAX_TEXT)
        earlier = [sent for sent in self.outbox if sent["message_id"] == message_id and sent["chat_id"] == chat_id]
        if not earlier:
            raise ApiError(400, "Bad Request: message to edit not found")
        _check_entities(text, params.get("entities"))
        _check_buttons(params.get("reply_markup"))
        same = (earlier[-1].get(name) == params.get(name) for name in ("entities", "reply_markup"))
        if earlier[-1]["text"] == text and all(same):
            raise ApiError(400, "Bad Request: message is not modified")
        self._record("editMessageText", params, message_id)
        message = {**self._message(chat_id, None), "from": self.user(token), "text": text}
        return {**message, "message_id": message_id, "edit_date": message["date"]}

    def note(self, method: str, params: Mapping[str, Any]) -> bool:
        """A call that is only recorded, such as answerCallbackQuery."""
        self._record(method, params, 0)
        return True

    def add_fault(self, fault: Fault) -> int:
        """Answers the id of the fault."""
        self._last_fault += 1
        fault.id = self._last_fault
        self.faults.append(fault)
        return fault.id

    def take_fault(self, method: str) -> Fault | None:
        """The fault that hits this call, counted down."""
        for fault in self.faults:
            if fault.holds(method):
                fault.hits += 1
                fault.count -= fault.count > 0
                return fault
        return None

    def _record(self, method: str, params: Mapping[str, Any], message_id: int) -> None:
        chat = params.get("chat_id")
        self.outbox.append({
            **{key: value for key, value in params.items() if isinstance(value, str | int | bool)},
            "n": len(self.outbox) + 1,
            "method": method,
            "chat_id": None if chat is None else int(chat),
            "text": str(params.get("text") or params.get("caption") or ""),
            "message_id": message_id,
            "time_ms": time.time_ns() // 1_000_000,
        })  # fmt: skip

    def _known_chat(self, chat_id: object) -> int:
        try:
            number = int(str(chat_id))
        except ValueError:
            number = 0
        if number not in self.chats:
            raise ApiError(400, "Bad Request: chat not found")
        return number

    def _message(self, chat_id: int, date: int | None) -> dict[str, Any]:
        self._last_message += 1
        return {"message_id": self._last_message, "date": date or int(time.time()), "chat": chat(chat_id)}

    def _deliver(self, content: dict[str, Any]) -> int:
        self._last_update += 1
        self.updates.append({"update_id": self._last_update, **content})
        (body,) = content.values()
        self.chats.add(body.get("message", body)["chat"]["id"])
        return self._last_update


def chat(chat_id: int) -> dict[str, Any]:
    """A group where the number is negative, else a private chat."""
    if chat_id < 0:
        return {"id": chat_id, "type": "group", "title": "Operators", "all_members_are_administrators": True}
    return {"id": chat_id, "type": "private", "first_name": "Operator"}


def _person(user_id: int) -> dict[str, Any]:
    return {"id": abs(user_id), "is_bot": False, "first_name": "Operator", "language_code": "en"}


def _check_text(text: str, parse_mode: str, *, limit: int) -> None:
    if len(text.encode("utf-16-le", "surrogatepass")) // 2 > limit:
        what = "message is too long" if limit == MAX_TEXT else "message caption is too long"
        raise ApiError(400, f"Bad Request: {what}")
    try:
        check(text, parse_mode)
    except EntityError as error:
        raise ApiError(400, f"Bad Request: {error}") from None


def _check_entities(text: str, entities: object) -> None:
    """Spans of a text, counted in UTF-16 units: of a known kind, inside the text, not empty."""
    if not entities:
        return
    length = len(text.encode("utf-16-le", "surrogatepass")) // 2
    for entity in json.loads(str(entities)):
        if entity.get("type") not in ENTITIES:
            raise ApiError(400, "Bad Request: can't parse entities: unsupported entity type")
        start, size = int(entity["offset"]), int(entity["length"])
        if start < 0 or size <= 0 or start + size > length:
            raise ApiError(400, "Bad Request: entity beyond the end of the text")


def _check_buttons(markup: object) -> None:
    if not markup:
        return
    for row in json.loads(str(markup)).get("inline_keyboard", []):
        for button in row:
            if not button.get("text") or not 1 <= len(str(button.get("callback_data", "")).encode()) <= MAX_BUTTON_DATA:
                raise ApiError(400, "Bad Request: BUTTON_DATA_INVALID")
