"""The OKX façade: routes requests, checks who sent them, keeps the limits, and feeds the streams."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation

from tools.venuesim.exchange.events import Event, MarketTick
from tools.venuesim.exchange.model import AttachRule, ClientIdScope, HedgeReduceOnly, Policy, Refused
from tools.venuesim.okx import signing
from tools.venuesim.okx.account import AccountEndpoints
from tools.venuesim.okx.account_rows import AccountRows
from tools.venuesim.okx.algo_book import AlgoBook
from tools.venuesim.okx.algo_orders import AlgoEndpoints
from tools.venuesim.okx.algo_rows import AlgoRows
from tools.venuesim.okx.errors import ALL_FAILED, VenueError, answer, json_response, page, status_of
from tools.venuesim.okx.formats import Row
from tools.venuesim.okx.items import carried_out, judged, refused
from tools.venuesim.okx.limits import Limits
from tools.venuesim.okx.market_data import MarketEndpoints
from tools.venuesim.okx.market_streams import MarketStreams
from tools.venuesim.okx.order_queries import ALGO, ORDER, OrderQueries
from tools.venuesim.okx.order_requests import OrderRequests
from tools.venuesim.okx.order_rows import OrderRows, order_number, trade_id
from tools.venuesim.okx.orders import OrderEndpoints
from tools.venuesim.okx.params import Params, parsed
from tools.venuesim.okx.position_rows import PositionRows
from tools.venuesim.okx.private_streams import UserStreams
from tools.venuesim.okx.record import AccountRecord
from tools.venuesim.okx.refusals import Deed, Refusals
from tools.venuesim.okx.routing import Items, Route, Routes, Scope, Security
from tools.venuesim.okx.settings import SettingsEndpoints
from tools.venuesim.okx.sockets import Sockets
from tools.venuesim.okx.symbol_table import SymbolTable, instruments
from tools.venuesim.okx.user_frames import UserFrames
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
_KERNEL_DEFAULT_STATUS = 503
_NAMES = ("clOrdId", "algoClOrdId", "attachAlgoClOrdId")
_UNKNOWN_OUTCOME = 50004
_USUAL = {429: 50011, 400: 50004, 401: 50113, 403: 50110, 405: 50115, 500: 50026, 503: 50001}
_ITEM_CODES = range(51000, 59000)
_SERVER_ERRORS = 500
_TOO_MANY_ITEMS = {Lane.ORDER: (51111, 20), Lane.AMEND: (51501, 20)}


class OkxFacade:
    """Implements `wire.Facade`; see there for when each method is called."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._exchange = host.exchange
        self._limits = Limits()
        self._key_revoked = False
        self._waiting: deque[tuple[Event, ...]] = deque()
        self._telling = False
        self._table = table = SymbolTable(host.exchange, host.seed)
        self._record, self._book = AccountRecord(host.exchange), AlgoBook(host.exchange)
        refusals = Refusals(host.exchange)
        orders = OrderRows(host.exchange, self._record, table, self._book)
        algos = AlgoRows(host.exchange, self._book, table, refusals)
        positions = PositionRows(host.exchange, self._record, table, self._book)
        accounts, requests = AccountRows(host.exchange), OrderRequests(host.exchange, table)
        self._refusals = refusals
        frames = UserFrames(host.exchange, orders, algos, positions, accounts)
        self._users, self._markets = UserStreams(host, frames), MarketStreams(host, table)
        self._sockets = Sockets(host, table, self._markets, self._users, self)
        self._routes: Routes = {
            **MarketEndpoints(host, table).routes(),
            **OrderEndpoints(host, requests, refusals, self._record).routes(),
            **AlgoEndpoints(host, requests, refusals, self._book).routes(),
            **OrderQueries(host, requests, refusals, orders, algos, self._record).routes(),
            **AccountEndpoints(host, requests, table, self._record, accounts, positions).routes(),
            **SettingsEndpoints(host, requests, refusals, table).routes(),
        }
        self._paths = {path for _, path in self._routes}

    def handle(self, request: Request) -> Response:
        """One REST request at the moment it is matched."""
        try:
            route = self._routes.get((request.method, request.path))
            if route is None:
                return self._unknown(request)
            self._authorise(request, route.security)
            items = _items(request, route)
            self._check_expiry(route, request.headers.get("exptime"))
            body = self._carry_out(route, request.path, items)
        except VenueError as error:
            return error.response()
        return json_response(body, code=_logged(body))

    def carry_out(
        self, method: str, path: str, items: Sequence[Mapping[str, object]], *, expires: str | None = None
    ) -> Row:
        """A private command whose sender is known already: no key, no signature.

        The answer is the envelope. Raises ``VenueError`` for what concerns the command as a whole.
        """
        route = self._routes[method, path]
        self.check_key()
        self._check_permission(route.security)
        self._check_expiry(route, expires)
        return self._carry_out(route, path, [Params(item) for item in items])

    def describe(self, request: Request) -> RequestInfo:
        """Lane, symbol and client ids, also of the elements of an array."""
        route = self._routes.get((request.method, request.path))
        try:
            entries = _entries(request)
        except VenueError:
            entries = []
        lane = route.lane if route is not None else Lane.QUERY
        return RequestInfo(lane=lane, symbol=self.symbol_in(entries), client_ids=names_in(entries))

    def symbol_in(self, entries: Sequence[Params]) -> str | None:
        """The contract that some parameters are about, named by its instId or its code."""
        for entry in entries:
            code = entry.text("instIdCode")
            symbol = entry.text("instId") or (self._table.by_code(int(code)) if code and code.isdecimal() else None)
            if symbol is not None:
                return symbol
        return None

    def open_stream(
        self,
        path: str,
        query: str,
        headers: Mapping[str, str],  # noqa: ARG002 - the seam's signature
        outbox: Outbox,
    ) -> StreamSession | Response:
        """Public, private and business sockets; 404 for other addresses."""
        return self._sockets.open(path, query, outbox)

    def error(self, request: Request, *, status: int, code: int | str | None, message: str | None) -> Response:
        """An injected error. Codes about orders are those of the items, where the endpoint has items."""
        if code is None and message is None:
            usual = _USUAL.get(status)
            if usual is None:
                return page(status, "Service Temporarily Unavailable")
            return VenueError(usual, status=status).response()
        error = VenueError(code if code is not None else 50026, text=message)
        if status != _KERNEL_DEFAULT_STATUS:
            error.status = status
        route = self._routes.get((request.method, request.path))
        if route is not None and route.items is not Items.NONE and _is_about_an_item(error.code):
            rows = [refused(route, request.path, item, error, self._host.now_ms()) for item in _entries(request)]
            body = judged(rows or [refused(route, request.path, Params({}), error, self._host.now_ms())])
            return json_response(body, code=error.code)
        return error.response()

    def unknown_outcome(self, request: Request) -> Response:  # noqa: ARG002 - the seam's signature
        """50004: the venue gave up waiting for its own engine; whether it was executed is unknown."""
        return VenueError(_UNKNOWN_OUTCOME).response()

    def not_yet(self, request: Request) -> Response | None:
        """An answer from before the thing asked about existed: 51603, or an empty list."""
        route = self._routes.get((request.method, request.path))
        if route is None or route.lane is not Lane.QUERY or route.security is Security.NONE:
            return None
        try:
            self._authorise(request, route.security)
            if request.path in (ORDER, ALGO):
                raise VenueError(51603)
        except VenueError as error:
            return error.response()
        return json_response(answer([]))

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
                self._limits.refuse_until(until_ms, fault.status)
            case "revoke_key":
                self._key_revoked = True
                self._sockets.revoke()
                if fault.duration_ms is not None:
                    self._host.call_later(fault.duration_ms, self._restore_key)
            case _:
                return False
        return True

    def check_login(self, arguments: Mapping[str, object]) -> None:
        """Raises ``VenueError`` 600xx unless the argument of a login is right."""
        signing.check_login(arguments, self._host.now_ms())
        if self._key_revoked:
            raise VenueError(60005)

    def check_key(self) -> None:
        """Raises ``VenueError`` 50111 once the key is no longer valid."""
        if self._key_revoked:
            raise VenueError(50111)

    def _restore_key(self) -> None:
        self._key_revoked = False

    def _tell(self, events: tuple[Event, ...]) -> None:
        now_ms = self._host.now_ms()
        self._record.observe(events, now_ms)
        self._book.observe(events)
        for event in events:
            self._markets.on_event(event)
        if not all(isinstance(event, MarketTick) for event in events):
            self._users.on_events(events, now_ms)

    def _unknown(self, request: Request) -> Response:
        if request.path in self._paths:
            return VenueError(50115).response()
        body = {"code": "404", "data": {}, "msg": f"Invalid Request URI {request.path}"}
        return json_response(body, status=404, code="404")

    def _authorise(self, request: Request, security: Security) -> None:
        """Headers, key, passphrase, time, signature, then what the key may do."""
        if security is Security.NONE:
            return
        signing.check_request(request, self._host.now_ms())
        self.check_key()
        self._check_permission(security)

    def _check_permission(self, security: Security) -> None:
        if ("trade" if security is Security.TRADE else "read") not in self._exchange.permissions:
            raise VenueError(50120)

    def _check_expiry(self, route: Route, expires: str | None) -> None:
        """An order or amendment that came too late is not carried out."""
        if not expires or route.lane not in (Lane.ORDER, Lane.AMEND) or route.items is Items.NONE:
            return
        try:
            late = Decimal(expires) < self._host.now_ms()
        except InvalidOperation:
            raise VenueError(50036) from None
        if late:
            raise VenueError(50037)

    def _carry_out(self, route: Route, path: str, items: list[Params]) -> Row:
        now_ms = self._host.now_ms()
        self._charge(route, path, items, now_ms)
        itemised = route.items is not Items.NONE
        body = carried_out(route, path, items, now_ms) if itemised else self._plain(route, items)
        if route.timed:
            stamp = str(now_ms * 1000)
            body |= {"inTime": stamp, "outTime": stamp}
        return body

    def _plain(self, route: Route, items: list[Params]) -> Row:
        try:
            return answer(route.handler(items[0]))
        except Refused as refusal:
            raise self._refusals.error(refusal, Deed.QUERY, self.symbol_in(items)) from refusal

    def _charge(self, route: Route, path: str, items: list[Params], now_ms: int) -> None:
        if route.items is Items.MANY and len(items) > route.most:
            code, most = _TOO_MANY_ITEMS.get(route.lane, (50025, route.most))
            raise VenueError(code, most) if code != 50025 else VenueError(code, "orders", most)
        single = len(items) == 1 and route.single is not None and route.items is Items.MANY
        counter = route.single if single else path
        calls = self._routes["POST", route.single].calls if single and route.single else route.calls
        by_instrument = route.scope is Scope.INSTRUMENT
        names = [f"{counter} {self.symbol_in([item])}" if by_instrument else str(counter) for item in items]
        self._limits.charge(names if route.items is Items.MANY else names[:1], now_ms, calls, route.per_ms)
        if route.counts_orders:
            self._limits.charge_orders(len(items), now_ms)


