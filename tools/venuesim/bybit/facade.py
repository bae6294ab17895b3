"""The Bybit façade: routes requests, checks who sent them, keeps the limits, and feeds the streams."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from msgspec.structs import replace

from tools.venuesim.bybit import signing
from tools.venuesim.bybit.account import AccountEndpoints
from tools.venuesim.bybit.account_rows import AccountRows
from tools.venuesim.bybit.amendments import Amendments
from tools.venuesim.bybit.dead_mans_switch import DeadMansSwitch
from tools.venuesim.bybit.error_texts import TEXTS
from tools.venuesim.bybit.errors import VenueError, envelope, json_response, page, worded
from tools.venuesim.bybit.ids import FIRST_CONDITIONAL, FIRST_ORDER, exec_id, order_id
from tools.venuesim.bybit.limits import Banned, Limits
from tools.venuesim.bybit.market_data import MarketEndpoints
from tools.venuesim.bybit.market_frames import MarketRows
from tools.venuesim.bybit.market_streams import MarketStreams
from tools.venuesim.bybit.order_lookup import OrderLookup
from tools.venuesim.bybit.order_queries import OrderQueries
from tools.venuesim.bybit.order_requests import OrderRequests, PriceAction
from tools.venuesim.bybit.order_rows import OrderRows
from tools.venuesim.bybit.orders import OrderEndpoints
from tools.venuesim.bybit.params import Params
from tools.venuesim.bybit.position_rows import PositionRows
from tools.venuesim.bybit.positions import PositionEndpoints
from tools.venuesim.bybit.private_socket import UserStreams
from tools.venuesim.bybit.record import AccountRecord
from tools.venuesim.bybit.refusals import translate
from tools.venuesim.bybit.routing import Answer, Route, Routes, Security
from tools.venuesim.bybit.sockets import Sockets
from tools.venuesim.bybit.symbol_table import ONE_WAY_ASSETS, SymbolTable, instruments
from tools.venuesim.bybit.trading_stop import TradingStop
from tools.venuesim.bybit.user_frames import UserFrames
from tools.venuesim.exchange.events import Event, MarketTick
from tools.venuesim.exchange.model import AttachRule, ClientIdScope, HedgeReduceOnly, Policy, Refused
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
_BAN_STATUSES = (403, 418)
_FORBIDDEN, _TOO_MANY, _BAD_GATEWAYS = 403, 429, 500
_KERNEL_DEFAULT_STATUS = 503
_TOO_FREQUENT = "access too frequent"
_NAMES = ("orderLinkId",)
_UNKNOWN_OUTCOME = 10000


class BybitFacade:
    """Implements `wire.Facade`; see there for when each method is called."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._exchange = host.exchange
        self._exchange.set_multi_assets(enabled=True)
        self._limits = Limits()
        self._traces = host.rng("bybit/traces")
        self._key_revoked = False
        self._waiting: deque[tuple[Event, ...]] = deque()
        self._telling = False
        table, self._record = SymbolTable(host.exchange, host.seed), AccountRecord(host.exchange)
        orders = OrderRows(host.exchange, self._record)
        positions = PositionRows(host.exchange, self._record, table)
        account = AccountRows(host.exchange, self._record)
        market = MarketRows(host.exchange)
        self._frames = UserFrames(host.exchange, orders, positions, account)
        self._users, self._markets = UserStreams(self._frames.begin), MarketStreams(host, market)
        self._sockets = Sockets(host, self._markets, self._users, self)
        switch = DeadMansSwitch(host)
        self._users.guard(switch)
        action, lookup = PriceAction(), OrderLookup(host.exchange)
        requests = OrderRequests(host.exchange, action)
        amendments = Amendments(host.exchange, requests)
        self._routes: Routes = {
            **MarketEndpoints(host, table, market, self._markets).routes(),
            **OrderEndpoints(host, requests, lookup, amendments, self._limits).routes(),
            **OrderQueries(host, lookup, orders, self._record).routes(),
            **AccountEndpoints(host, table, account, self._record, action, switch).routes(),
            **PositionEndpoints(host, requests, positions).routes(),
            **TradingStop(host, requests).routes(),
        }

    def handle(self, request: Request) -> Response:
        """One REST request at the moment it is matched."""
        now_ms = self._host.now_ms()
        try:
            self._limits.charge_address(now_ms)
        except Banned:
            return page(_FORBIDDEN, _TOO_FREQUENT)
        if request.method == "GET" and request.body.strip():
            return page(_FORBIDDEN, "Forbidden")
        route = self._routes.get((request.method, request.path))
        if route is None:
            return self._refusal(VenueError(10017), None, request)
        try:
            self._authorise(request, route.security)
        except VenueError as error:
            return self._refusal(error, route, request)
        return self._perform(request, route)

    def carry_out(self, request: Request) -> Response:
        """A private request whose sender is known already: no key, no signature; errors are answers."""
        route = self._routes[request.method, request.path]
        try:
            self.check_key(signing.API_KEY)
            self._check_permission(route.security)
        except VenueError as error:
            return self._refusal(error, route, request)
        return self._perform(request, route)

    def describe(self, request: Request) -> RequestInfo:
        """Lane, symbol and client ids, also of the entries of a batch."""
        params = Params.of(request.query, request.body)
        route = self._routes.get((request.method, request.path))
        entries = [params, *params.entries("request")]
        ids = tuple(value for entry in entries for name in _NAMES if (value := entry.text(name)) is not None)
        symbol = next((value for entry in entries if (value := entry.text("symbol")) is not None), None)
        lane = route.lane if route is not None else Lane.QUERY
        if lane is Lane.ORDER and any(entry.text("triggerPrice") is not None for entry in entries):
            # The same endpoint takes stops; what a request is for decides.
            lane = Lane.STOP
        return RequestInfo(lane=lane, symbol=symbol, client_ids=ids)

    def open_stream(
        self,
        path: str,
        query: str,
        headers: Mapping[str, str],  # noqa: ARG002 - the seam's signature
        outbox: Outbox,
    ) -> StreamSession | Response:
        """Public, private and trading sockets; 404 for other addresses."""
        return self._sockets.open(path, query, outbox)

    def error(self, request: Request, *, status: int, code: int | str | None, message: str | None) -> Response:  # noqa: ARG002 - the seam's signature
        """An injected error. Codes travel with status 200, unless another than the usual one is asked for."""
        if code is None and message is None:
            return self._usual_error(status)
        number = int(code) if code is not None and str(code).lstrip("-").isdecimal() else 10016
        text = message or (worded(number) if number in TEXTS else f"error {number}")
        body = envelope({}, self._host.now_ms(), code=number, message=text)
        return json_response(body, status=200 if status == _KERNEL_DEFAULT_STATUS else status, code=number)

    def unknown_outcome(self, request: Request) -> Response:  # noqa: ARG002 - the seam's signature
        """10000: the venue gave up waiting for its own engine."""
        body = envelope({}, self._host.now_ms(), code=_UNKNOWN_OUTCOME, message=worded(_UNKNOWN_OUTCOME))
        return json_response(body, code=_UNKNOWN_OUTCOME)

    def not_yet(self, request: Request) -> Response | None:
        """An answer from before the thing asked about existed: an empty list."""
        route = self._routes.get((request.method, request.path))
        if route is None or route.lane is not Lane.QUERY or request.method != "GET":
            return None
        try:
            self._authorise(request, route.security)
        except VenueError as error:
            return self._refusal(error, route, request)
        category = Params.of(request.query, b"").text("category") or "linear"
        empty = {"category": category, "list": [], "nextPageCursor": ""}
        return self._with_headers(request, route, json_response(envelope(empty, self._host.now_ms()), code=0))

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
        """Faults only the protocol can carry out. There is no listen key here."""
        match fault.kind:
            case "rate_limit":
                until_ms = self._host.now_ms() + int(fault.duration_ms or DEFAULT_BLOCK_MS)
                self._limits.refuse_until(until_ms, banned=fault.status in _BAN_STATUSES)
            case "revoke_key":
                self._key_revoked = True
                self._sockets.revoke()
                if fault.duration_ms is not None:
                    self._host.call_later(fault.duration_ms, self._restore_key)
            case _:
                return False
        return True

    def check_login(self, args: object) -> None:
        """Raises `VenueError` unless the arguments of an auth command are right."""
        signing.check_login(args, self._host.now_ms())
        self.check_key(signing.API_KEY)

    def check_time(self, timestamp: str | None, recv_window: str | None) -> None:
        """Raises `VenueError` unless the stamp lies in the window."""
        signing.check_time(timestamp, recv_window, self._host.now_ms())

    def check_key(self, key: str | None) -> None:
        """Raises `VenueError` 10003 unless it is the account's and still valid."""
        signing.check_key(key)
        if self._key_revoked:
            raise VenueError(10003)

    def _restore_key(self) -> None:
        self._key_revoked = False

    def _tell(self, events: tuple[Event, ...]) -> None:
        now_ms = self._host.now_ms()
        self._record.observe(events, now_ms)
        for event in events:
            self._markets.on_event(event)
        wanted = self._users.wanted
        if wanted and not all(isinstance(event, MarketTick) for event in events):
            for frame in self._frames.of(events, now_ms):
                if frame.kind in wanted:
                    self._users.push(frame)

    def _authorise(self, request: Request, security: Security) -> None:
        """Presence, then key, then timestamp, then signature, then what the key may do."""
        if security is Security.NONE:
            return
        headers = request.headers
        stamp, key, sign = (headers.get(f"x-bapi-{name}", "") for name in ("timestamp", "api-key", "sign"))
        if not stamp or not key or not sign:
            text = f"empty value: apiTimestamp[{stamp}] apiKey[{key}] apiSignature[{sign}]"
            raise VenueError(10001, text)
        self.check_key(key)
        self.check_time(stamp, headers.get("x-bapi-recv-window"))
        payload = request.query if request.method == "GET" else request.body.decode("utf-8", "replace")
        signing.check_signature(headers, payload)
        self._check_permission(security)

    def _check_permission(self, security: Security) -> None:
        if ("trade" if security is Security.TRADE else "read") not in self._exchange.permissions:
            raise VenueError(10005)

    def _perform(self, request: Request, route: Route) -> Response:
        now_ms = self._host.now_ms()
        try:
            if route.security is not Security.NONE and not route.batch:
                self._limits.charge(request.path, now_ms, route.per_second)
            answer = route.handler(Params.checked(request.query, request.body))
        except VenueError as error:
            return self._refusal(error, route, request)
        except Refused as refused:
            return self._refusal(translate(refused, self._exchange, None), route, request)
        if not isinstance(answer, Answer):
            answer = Answer(answer)
        body = envelope(answer.result, now_ms, message=answer.message, extra=answer.extra)
        return self._with_headers(request, route, json_response(body, code=0))

    def _refusal(self, error: VenueError, route: Route | None, request: Request) -> Response:
        body = envelope(error.result, self._host.now_ms(), code=error.code, message=error.text)
        return self._with_headers(request, route, json_response(body, code=error.code))

    def _with_headers(self, request: Request, route: Route | None, response: Response) -> Response:
        now_ms = self._host.now_ms()
        headers = {**response.headers, "Traceid": f"{self._traces.getrandbits(128):032x}", "Timenow": str(now_ms)}
        if route is not None and route.security is not Security.NONE:
            headers |= self._limits.headers(request.path, now_ms, route.per_second)
        return replace(response, headers=headers)

    def _usual_error(self, status: int) -> Response:
        """What this venue sends with a status when nothing more is known."""
        if status == _FORBIDDEN:
            return page(status, _TOO_FREQUENT)
        if status == _TOO_MANY or status < _BAD_GATEWAYS:
            code = status if status == _TOO_MANY else 10016
            body = envelope({}, self._host.now_ms(), code=code, message=worded(code))
            return json_response(body, status=status, code=code)
        return page(status, "Service Temporarily Unavailable")


_POLICY = Policy(
    client_ids_unique_forever=True,
    client_id_scope=ClientIdScope.EVERYTHING,
    names_orders=False,
    max_orders_per_symbol=500,
    max_conditionals=None,
    max_conditionals_per_symbol=10,
    max_attached_per_symbol=20,
    attach=AttachRule.FIRST_FILL,
    truncate_reduce_only=True,
    hedge_reduce_only=HedgeReduceOnly.APPLIED,
    one_way_assets=ONE_WAY_ASSETS,
    margin_mode_of_account=True,
    one_close_position_per_direction=False,
    refuse_unfillable=False,
    liquidation_client_id="",
    adl_client_id="",
    settlement_client_id="",
    first_order_id=FIRST_ORDER,
    first_conditional_id=FIRST_CONDITIONAL,
)
VENUE = Venue(
    name="bybit",
    policy=_POLICY,
    instruments=instruments,
    facade=BybitFacade,
    order_id=order_id,
    fill_id=lambda fill: exec_id(fill.id),
)
