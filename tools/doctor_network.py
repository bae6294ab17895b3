"""What the doctor asks over the network: names, TLS, each venue with its key, Telegram, the status page."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from core.clock import SystemClock
from core.config import Settings
from core.settings.values import is_loopback
from core.venues import VenueAccess, VenueConnection
from tools.checkup import Finding, Grade, fail, ok, warn
from tools.direct import opened

CONNECT_SECONDS = 5.0
VENUE_SECONDS = 25.0
CERTIFICATE_DAYS = 7
"""A certificate that ends sooner is worth a word."""
_PORTS = {"https": 443, "wss": 443, "http": 80, "ws": 80}


def roots_of(access: VenueAccess) -> list[str]:
    """Where its requests and its sockets go."""
    facts = import_module(f"core.venues.{access.name.value}.facts")
    hosts = facts.hosts_of(access.base_url, testnet=access.testnet)
    return [hosts.rest, hosts.stream]


def reached(about: str, urls: Sequence[str]) -> Iterator[Finding]:
    """The name resolves, a connection comes about, and TLS is what it should be; each step by itself."""
    found = [told for url in dict.fromkeys(urls) for told in _reach(about, url)]
    bad = [told for told in found if told.grade is not Grade.OK]
    yield from dict.fromkeys(bad) or [ok(about, "; ".join(told.what for told in found))]


def _reach(about: str, url: str) -> Iterator[Finding]:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 443)
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        remedy = "check the network and the name server (resolvectl status, /etc/resolv.conf)"
        yield fail(about, f"the name {host} cannot be resolved ({error}); {remedy}")
        return
    begun = time.monotonic()
    try:
        with socket.create_connection((host, port), timeout=CONNECT_SECONDS) as plain_socket:
            took = round((time.monotonic() - begun) * 1000)
            if parts.scheme not in {"https", "wss"}:
                yield ok(about, f"{host}:{port} connects in {took} ms")
                return
            with ssl.create_default_context().wrap_socket(plain_socket, server_hostname=host) as secured:
                yield from _certificate(about, host, secured, took, len(addresses))
    except ssl.SSLCertVerificationError as error:
        remedy = "a proxy in between, a wrong clock, or old ca-certificates"
        yield fail(about, f"the certificate of {host} is not trusted ({error.verify_message}); {remedy}")
    except (OSError, ssl.SSLError) as error:
        yield fail(
            about, f"{host}:{port} cannot be reached ({error}); check the firewall, and whether it is blocked here"
        )


def _certificate(about: str, host: str, secured: ssl.SSLSocket, took: int, addresses: int) -> Iterator[Finding]:
    told = secured.getpeercert() or {}
    ends = told.get("notAfter")
    left = None if not isinstance(ends, str) else (ssl.cert_time_to_seconds(ends) - time.time()) / 86_400
    if left is not None and left < CERTIFICATE_DAYS:
        yield warn(about, f"the certificate of {host} ends in {left:.1f} days")
    else:
        yield ok(about, f"{host} connects in {took} ms, {secured.version()}, {addresses} addresses")


def venues(accesses: Sequence[VenueAccess], settings: Settings) -> Iterator[Finding]:
    """Pre-flight of each: key, rights, clock, modes, symbols, balance. No order is sent.

    All on one loop, made before the first is opened: a clock measured while others are still being loaded is wrong.
    """
    from core.lifecycle.opening import preflight_rules  # the whole engine: only where it is needed
    from core.lifecycle.preflight import Grade as FoundGrade
    from core.lifecycle.preflight import Preflight, examine
    from core.lifecycle.preflight_questions import QUESTIONS
    from tools.venue_link import linked

    grades = {FoundGrade.OK: Grade.OK, FoundGrade.WARN: Grade.WARN}

    async def ask(connection: VenueConnection) -> Preflight | None:
        try:
            async with asyncio.timeout(VENUE_SECONDS):
                return await examine(connection.client, connection.reads, preflight_rules(settings), QUESTIONS)
        except TimeoutError:
            return None

    async def ask_all() -> list[Preflight | None]:
        async with AsyncExitStack() as stack:
            made = [await stack.enter_async_context(linked(access, SystemClock())) for access in accesses]
            return list(await asyncio.gather(*map(ask, made)))

    for access, result in zip(accesses, asyncio.run(ask_all()), strict=True):
        if result is None:
            yield fail(f"{access.name} account", f"no answer within {VENUE_SECONDS:g} s")
            continue
        for check in result.checks:
            grade = grades.get(check.grade, Grade.FAIL)
            yield Finding(about=f"{access.name} {check.about}", grade=grade, what=check.what)


def telegram(settings: Settings) -> Iterator[Finding]:
    """Whether the Bot API takes the token, and the chat is one the bot may write to. Nothing is sent to it."""
    told = settings.telegram
    if told.token is None:
        yield ok("telegram", "not set up (TELEGRAM_TOKEN)")
        return
    root = f"{told.api_url}/bot{told.token.get_secret_value()}"
    me = _api(f"{root}/getMe")
    if isinstance(me, str):
        yield fail("telegram", f"{me}; check TELEGRAM_TOKEN and whether {urlsplit(told.api_url).hostname} is reachable")
        return
    chat = _api(f"{root}/getChat?chat_id={told.chat_id}")
    if isinstance(chat, str):
        yield fail(
            "telegram", f"the chat {told.chat_id} cannot be used ({chat}); write to the bot first, then try again"
        )
    else:
        yield ok("telegram", f"@{me.get('username', '?')} may write to chat {told.chat_id} ({chat.get('type', '?')})")


def _api(url: str) -> dict[str, Any] | str:
    """The result, or why there is none; never the address, which holds the token."""
    try:
        with opened(url, CONNECT_SECONDS) as answer:
            result = json.load(answer).get("result")
    except urllib.error.HTTPError as error:
        return f"the Bot API answers {error.code}"
    except (OSError, ValueError) as error:
        return f"the Bot API cannot be reached ({getattr(error, 'reason', None) or type(error).__name__})"
    return result if isinstance(result, dict) else "the Bot API answers something else"


def status_page(settings: Settings, *, daemon_runs: bool) -> Iterator[Finding]:
    port, host = settings.status.port, settings.status.host
    if not port:
        yield ok("status page", "off, or on any free port (STATUS_PORT)")
        return
    if not daemon_runs:
        yield ok("status page", f"port {port}; no daemon runs that would answer")
        return
    secure = settings.status.tls_cert is not None
    token = settings.status.token
    address = host if is_loopback(host) else "127.0.0.1"
    request = urllib.request.Request(  # noqa: S310 - the scheme is ours
        f"{'https' if secure else 'http'}://{_bracketed(address)}:{port}/healthz",
        headers={} if token is None else {"Authorization": f"Bearer {token.get_secret_value()}"},
    )
    try:
        with opened(request, CONNECT_SECONDS, to_this_host=True) as answer:
            yield ok("status page", f"port {port} answers: {json.load(answer).get('health', 'ok')}")
    except urllib.error.HTTPError as error:
        yield fail("status page", f"port {port} answers {error.code}: {_reasons(error)}")
    except (OSError, ValueError) as error:
        yield fail("status page", f"port {port} does not answer ({error}); is it taken by another program?")


def _reasons(error: urllib.error.HTTPError) -> str:
    try:
        told = json.load(error)
    except ValueError:
        return "no words"
    return "; ".join(told.get("reasons", ())) or str(told.get("error", "no words"))


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
