"""What listens on a port of this host: the status page and the webhook for signals. Neither does unless it is set."""

from __future__ import annotations

import re
from decimal import Decimal
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from core.settings.fields import Frozen, Setting
from core.settings.values import Count, Folder, Money, Secret

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


def parse_host(value: object) -> str:
    """An address or a name of this host, without a port."""
    text = value.strip() if isinstance(value, str) else ""
    try:
        return str(ip_address(text.strip("[]")))
    except ValueError:
        if not _HOST.fullmatch(text):
            raise ValueError("is neither an address nor a name of a host") from None
    return text.lower()


Host = Annotated[str, BeforeValidator(parse_host)]
Port = Annotated[Count, Field(ge=0, le=65_535)]
_ELSEWHERE = "an address of this host; another than loopback needs a token and TLS"


class StatusSettings(Frozen):
    """The status page: `/healthz`, `/metrics` and `/status`, read only."""

    port: Annotated[
        Port | None,
        Setting("STATUS_PORT", "port of the status page; empty = none, 0 = any free one", "0 to 65535"),
    ] = None
    host: Annotated[Host, Setting("STATUS_HOST", "where the status page listens", _ELSEWHERE)] = "127.0.0.1"
    token: Annotated[
        Secret | None,
        Setting(
            "STATUS_TOKEN",
            "who asks must send it as `Authorization: Bearer …`; empty = nobody is asked, on loopback only",
            "at least 16 characters without spaces",
        ),
    ] = None
    tls_cert: Annotated[
        Folder | None,
        Setting("STATUS_TLS_CERT", "file of the certificate chain, relative to the project", "a PEM file"),
    ] = None
    tls_key: Annotated[
        Folder | None,
        Setting("STATUS_TLS_KEY", "file of its private key, relative to the project", "a PEM file"),
    ] = None


class WebhookSettings(Frozen):
    """Signals that are posted to `/signals`, by TradingView or anything else. Behind a proxy that speaks TLS it stays
    on loopback, which is the way it is meant."""

    port: Annotated[
        Port | None,
        Setting("WEBHOOK_PORT", "port signals are posted to; empty = none, 0 = any free one", "0 to 65535"),
    ] = None
    host: Annotated[Host, Setting("WEBHOOK_HOST", "where the webhook listens", _ELSEWHERE)] = "127.0.0.1"
    token: Annotated[
        Secret | None,
        Setting(
            "WEBHOOK_TOKEN",
            "who posts must send it: header `X-Breakwater-Token`, or `token` in the message where no header can be set",
            "at least 16 characters without spaces",
        ),
    ] = None
    hmac_key: Annotated[
        Secret | None,
        Setting(
            "WEBHOOK_HMAC_KEY",
            "if set, each message must be signed besides: header `X-Breakwater-Signature`, hex HMAC-SHA256 of the body",
            "at least 16 characters without spaces",
        ),
    ] = None
    tls_cert: Annotated[
        Folder | None,
        Setting("WEBHOOK_TLS_CERT", "file of the certificate chain, relative to the project", "a PEM file"),
    ] = None
    tls_key: Annotated[
        Folder | None,
        Setting("WEBHOOK_TLS_KEY", "file of its private key, relative to the project", "a PEM file"),
    ] = None
    per_minute: Annotated[
        Annotated[Count, Field(ge=1, le=6_000)],
        Setting("WEBHOOK_PER_MINUTE", "messages taken within a minute; more are answered 429", "1 to 6000"),
    ] = 120
    score: Annotated[
        Annotated[Money, Field(ge=-1_000_000, le=1_000_000)],
        Setting("WEBHOOK_SCORE", "score of a posted signal that names none", "any number"),
    ] = Decimal(0)


def is_readable_file(path: Path | None) -> bool:
    """Whether the path names a file that this user can open."""
    if path is None:
        return False
    try:
        with path.open("rb"):
            return True
    except OSError:
        return False
