"""Alerts posted as signed JSON, each until it is taken or refused for good."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Self

import pytest

from core.alerts.alerts import Alerts
from core.alerts.webhook import LONGEST_PAUSE_SECONDS, Hook, WebhookChannel
from core.domain.alerts import AlertKind, Noise
from core.engine.ports import Level
from core.errors import Ambiguous, Unreachable
from core.transport import HttpResponse
from tests.alerts.rows import NOTHING
from tests.fakes.diary import Diary
from tests.fakes.fake_journal import FakeJournal
from tests.fakes.virtual_loop import VirtualClock

SECRET = "a-secret-of-a-test"
HOOK = Hook(url="https://h.example/hook", secret=SECRET, build="abc", instance="vps")


class Receiver:
    """`answers`: statuses or errors, the last one for ever."""

    def __init__(self) -> None:
        self.answers: list[int | Exception] = [200]
        self.headers: dict[str, str] = {}
        self.asked: list[tuple[float, Mapping[str, str], bytes]] = []

    async def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> HttpResponse:
        assert (method, url) == ("POST", HOOK.url)
        self.asked.append((asyncio.get_running_loop().time(), headers, body or b""))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return HttpResponse(status=answer, headers=self.headers, body=b"")

    async def close(self) -> None: ...

    @property
    def told(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, _, body in self.asked]


class Rig:
    def __init__(self) -> None:
        self.receiver = Receiver()
        self.aside: list[str] = []
        noise = dict.fromkeys(AlertKind, Noise.ON)
        self.alerts = Alerts(journal=FakeJournal(Diary()), clock=VirtualClock(), noise=noise, held=NOTHING)
        self.feed = self.alerts.feed("webhook", mixed=False)
        self.channel = WebhookChannel(
            HOOK, feed=self.feed, http=self.receiver, clock=VirtualClock(), aside=self.aside.append
        )

    async def __aenter__(self) -> Self:
        self.task = asyncio.create_task(self.channel.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    def tell(self, text: str) -> None:
        self.alerts.notify(Level.CRITICAL, text, kind=AlertKind.STREAM)


async def test_a_message_says_what_where_and_when_and_is_signed() -> None:
    async with Rig() as rig:
        rig.tell("binance is down «é»")
        assert await rig.feed.drain(5)
    ((_, headers, body),) = rig.receiver.asked
    told = json.loads(body)
    number = told.pop("id")
    assert told == {
        "time": "2026-09-21T14:13:20.000+00:00",
        "level": "critical",
        "kind": "stream",
        "text": "🔴 binance is down «é»",
        "alerts": 1,
        "build": "abc",
        "instance": "vps",
    }
    assert headers["Idempotency-Key"] == str(number)
    signed = headers["X-Breakwater-Timestamp"].encode() + b"." + body
    assert headers["X-Breakwater-Signature"] == hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    "trouble", [Unreachable("alerts", "no route"), Ambiguous("alerts", "cut"), 500, 502, 408, 429, 302]
)
async def test_what_may_pass_is_repeated_under_its_number_with_growing_pauses(trouble: int | Exception) -> None:
    async with Rig() as rig:
        rig.receiver.answers = [trouble, trouble, trouble, 204]
        rig.tell("first")
        assert await rig.feed.drain(60)
        rig.tell("second")
        assert await rig.feed.drain(60)
    assert [told["text"] for told in rig.receiver.told] == ["🔴 first"] * 4 + ["🔴 second"]
    assert len({told["id"] for told in rig.receiver.told}) == 2
    at = [time for time, _, _ in rig.receiver.asked]
    assert [round(after - before) for before, after in pairwise(at[:4])] == [1, 2, 4]
    assert rig.aside == []


async def test_a_long_outage_is_asked_into_every_five_minutes() -> None:
    async with Rig() as rig:
        rig.receiver.answers = [503]
        rig.tell("kept")
        await asyncio.sleep(6 * 3_600)
        asked = len(rig.receiver.asked)
        rig.receiver.answers = [200]
        assert await rig.feed.drain(LONGEST_PAUSE_SECONDS + 10)
    assert asked <= 6 * 12 + 9


async def test_a_wait_the_receiver_asks_for_is_kept() -> None:
    async with Rig() as rig:
        rig.receiver.answers, rig.receiver.headers = [429, 200], {"retry-after": "77"}
        rig.tell("kept")
        assert await rig.feed.drain(100)
    first, second = (time for time, _, _ in rig.receiver.asked)
    assert second - first == 77


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 413])
async def test_what_is_refused_for_good_is_set_aside_told_and_holds_nothing_up(status: int) -> None:
    async with Rig() as rig:
        rig.receiver.answers = [status, 200]
        rig.tell("odd")
        await asyncio.sleep(5)
        rig.tell("heard")
        assert await rig.feed.drain(60)
    assert [told["text"] for told in rig.receiver.told] == ["🔴 odd", "🔴 heard"]
    assert rig.aside == [f"HTTP {status}"]
    assert rig.feed.statistics().refused == 1


async def test_people_hear_of_refusals_once_an_hour_and_not_only_once() -> None:
    async with Rig() as rig:
        rig.receiver.answers = [400, 401, 200, 401]
        for text, pause in (("a", 5), ("b", 5), ("c", 3700), ("d", 5)):
            rig.tell(text)
            await asyncio.sleep(pause)
    assert rig.aside == ["HTTP 400", "HTTP 401"]


def test_neither_secret_nor_address_is_in_the_repr() -> None:
    assert repr(HOOK) == "Hook(build='abc', instance='vps')"
