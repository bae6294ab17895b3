"""The shell: an aiohttp server on loopback that drives one simulation in real time."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable

from aiohttp import WSMsgType, web

from tools.venuesim.control import PREFIX, Control
from tools.venuesim.kernel import Simulation
from tools.venuesim.sockets import ABNORMAL, Socket
from tools.venuesim.wire import Dropped, Frame, FrameKind, Request, Response

HOST = "127.0.0.1"
MAX_BODY = 8 * 1024 * 1024
SHUTDOWN_S = 1.0


class Driver:
    """Keeps a simulation at the present: wakes it when something is due."""

    def __init__(self, simulation: Simulation, start_ms: float) -> None:
        self.simulation = simulation
        # Wall time at the start plus monotonic time since: stamps that never jump.
        self._start_ms = start_ms
        self._started = time.perf_counter()
        self._wake: asyncio.TimerHandle | None = None

    def now_ms(self) -> float:
        return self._start_ms + (time.perf_counter() - self._started) * 1000

    def catch_up(self) -> None:
        """Bring the simulation to this moment; to be called before anything is handed in."""
        self.simulation.run_until(self.now_ms())

    def arm(self) -> None:
        """Set the alarm for what is due next; to be called after anything was handed in."""
        if self._wake is not None:
            self._wake.cancel()
        due = self.simulation.next_due()
        if due is not None:
            delay = max(0.0, due - self.now_ms()) / 1000
            self._wake = asyncio.get_running_loop().call_later(delay, self._on_wake)

    def stop(self) -> None:
        if self._wake is not None:
            self._wake.cancel()

    def _on_wake(self) -> None:
        self.catch_up()
        self.arm()


class Server:
    """``start`` listens and answers the port; ``stop`` ends every connection."""

    def __init__(self, driver: Driver, tls: ssl.SSLContext | None = None) -> None:
        self._driver = driver
        self._control = Control(driver.simulation)
        self._tls = tls
        self._writers: set[_SocketWriter] = set()
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_route("*", "/{tail:.*}", self._handle)
        app.on_shutdown.append(self._end_sockets)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)

    async def start(self, port: int) -> int:
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, port, ssl_context=self._tls)
        await site.start()
        self._driver.arm()
        address: tuple[str, int] = self._runner.addresses[0]
        return address[1]

    async def stop(self) -> None:
        self._driver.stop()
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        if path.startswith(PREFIX):
            body = await request.read()
            self._driver.catch_up()
            answer = self._control.handle(request.method, path, query, body)
            self._driver.arm()
            return _web_response(answer)
        headers = {name.lower(): value for name, value in request.headers.items()}
        if headers.get("upgrade", "").lower() == "websocket":
            return await self._socket(request, path, query, headers)
        body = await request.read()
        asked = Request(method=request.method, path=path, query=query, headers=headers, body=body)
        result = await self._submit(asked)
        if isinstance(result, Dropped):
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        return _web_response(result)

    async def _submit(self, request: Request) -> Response | Dropped:
        answered: asyncio.Future[Response | Dropped] = asyncio.get_running_loop().create_future()

        def reply(response: Response | Dropped) -> None:
            if not answered.done():
                answered.set_result(response)

        self._driver.catch_up()
        self._driver.simulation.submit(request, reply)
        self._driver.arm()
        return await answered

    async def _socket(self, request: web.Request, path: str, query: str, headers: dict[str, str]) -> web.StreamResponse:
        # Pings and pongs are the simulation's to answer: a half-open stream must stay silent.
        web_socket = web.WebSocketResponse(autoping=False, autoclose=True, compress=False, max_msg_size=MAX_BODY)
        writer = _SocketWriter(web_socket)
        opened: asyncio.Future[Socket | Response] = asyncio.get_running_loop().create_future()

        def answer(result: Socket | Response) -> None:
            if not opened.done():
                opened.set_result(result)
            elif isinstance(result, Socket):
                result.gone()

        self._driver.catch_up()
        self._driver.simulation.handshake(path, query, headers, writer.put, answer)
        self._driver.arm()
        socket = await opened
        if isinstance(socket, Response):
            return _web_response(socket)
        await web_socket.prepare(request)
        self._writers.add(writer)
        writing = asyncio.create_task(writer.run(request.transport), name="socket-writer")
        try:
            await self._read(web_socket, socket)
        finally:
            self._writers.discard(writer)
            self._driver.catch_up()
            socket.gone()
            self._driver.arm()
            writing.cancel()
            await asyncio.wait([writing])
        return web_socket

    async def _read(self, web_socket: web.WebSocketResponse, socket: Socket) -> None:
        async for message in web_socket:
            self._driver.catch_up()
            if message.type is WSMsgType.TEXT:
                socket.receive(message.data)
            elif message.type is WSMsgType.PING:
                socket.ping(bytes(message.data))
            self._driver.arm()

    async def _end_sockets(self, _app: web.Application) -> None:
        for writer in list(self._writers):
            await writer.close()


class _SocketWriter:
    """Frames given synchronously, sent one after the other by a task of the connection."""

    def __init__(self, web_socket: web.WebSocketResponse) -> None:
        self._web_socket = web_socket
        self._frames: asyncio.Queue[Frame] = asyncio.Queue()

    def put(self, frame: Frame) -> None:
        self._frames.put_nowait(frame)

    async def run(self, transport: asyncio.Transport | None) -> None:
        """Until cancelled or the connection is gone."""
        send: dict[FrameKind, Callable[[bytes], Awaitable[None]]] = {
            FrameKind.TEXT: self._send_text,
            FrameKind.BINARY: self._web_socket.send_bytes,
            FrameKind.PING: self._web_socket.ping,
            FrameKind.PONG: self._web_socket.pong,
        }
        try:
            while True:
                frame = await self._frames.get()
                if frame.kind is not FrameKind.CLOSE:
                    await send[frame.kind](frame.data)
                elif frame.close_code == ABNORMAL and transport is not None:
                    transport.abort()
                    return
                else:
                    await self._web_socket.close(code=frame.close_code, message=frame.data)
                    return
        except ConnectionError:
            # The client left while a frame was on its way to it; the reader notices the same and ends the socket.
            return

    async def close(self) -> None:
        await self._web_socket.close(code=1001, message=b"going away")

    async def _send_text(self, data: bytes) -> None:
        await self._web_socket.send_str(data.decode())


def _web_response(response: Response) -> web.Response:
    return web.Response(status=response.status, body=response.body, headers=dict(response.headers))


def tls_context(certificate: str, key: str) -> ssl.SSLContext:
    """Raises OSError or ssl.SSLError when the files are not what they should be."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context


def wall_ms() -> float:
    return time.time() * 1000
