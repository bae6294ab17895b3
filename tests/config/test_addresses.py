"""Addresses reach whom they name: a path stays as it was given, and a root takes what is put behind it."""

import pytest

from core.config import load_settings

HOOK = {"ALERT_WEBHOOK_SECRET": "0123456789abcdef"}
TOKEN = {"SIGNAL_WS_TOKEN": "0123456789abcdef"}


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("://ops.example.com/hooks/breakwater/", "://ops.example.com/hooks/breakwater/"),
        ("://ops.example.com/hooks/breakwater", "://ops.example.com/hooks/breakwater"),
        ("://ops.example.com/hook/?to=me/", "://ops.example.com/hook/?to=me/"),
        ("://ops.example.com/?to=me/", "://ops.example.com/?to=me/"),
        ("://ops.example.com/", "://ops.example.com"),
        ("://ops.example.com", "://ops.example.com"),
    ],
)
def test_the_path_of_an_address_is_left_as_it_was_given(given: str, read: str) -> None:
    hook = load_settings({"ALERT_WEBHOOK_URL": f"https{given}", **HOOK}, None, to_trade=False)
    assert hook.alerts.webhook_url == f"https{read}"
    server = load_settings({"SIGNAL_WS_URL": f"wss{given}", **TOKEN}, None, to_trade=False)
    assert server.signals.ws_url == f"wss{read}"


@pytest.mark.parametrize("given", ["https://tg.example.com/api/", "https://tg.example.com/api"])
def test_a_root_ends_without_a_slash(given: str) -> None:
    assert (
        load_settings({"TELEGRAM_API_URL": given}, None, to_trade=False).telegram.api_url
        == "https://tg.example.com/api"
    )


def test_the_address_of_a_venue_is_the_same_with_and_without_a_slash() -> None:
    urls = ("https://venue.example", "https://venue.example/")
    first, second = (load_settings({"BINANCE_URL": url}, None, to_trade=False).binance.url for url in urls)
    assert first == second
