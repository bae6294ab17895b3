"""The Binance USD-M façade: routes requests, checks who sent them, keeps the limits, and feeds the streams."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping

from msgspec.structs import replace

from tools.venuesim.binance import signing
from tools.venuesim.binance.account import AccountEndpoints
from tools.venuesim.binance.account_rows import AccountRows
from tools.venuesim.binance.algo_orders import AlgoEndpoints
from tools.venuesim.binance.error_texts import TEXTS
from tools.venuesim.binance.errors import VenueError, json_response
from tools.venuesim.binance.limits import UNWEIGHED, Limits, request_weight
from tools.venuesim.binance.listen_keys import ListenKeys
from tools.venuesim.binance.market_data import MarketEndpoints
from tools.venuesim.binance.market_extras import MarketExtras
from tools.venuesim.binance.market_streams import MarketStreams
from tools.venuesim.binance.order_queries import Amendments, OrderQueries
from tools.venuesim.binance.order_requests import OrderRequests
from tools.venuesim.binance.order_rows import OrderRows
from tools.venuesim.binance.orders import OrderEndpoints
from tools.venuesim.binance.params import Params
from tools.venuesim.binance.refusals import translate
from tools.venuesim.binance.routing import Route, Routes, Security
from tools.venuesim.binance.session import SessionEndpoints
from tools.venuesim.binance.settings import SettingsEndpoints
from tools.venuesim.binance.sockets import StreamSocket, UserStreams
from tools.venuesim.binance.stream_names import parse_target
from tools.venuesim.binance.symbol_table import SymbolTable, instruments
from tools.venuesim.binance.user_frames import UserFrames
from tools.venuesim.binance.ws_api import HANDSHAKE_WEIGHT, ApiSocket
from tools.venuesim.exchange.events import Event, MarketTick
from tools.venuesim.exchange.model import Policy, Refused
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

DEFAULT_BLOCK_MS = 60_000
_ID_NAMES = ("newClientOrderId", "origClientOrderId", "clientAlgoId")
_SINGLE = frozenset({"/fapi/v1/order", "/fapi/v1/openOrder", "/fapi/v1/algoOrder"})
_UNKNOWN_OUTCOME = "Unknown error, please check your request or try again later."


class BinanceFacade:
    """Implements `wire.Facade`; see there for when each method is called."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._exchange = host.exchange
        table = SymbolTable(host.exchange, host.seed)
        requests = OrderRequests(host.exchange, table)
        rows, amendments = OrderRows(table), Amendments()
        keys = ListenKeys(host.seed)
        self._frames = UserFrames(host.exchange, table)
        self._users = UserStreams(host, keys)
        self._markets = MarketStreams(host, table)
        self._session = SessionEndpoints(host, keys, self._users, self._frames)
        self._limits = Limits()
        self._key_revoked = False
        self._api_sockets: list[ApiSocket] = []
        self._waiting: deque[tuple[Event, ...]] = deque()
        self._telling = False
        markets = MarketEndpoints(host, requests, table)
        self._routes: Routes = {
            **markets.routes(),
            **MarketExtras(host, markets).routes(),
            **OrderEndpoints(host, requests, rows, amendments).routes(),
            **OrderQueries(host, requests, rows, amendments).routes(),
            **AlgoEndpoints(host, requests, rows).routes(),
            **AccountEndpoints(host, requests, AccountRows(host.exchange, table)).routes(),
            **SettingsEndpoints(host, requests).routes(),
            **self._session.routes(),
        }

    def handle(self, request: Request) -> Response:
        """One REST request at the moment it is matched."""
        self._session.check()
        params = Params.of(request.query, _text(request.body))
        route = self._routes.get((request.method, request.path))
        try:
            if route is None:
                raise VenueError(-5000, request.path, request.method)
            self._charge(request, params)
            self._authorise(request, params, route.security)
            return self._answer(request, params, route)
        except VenueError as error:
            return self._with_headers(request, error.response(), error=error)
        except Refused as refused:
            refusal = translate(refused, self._exchange, None)
            return self._with_headers(request, refusal.response(), error=refusal)

    def describe(self, request: Request) -> RequestInfo:
        """Lane, symbol and client ids, also of the rows of a batch."""
        params = Params.of(request.query, _text(request.body))
        route = self._routes.get((request.method, request.path))
        ids = [value for name in _ID_NAMES if (value := params.text(name))]
        ids += _ids_in_list(params.any_case("origClientOrderIdList"))
        symbol = params.text("symbol")
        for row in _rows_in_list(params.text("batchOrders")):
            ids += [str(row[name]) for name in _ID_NAMES if row.get(name)]
            symbol = symbol or (str(row["symbol"]) if row.get("symbol") else None)
        return RequestInfo(lane=route.lane if route else Lane.QUERY, symbol=symbol, client_ids=tuple(ids))

    def open_stream(
        self,
        path: str,
        query: str,
        headers: Mapping[str, str],  # noqa: ARG002 - the seam's signature
        outbox: Outbox,
    ) -> StreamSession | Response:
        """Any path form clients use; 404 for one that is no socket of this venue."""
        target = parse_target(path, query)
        if target is None:
            return Response(status=404)
        if target.route == "api":
            return self._open_api(query, outbox)
        return StreamSocket(self._host, outbox, target, self._markets, self._users)

    def error(
        self,
        request: Request,  # noqa: ARG002 - the seam's signature
        *,
        status: int,
        code: int | str | None,
        message: str | None,
    ) -> Response:
        """An injected error in the form the venue gives that status."""
        if code is None and message is None:
            return _usual_error(status)
        number = int(code) if code is not None else -1000
        text = message or TEXTS.get(number, TEXTS[-1000])
        return json_response({"code": number, "msg": text}, status=status, code=number)

    def unknown_outcome(self, request: Request) -> Response:  # noqa: ARG002 - the seam's signature
        """503: the API took the request, whether it was executed is unknown."""
        return json_response({"code": -1000, "msg": _UNKNOWN_OUTCOME}, status=503, code=-1000)

    def on_events(self, events: tuple[Event, ...]) -> None:
        """Tells the streams; a batch caused while telling another waits its turn."""
        self._waiting.append(events)
        if self._telling:
            return
        self._telling = True
        try:
            while self._waiting:
                self._tell(self._waiting.popleft())
        finally:
            self._telling = False

    def inject(self, fault: Injected) -> bool:
        """Faults only the protocol can carry out."""
        until_ms = self._host.now_ms() + int(fault.duration_ms or DEFAULT_BLOCK_MS)
        match fault.kind:
            case "listen_key_expired":
                self._session.expire_now()  # without a key there is nothing to expire
            case "rate_limit":
                self._limits.refuse_until(until_ms, banned=fault.status == 418)
            case "revoke_key":
                self._revoke_key(fault.duration_ms)
            case _:
                return False
        return True

    def call(self, method: str, path: str, params: Params) -> object:
        """Runs an endpoint for the WebSocket API, which checks its caller itself. Raises `VenueError`."""
        route = self._routes[method, path]
        self._check_permission(route.security)
        if route.orders != (0, 0):
            self._limits.charge_orders(self._host.now_ms(), *route.orders)
        try:
            return route.handler(params)
        except Refused as refused:
            raise translate(refused, self._exchange, None) from refused

    @property
    def limits(self) -> Limits:
        """The counters, shared by REST and the WebSocket API."""
        return self._limits

    def lane_of(self, method: str, path: str) -> Lane:
        """What an endpoint is for."""
        return self._routes[method, path].lane

    def check_key(self, key: str | None) -> str:
        """The key; -2014 or -2015 unless it is one of the account's and still valid."""
        known = signing.check_key(key)
        if self._key_revoked:
            raise VenueError(-2015)
        return known

    def left(self, socket: ApiSocket) -> None:
        """A trading socket is gone."""
        self._api_sockets.remove(socket)

    def not_yet(self, request: Request) -> Response | None:
        """An answer from before the thing asked about existed; None where that is no different."""
        params = Params.of(request.query, _text(request.body))
        route = self._routes.get((request.method, request.path))
        if route is None or route.lane is not Lane.QUERY:
            return None
        try:
            self._charge(request, params)
            self._authorise(request, params, route.security)
            if request.path in _SINGLE:
                raise VenueError(-2013)
        except VenueError as error:
            return self._with_headers(request, error.response(), error=error)
        return self._with_headers(request, json_response([]))

    def _open_api(self, query: str, outbox: Outbox) -> StreamSession | Response:
        try:
            self._limits.socket.charge(self._host.now_ms(), HANDSHAKE_WEIGHT)
        except VenueError as error:
            return error.response()
        socket = ApiSocket(self._host, outbox, self, tells_limits="returnRateLimits=false" not in query)
        self._api_sockets.append(socket)
        return socket

    def _revoke_key(self, duration_ms: float | None) -> None:
        """For good, or for a while; sessions that are logged on are told."""
        self._key_revoked = True
        for socket in list(self._api_sockets):
            socket.revoke()
        if duration_ms is not None:
            self._host.call_later(duration_ms, self._restore_key)

    def _restore_key(self) -> None:
        self._key_revoked = False

    def _tell(self, events: tuple[Event, ...]) -> None:
        for event in events:
            if isinstance(event, MarketTick):
                self._markets.on_tick(event)
            else:
                self._markets.on_event(event)
        if self._users.anyone:
            for frame in self._frames.of(events, self._host.now_ms()):
                self._users.push(frame)

    def _charge(self, request: Request, params: Params) -> None:
        if request.path.startswith("/fapi/") and request.path not in UNWEIGHED:
            self._limits.rest.charge(self._host.now_ms(), request_weight(request.method, request.path, params))

    def _authorise(self, request: Request, params: Params, security: Security) -> None:
        """Key, then timestamp, then signature, then what the key may do: the order clients see."""
        if security is Security.NONE:
            return
        key = self.check_key(request.headers.get("x-mbx-apikey"))
        if security.signed:
            signing.check_time(params.text("timestamp"), params.text("recvWindow"), self._host.now_ms())
            signed = signing.without_signature(request.query, _text(request.body))
            signing.check_signed_by(key, params.text("signature"), signed)
            self._check_permission(security)

    def _check_permission(self, security: Security) -> None:
        wanted = {Security.READ: "read", Security.TRADE: "trade"}.get(security)
        if wanted is not None and wanted not in self._exchange.permissions:
            raise VenueError(-2015)

    def _answer(self, request: Request, params: Params, route: Route) -> Response:
        if route.orders == (0, 0):
            return self._with_headers(request, json_response(route.handler(params)))
        self._limits.charge_orders(self._host.now_ms(), *route.orders)
        response = self._with_headers(request, json_response(route.handler(params)))
        return replace(response, headers={**response.headers, **self._limits.order_headers(self._host.now_ms())})

    def _with_headers(self, request: Request, response: Response, error: VenueError | None = None) -> Response:
        headers = dict(response.headers)
        if request.path.startswith("/fapi/") and request.path not in UNWEIGHED:
            headers |= self._limits.weight_headers(self._host.now_ms())
        if error is not None and error.status in (418, 429):
            headers["retry-after"] = str(self._limits.rest.retry_after_s(self._host.now_ms()))
        return replace(response, headers=headers)