def _items(request: Request, route: Route) -> list[Params]:
    """The parameters of a request: one set, or as many as its array has elements."""
    entries = _entries(request)
    if request.method != "GET" and not request.body.strip() and route.handler is not None:
        raise VenueError(50000)
    if request.method != "GET" and (request.body.lstrip()[:1] == b"[") != (route.items is Items.MANY):
        raise VenueError(50002)
    if not entries:
        raise VenueError(50000)
    return entries


def _entries(request: Request) -> list[Params]:
    """Raises ``VenueError`` 50002 for a body that is not JSON."""
    if request.method == "GET":
        return [Params.of_query(request.query)]
    if not request.body.strip():
        return []
    try:
        found = parsed(request.body)
    except ValueError:
        raise VenueError(50002) from None
    rows = found if isinstance(found, list) else [found]
    return [Params(row if isinstance(row, dict) else {}) for row in rows]


def names_in(entries: Sequence[Params]) -> tuple[str, ...]:
    """The client's names for orders, also of those that come attached."""
    found = []
    for entry in entries:
        found += [value for name in _NAMES if (value := entry.text(name)) is not None]
        attached = entry.values.get("attachAlgoOrds")
        for leg in attached if isinstance(attached, list) else []:
            if isinstance(leg, dict) and leg.get("attachAlgoClOrdId"):
                found.append(str(leg["attachAlgoClOrdId"]))
    return tuple(found)


