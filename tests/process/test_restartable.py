"""What runs beside the engine can be started again after it was cancelled or has failed: the bot and a listener."""

import asyncio

import pytest

from core.domain.alerts import AlertKind
from core.engine.ports import Level
from core.listener import HttpAnswer, HttpListener, HttpRequest, ListenerAddress
from tests.tgbot.rig import OWNER, Rig


@pytest.mark.failure("OPS-04")
async def test_the_bot_answers_and_tells_after_it_was_started_again() -> None:
    rig = Rig()
    for number in (1, 2, 3):
        async with rig.running():
            assert "Breakwater" in await rig.phone.ask("/help", "Breakwater", user=OWNER)
            rig.alerts.notify(Level.CRITICAL, f"news {number}", kind=AlertKind.TASK)
            await rig.phone.read(f"news {number}")


@pytest.mark.failure("OPS-04")
@pytest.mark.asyncio(loop_factories=["real"])
async def test_a_listener_serves_after_it_was_started_again() -> None:
    listening = asyncio.Event()
    ports = list[int]()

    def heard(address: ListenerAddress) -> None:
        ports.append(address.port)
        listening.set()

    def answer(_request: HttpRequest) -> HttpAnswer:
        return HttpAnswer(status=200, body=b"here", content_type="text/plain")

    server = HttpListener("status page", ListenerAddress(host="127.0.0.1", port=0), answer, on_listening=heard)
    for _ in range(2):
        listening.clear()
        task = asyncio.ensure_future(server.run())
        await listening.wait()
        reader, writer = await asyncio.open_connection("127.0.0.1", ports[-1])
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert b"here" in await reader.read()
        writer.close()
        await writer.wait_closed()
        task.cancel()
        await asyncio.wait([task])
