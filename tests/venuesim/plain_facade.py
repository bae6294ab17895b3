"""The smallest façade: its own little protocol, just enough to drive the kernel.

POST /order and /stop take their fields as query; GET /orders lists; sockets get one text per engine event, and
answer the command "echo".
"""

import json
from collections.abc import Mapping
from urllib.parse import parse_qs

from tests.venuesim.builders import BTC, ETH, a_stop, an_instrument, an_order
from tools.venuesim.exchange.events import Event, MarketTick, OrderNew, OrderTrade
from tools.venuesim.exchange.model import Policy, Refused, Side
from tools.venuesim.wire import (
    Host,
    Injected,
    Lane,
    Outbox,
    Request,
    RequestInfo,
    Response,
    StreamSession,
    Venue,
)


def answer(document: object, status: int = 200, code: int | str | None = None) -> Response:
    return Response(
        status=status, headers={"content-type": "application/json"}, body=json.dumps(document).encode(), code=code
    )


class PlainFacade:
    def __init__(self, host: Host) -> None:
        self._host = host
        self.sessions: list[PlainSession] = []
        self.injected: list[str] = []

    def handle(self, request: Request) -> Response:
        query = {key: values[0] for key, values in parse_qs(request.query).items()}
        exchange = self._host.exchange
        try:
            match request.method, request.path:
                case "POST", "/order":
                    price = query.get("price")
                    side = Side(query.get("side", "buy"))
                    order = exchange.place(
                        an_order(side, query.get("qty", "0.1"), price=price, client_id=query.get("client_id"))
                    )
                    return answer({"id": order.id, "status": order.status, "filled": str(order.filled)})
                case "POST", "/stop":
                    stop = exchange.place_conditional(
                        a_stop(query["trigger"], query.get("qty", "0.1"), client_id=query.get("client_id"))
                    )
                    return answer({"id": stop.id})
                case "GET", "/orders":
                    return answer([order.client_id for order in exchange.open_orders()])
                case "GET", "/time":
                    return answer({"time": self._host.now_ms()})
                case _:
                    return answer({"error": "no such path"}, 404)
        except Refused as refused:
            code = refused.code if refused.code is not None else refused.reason.value
            return answer({"error": refused.reason.value, "code": code}, 400, code)

    def describe(self, request: Request) -> RequestInfo:
        query = parse_qs(request.query)
        lanes = {"/order": Lane.ORDER, "/stop": Lane.STOP}
        symbol = BTC if request.path in lanes else None
        return RequestInfo(
            lane=lanes.get(request.path, Lane.QUERY), symbol=symbol, client_ids=tuple(query.get("client_id", ()))
        )

    def open_stream(
        self, path: str, query: str, headers: Mapping[str, str], outbox: Outbox
    ) -> StreamSession | Response:
        if path != "/ws":
            return Response(status=404)
        session = PlainSession(outbox)
        self.sessions.append(session)
        return session

    def error(self, request: Request, *, status: int, code: int | str | None, message: str | None) -> Response:
        return answer({"error": message or "injected", "code": code}, status, code)

    def unknown_outcome(self, request: Request) -> Response:
        return answer({"error": "unknown"}, 503, "unknown")

    def not_yet(self, request: Request) -> Response | None:
        return answer([]) if request.path == "/orders" else None

    def on_events(self, events: tuple[Event, ...]) -> None:
        for event in events:
            symbol = event.quote.symbol if isinstance(event, MarketTick) else None
            client_id = None
            if isinstance(event, OrderNew | OrderTrade):
                symbol, client_id = event.order.symbol, event.order.client_id
            for session in self.sessions:
                if session.is_open:
                    name = type(event).__name__
                    session.outbox.send(name, event=name, symbol=symbol, client_id=client_id)

    def inject(self, fault: Injected) -> bool:
        self.injected.append(fault.kind)
        return fault.kind == "listen_key_expired"


class PlainSession:
    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.is_open = True

    def describe(self, text: str) -> RequestInfo | None:
        lanes = {"echo": Lane.SESSION, "order": Lane.ORDER}
        op = text.partition(" ")[0]
        return RequestInfo(lane=lanes[op], op=op) if op in lanes else None

    def receive(self, text: str) -> None:
        if text.startswith(("echo", "order")):
            self.outbox.reply(text, code=0, status=200)
        elif text == "bye":
            self.outbox.close(4001, "bye")

    def refuse(self, text: str, error: Response) -> None:
        self.outbox.reply(f"refused {text}", code=error.code, status=error.status)

    def closed(self) -> None:
        self.is_open = False


VENUE = Venue(
    name="plain",
    policy=Policy(),
    instruments=lambda count, _seed: [an_instrument(BTC), an_instrument(ETH)][:count],
    facade=PlainFacade,
)
