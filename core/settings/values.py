"""Text to value and back, strictly: what the settings' types accept, and how they are written down again."""

from __future__ import annotations

import re
from decimal import Decimal
from enum import Enum
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from pydantic import BeforeValidator, SecretStr

from core.domain.money import HUNDRED
from core.domain.profit_steps import ProfitStep

PROJECT_ROOT = Path(__file__).resolve().parent.parent.parent
PLAIN_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)")
SECRET_TEXT = re.compile(r"[\x21-\x7e]+")
SYMBOL = re.compile(r"\w{1,40}(/\w{1,20}(:\w{1,20})?)?")
SECRET_QUERY_KEYS = {"token", "key", "apikey", "api_key", "secret", "signature", "password", "auth"}


def parse_decimal(value: object) -> Decimal:
    """Plain decimal text only: `nan`, `1e6`, `1_000`, `1,5` and `2 %` are refused by name rather than guessed at."""
    if isinstance(value, Decimal) and value.is_finite():
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    if not isinstance(value, str) or not PLAIN_NUMBER.fullmatch(value.strip()):
        raise ValueError("is not a plain decimal number (digits and at most one dot, no unit, no comma)")
    return Decimal(value.strip())


def parse_integer(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str) or not re.fullmatch(r"[+-]?\d{1,18}", value.strip()):
        raise ValueError("is not a whole number")
    return int(value)


def parse_switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    if not isinstance(value, str) or value.strip().lower() not in words:
        raise ValueError("is neither true nor false")
    return words[value.strip().lower()]


def parse_list(value: object) -> tuple[str, ...]:
    """Comma-separated; an empty item or a repetition is refused, an empty text is the empty list."""
    if isinstance(value, (tuple, list)):
        items = tuple(str(item) for item in value)
    elif isinstance(value, str):
        items = tuple(item.strip() for item in value.split(",")) if value.strip() else ()
    else:
        raise ValueError("is not a comma-separated list")  # noqa: TRY004 - pydantic reports ValueError only
    if "" in items:
        raise ValueError("has an empty item (two commas in a row, or one at the end)")
    if repeated := sorted({item for item in items if items.count(item) > 1}):
        raise ValueError(f"names {repeated[0]} twice")
    return items


def parse_user_ids(value: object) -> tuple[int, ...]:
    """Numbers of Telegram users, which are above 0; groups have no place here."""
    users = tuple(parse_integer(item) for item in parse_list(value))
    if any(user <= 0 for user in users):
        raise ValueError("has a number that is no user's (those of users are above 0)")
    return users


def parse_venues(value: object) -> tuple[str, ...]:
    return tuple(item.lower() for item in parse_list(value))


def parse_upper(value: object) -> tuple[str, ...]:
    return tuple(item.upper() for item in parse_list(value))


def parse_symbols(value: object) -> tuple[str, ...]:
    """Symbols as the venue (`BTCUSDT`) or as ccxt's unified form (`BTC/USDT:USDT`) writes them."""
    items = parse_upper(value)
    for item in items:
        if not SYMBOL.fullmatch(item):
            raise ValueError(f"{item!r} is not a symbol such as BTCUSDT or BTC/USDT:USDT")
    return items


def parse_steps(value: object) -> tuple[ProfitStep, ...]:
    """`1.5:50,3:50`: profit and share to close there, both percent."""
    if isinstance(value, tuple) and all(isinstance(step, ProfitStep) for step in value):
        return value
    steps = []
    for item in parse_list(value):
        percent, colon, share = item.partition(":")
        if not colon:
            raise ValueError(f"{item!r} is not profit:share, e.g. 1.5:50")
        steps.append(ProfitStep(percent=parse_decimal(percent), share=parse_decimal(share)))
    if any(step.percent <= 0 or step.share <= 0 for step in steps):
        raise ValueError("has a profit or a share that is not above 0")
    if any(later.percent <= earlier.percent for earlier, later in pairwise(steps)):
        raise ValueError("is not in rising order of profit")
    if sum(step.share for step in steps) > HUNDRED:
        raise ValueError("closes more than 100 percent altogether")
    return tuple(steps)


def parse_minutes(value: object) -> tuple[int, ...]:
    """Minutes of the hour, ascending; `*` is every minute."""
    if value == "*":
        return tuple(range(60))
    minutes = tuple(parse_integer(item) for item in parse_list(value))
    if not minutes:
        raise ValueError("names no minute")
    if any(not 0 <= minute < 60 for minute in minutes):
        raise ValueError("names a minute outside 0 to 59")
    return tuple(sorted(minutes))