def _usual_error(status: int) -> Response:
    """What this venue sends with a status when nothing more is known."""
    match status:
        case 429:
            return VenueError(-1003, 2400).response()
        case 418:
            return VenueError(-1003, 2400, status=418).response()
        case 408:
            return VenueError(-1007).response()
        case 401:
            return VenueError(-2015).response()
        case 500:
            return VenueError(-1001, status=500).response()
        case 503:
            return json_response({"msg": "Service Unavailable."}, status=503)
        case _ if status >= 500 or status == 403:
            page = f"<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>"
            return Response(status=status, headers={"content-type": "text/html"}, body=page.encode())
        case _:
            return VenueError(-1000, status=status).response()


def _text(body: bytes) -> str:
    return body.decode("utf-8", "replace")


def _ids_in_list(text: str | None) -> list[str]:
    return [str(entry) for entry in _list_in(text) if isinstance(entry, str)]


def _rows_in_list(text: str | None) -> list[dict[str, object]]:
    return [entry for entry in _list_in(text) if isinstance(entry, dict)]


def _list_in(text: str | None) -> list[object]:
    if not text:
        return []
    try:
        parsed = json.loads(text)
    except ValueError:
        return []
    return parsed if isinstance(parsed, list) else []


_POLICY = Policy(fee_coin="BNB", fee_coin_market="BNBUSDT")
VENUE = Venue(name="binance", policy=_POLICY, instruments=instruments, facade=BinanceFacade)
