"""What becomes of one message or one press: who may, what it means, what is answered. Every deed is done once, by who
asked for it, and its answer comes when the venue has confirmed (TEL-05)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog
from msgspec import Struct

from core.clock import Clock
from core.domain.alerts import AlertKind
from core.engine.operator_desk import OperatorDesk
from core.engine.ports import Level
from core.errors import JournalUnreadable, VenueError
from tgbot.chat import Chat
from tgbot.commands import registry
from tgbot.confirmations import Confirmations, Refusal
from tgbot.keyboards import NO, REFRESH, YES, again, choice, menu, pressed
from tgbot.page import Page, Part, bold, page
from tgbot.registry import Answer, Ask, Command, Deed, Draw, Misused, Picture, parsed
from tgbot.roles import Role

QUICK_S: Final = 1.5
"""What is done within it is answered in one message; else there is one that says what is being done."""
PROGRESS_S: Final = 3.0
MOST_READS: Final = 8
"""Questions answered at a time; more of them wait for nobody. Deeds are never held back."""
ACTS: Final = "Act"
"""The section of commands that change something; most wait for the end of the start."""

_NO_COMMAND: Final = "That is no command; they begin with a slash, /help lists them."

_log = structlog.get_logger(__name__)
Start = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]


class _Plan(Struct, frozen=True, kw_only=True):
    deed: Deed
    line: str


class Conversation:
    """`start` makes a task that its caller owns: nothing here is waited for by who fetches messages."""

    def __init__(self, *, desk: OperatorDesk, chat: Chat, clock: Clock, draw: Draw, start: Start) -> None:
        self._desk = desk
        self._chat = chat
        self._audit = desk.audit
        self._clock = clock
        self._draw = draw
        self._start = start
        self._registry = registry()
        self._plans: Confirmations[_Plan] = Confirmations(clock.monotonic)
        self._reads = 0

    def menu(self) -> list[tuple[str, str]]:
        """For the phone's list of commands."""
        return [(command.name, command.told) for command in self._registry.commands] + [("help", "what can be asked")]

    def said(self, text: str, bot_name: str | None, user_id: int, role: Role) -> None:
        """Somebody who may ask has written."""
        if (asked := parsed(text, bot_name)) is None:
            if self._chat.private and not text.startswith("/"):
                self._read(self._tell(page(_NO_COMMAND)), "unknown")
            return
        name, arguments = asked
        self._begin(name, arguments, user_id, role)

    def pressed(self, query_id: str, data: object, message_id: int | None, user_id: int, role: Role) -> None:
        """Somebody who may ask has pressed a button."""
        if (told := pressed(data)) is None:
            self._acknowledge(query_id)
            return
        kind, content = told
        if kind == YES:
            self._confirmed(query_id, content, message_id, user_id, role)
        elif kind == NO:
            self._declined(query_id, content, message_id, user_id)
        else:
            self._pressed_command(query_id, kind, content, message_id, user_id, role)

    # commands

    def _begin(self, name: str, arguments: tuple[str, ...], user_id: int, role: Role) -> None:
        if name in {"help", "start"}:
            self._read(self._tell(self._help(role)), name)
        elif (command := self._registry.find(name)) is None:
            self._read(self._tell(page(f"There is no /{name}; /help tells what there is.")), "unknown")
        elif role < command.role:
            self._record(command.name, user_id, role, "refused")
            self._read(self._tell(page(_not_allowed(command, role))), name)
        else:
            self._answer(command, arguments, user_id, role, None)

    def _pressed_command(
        self, query_id: str, kind: str, content: str, message_id: int | None, user_id: int, role: Role
    ) -> None:
        asked = parsed(f"/{content}", None)
        command = None if asked is None else self._registry.find(asked[0])
        if asked is None or command is None or (kind == REFRESH and not command.refreshes):
            self._acknowledge(query_id)
        elif role < command.role:
            self._record(command.name, user_id, role, "refused")
            self._acknowledge(query_id, _not_allowed(command, role))
        else:
            self._acknowledge(query_id)
            self._answer(command, asked[1], user_id, role, message_id if kind == REFRESH else None)

    def _answer(
        self, command: Command, arguments: tuple[str, ...], user_id: int, role: Role, instead_of: int | None
    ) -> None:
        ask = Ask(desk=self._desk, clock=self._clock, draw=self._draw, user_id=user_id, role=role, arguments=arguments)
        work = self._answered(command, ask, instead_of)
        if command.role is Role.VIEWER:
            self._read(work, command.name)
            return
        self._record(_line(command, arguments), user_id, role, "asked")
        self._spawn(work, command.name)

    async def _answered(self, command: Command, ask: Ask, instead_of: int | None) -> None:
        answer = await self._made(command, ask)
        if isinstance(answer, Deed):
            await self._propose(answer, _line(command, ask.arguments), ask)
        elif isinstance(answer, Picture):
            await self._chat.picture(answer.png, answer.caption)
        else:
            await self._show(answer, instead_of)

    async def _made(self, command: Command, ask: Ask) -> Answer:
        """What the command says; whatever goes wrong is said as well and stops nothing."""
        if command.section == ACTS and not self._desk.opened():
            return page(
                "No venue can be used yet, so nothing can be ordered; what is open has its stops at the venues. "
                "tools/emergency_flat.py closes everything without the daemon."
            )
        if command.section == ACTS and not command.early and not self._desk.ready():
            return page("Still starting, nothing is entered yet; try again in a moment. /panic is obeyed now.")
        try:
            answer = await command.answer(ask)
        except Misused as error:  # asked again in the same words it would say the same
            return page(f"{command.heading}: {error}.")
        except (JournalUnreadable, VenueError, ValueError, OSError) as error:
            _log.warning("telegram.not_answered", command=command.name, reason=str(error))
            answer = page(f"{command.heading}: {error}")
        except Exception as error:  # swallow: our own mistake, and no reason to stop listening
            _log.exception("telegram.answer_failed", command=command.name)
            answer = page(f"This could not be answered ({type(error).__name__}); the log says why.")
        return self._renewable(answer, command, ask) if isinstance(answer, Page) else answer

    def _renewable(self, answer: Page, command: Command, ask: Ask) -> Page:
        if not command.refreshes:
            return answer
        return answer.with_buttons(again(_line(command, ask.arguments)))

    # deeds

    async def _propose(self, deed: Deed, line: str, ask: Ask) -> None:
        if deed.question is None:
            await self._perform(_Plan(deed=deed, line=line), None)
            return
        token = self._plans.ask(ask.user_id, _Plan(deed=deed, line=line))
        try:
            await self._show(deed.question.with_buttons(choice(token, deed.label)))
        finally:  # also where the answer to it was lost: it may stand there
            self._plans.shown(token)

    def _confirmed(self, query_id: str, token: str, message_id: int | None, user_id: int, role: Role) -> None:
        plan = self._plans.take(token, user_id)
        if isinstance(plan, Refusal):
            self._acknowledge(query_id, plan.value)
            if plan is Refusal.GONE and message_id is not None:
                self._spawn(self._take_back_buttons(message_id), "expired")
            return
        self._record(plan.line, user_id, role, "confirmed")
        self._acknowledge(query_id)
        self._spawn(self._perform(plan, message_id), plan.line.partition(" ")[0])

    def _declined(self, query_id: str, token: str, message_id: int | None, user_id: int) -> None:
        plan = self._plans.take(token, user_id)
        if isinstance(plan, Refusal):
            self._acknowledge(query_id, plan.value)
            return
        self._acknowledge(query_id)
        self._spawn(self._tell(page(f"/{plan.line}: left as it was."), message_id), "declined")

    async def _take_back_buttons(self, message_id: int) -> None:
        await self._chat.change(message_id, page("Expired; nothing was done by this press."))

    async def _perform(self, plan: _Plan, message_id: int | None) -> None:
        """The deed goes on whatever becomes of its messages; what came of it is told as an alert where Telegram does
        not take the answer."""
        done: list[Page] = []
        work = self._spawn(self._do(plan, done), f"do-{plan.line.partition(' ')[0]}")
        await asyncio.wait([work], timeout=QUICK_S)
        shown = ""
        while not work.done():
            left = plan.deed.left()
            doing = f"⏳ {plan.deed.doing}…" + (f"\n{left}" if left else "")
            if doing != shown:
                shown = doing
                message_id = await self._show(page(doing), message_id)
            await asyncio.wait([work], timeout=PROGRESS_S)
        if done and await self._show(done[0], message_id) is None:
            text = f"/{plan.line}: {done[0].plain()}"
            self._desk.notifier.notify(Level.WARNING, text, kind=AlertKind.TELEGRAM)

    async def _do(self, plan: _Plan, done: list[Page]) -> None:
        try:
            done.append(await plan.deed.run())
        except ValueError as error:
            done.append(page(f"/{plan.line}: {error}"))
        except Exception as error:  # swallow: it is told, and positions keep their stops
            _log.exception("telegram.deed_failed", command=plan.line)
            done.append(page(f"🔴 /{plan.line} failed ({type(error).__name__}: {error}); look at /positions."))

    # showing

    def _help(self, role: Role) -> Page:
        allowed = self._registry.allowed(role)
        sections = list(dict.fromkeys(command.section for command in self._registry.commands))
        parts: list[Part] = [bold(f"Breakwater. You are {role.word}.")]
        for section in sections:
            if rows := [command for command in allowed if command.section == section]:
                parts += ["", bold(section), *(f"{command.heading}: {command.told}" for command in rows)]
        return Page(page(*parts).lines, menu=menu(role))

    async def _tell(self, shown: Page, instead_of: int | None = None) -> None:
        """`_show` as a task of its own; whether it was taken changes nothing."""
        await self._show(shown, instead_of)

    async def _show(self, shown: Page, instead_of: int | None = None) -> int | None:
        """In the place of a message where there is one; the number of what is shown, None = it was not taken."""
        if instead_of is not None and await self._chat.change(instead_of, shown):
            return instead_of
        return await self._chat.show(shown)

    def _acknowledge(self, query_id: str, text: str = "") -> None:
        self._spawn(self._chat.acknowledge(query_id, text, alert=bool(text)), "press")

    def _record(self, line: str, user_id: int, role: Role, what: str) -> None:
        facts = {"author": f"telegram:{user_id}", "role": role.word, "command": line, "what": what}
        _log.info("telegram.command", **facts)
        self._audit.record("telegram.command", facts)

    def _read(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """An answer that changes nothing; one too many is not given."""
        if self._reads >= MOST_READS:
            work.close()
            _log.info("telegram.too_many_questions", command=name)
            return
        self._reads += 1
        self._spawn(work, name).add_done_callback(self._read_over)

    def _read_over(self, _: asyncio.Task[None]) -> None:
        self._reads -= 1

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        return self._start(work, f"telegram/{name}")


def _line(command: Command, arguments: tuple[str, ...]) -> str:
    return " ".join((command.name, *arguments))


def _not_allowed(command: Command, role: Role) -> str:
    return f"/{command.name} needs the role {command.role.word}; you are {role.word}"