def _is_about_an_item(code: str) -> bool:
    """Codes about orders, but for those that leave open what became of the request as a whole."""
    return code.isdecimal() and int(code) in _ITEM_CODES and status_of(code) < _SERVER_ERRORS


def _logged(body: Row) -> str:
    """The code for the request log: of the first item that failed, where all did."""
    if body["code"] == ALL_FAILED and body["data"]:
        return str(body["data"][0].get("sCode", ALL_FAILED))
    return str(body["code"])


_POLICY = Policy(
    client_id_scope=ClientIdScope.ACCOUNT,
    names_orders=False,
    max_orders_per_symbol=500,
    max_conditionals=None,
    attach=AttachRule.COMPLETE_FILL,
    truncate_reduce_only=True,
    hedge_reduce_only=HedgeReduceOnly.IGNORED,
    amended_down_ends_filled=True,
    refuse_unfillable=False,
    child_keeps_client_id=False,
    liquidation_client_id="",
    adl_client_id="",
    settlement_client_id="",
    first_order_id=2_500_000_000_000_000_001,
    first_conditional_id=2_600_000_000_000_000_001,
    first_trade_id=1_500_000_001,
)
VENUE = Venue(
    name="okx", policy=_POLICY, instruments=instruments, facade=OkxFacade, order_id=order_number, fill_id=trade_id
)