def parse_symbol_choice(value: object) -> str:
    """`top N` (by 24 h volume), or a comma list of symbols."""
    if not isinstance(value, str):
        raise ValueError("is not text")  # noqa: TRY004 - pydantic reports ValueError only
    if match := re.fullmatch(r"top[ :]?(\d{1,3})", value.strip().lower()):
        if not 1 <= int(match[1]) <= 200:
            raise ValueError("asks for a number of symbols outside 1 to 200")
        return f"top {int(match[1])}"
    symbols = parse_symbols(value)
    if not symbols:
        raise ValueError("names no symbol")
    return ",".join(symbols)


def parse_secret(value: object) -> SecretStr:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(text, str) or not SECRET_TEXT.fullmatch(text):
        raise ValueError("holds a space, a line break or a character no key has (was it cut off when copied?)")
    return SecretStr(text)


def parse_folder(value: object) -> Path:
    """Relative folders count from the project, never from where the daemon was started (CFG-06)."""
    if not isinstance(value, (str, Path)) or not str(value).strip():
        raise ValueError("is not a folder name")
    return (PROJECT_ROOT / Path(value).expanduser()).resolve()


def is_loopback(host: str | None) -> bool:
    if host is None:
        return False
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def parse_url(value: object, *, schemes: tuple[str, str], path_allowed: bool) -> str:
    """A URL without credentials, with the encrypted scheme, or its plain form on loopback (SEC-08).

    A path is left as it was given: with and without a slash at its end are two addresses.
    """
    plain, encrypted = schemes
    text = value.strip() if isinstance(value, str) else ""
    parts = urlsplit(text)
    if parts.scheme not in schemes or not parts.hostname:
        raise ValueError(f"is not a URL beginning with {encrypted}://")
    if not all(32 < ord(char) < 127 for char in text):
        raise ValueError("holds a space or a character no URL has")
    _ = parts.port  # raises ValueError when it is not a number up to 65535
    if parts.scheme == plain and not is_loopback(parts.hostname):
        raise ValueError(f"uses {plain}:// to another host, where anyone on the way can read and forge it")
    if parts.username or parts.password or parts.fragment:
        raise ValueError("holds a user name, a password or a fragment")
    if any(key.lower() in SECRET_QUERY_KEYS for key, _text in parse_qsl(parts.query, keep_blank_values=True)):
        raise ValueError("carries a secret in its query, where it would be logged")
    if not path_allowed and (parts.path not in {"", "/"} or parts.query):
        raise ValueError("has a path or a query; give scheme, host and port only")
    return text.removesuffix("/") if parts.path == "/" and not parts.query else text


def address_root(url: str) -> str:
    """Scheme, host and port of a URL that `parse_url` has passed."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def parse_http_base(value: object) -> str:
    return parse_url(value, schemes=("http", "https"), path_allowed=False)


def parse_http_root(value: object) -> str:
    """What a path is put behind."""
    return parse_http_address(value).rstrip("/")


def parse_http_address(value: object) -> str:
    return parse_url(value, schemes=("http", "https"), path_allowed=True)


def parse_socket_url(value: object) -> str:
    return parse_url(value, schemes=("ws", "wss"), path_allowed=True)


Money = Annotated[Decimal, BeforeValidator(parse_decimal)]
Percent = Annotated[Decimal, BeforeValidator(parse_decimal)]
Count = Annotated[int, BeforeValidator(parse_integer)]
UserIds = Annotated[tuple[int, ...], BeforeValidator(parse_user_ids)]
Switch = Annotated[bool, BeforeValidator(parse_switch)]
Secret = Annotated[SecretStr, BeforeValidator(parse_secret)]
Folder = Annotated[Path, BeforeValidator(parse_folder)]


def to_text(value: object) -> str:
    """The text that parses back to `value`. A secret is given away: the caller decides whether it may be seen."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case SecretStr():
            return value.get_secret_value()
        case Decimal():
            return format(value, "f")
        case Enum():
            return str(value.value)
        case ProfitStep():
            return f"{to_text(value.percent)}:{to_text(value.share)}"
        case tuple():
            return "*" if value == tuple(range(60)) else ",".join(to_text(item) for item in value)
        case _:
            return str(value)
