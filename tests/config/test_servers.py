"""What listens, and what it listens to, is open to nobody without a token and TLS beyond this host (SEC-08)."""

from pathlib import Path

import pytest

from core.config import Settings, load_settings
from core.errors import ConfigError
from tests.contract import certificate

TOKEN = "correct-horse-battery"
KEYS = {"BINANCE_API_KEY": "key-1234567890", "BINANCE_API_SECRET": "secret-1234567890"}


def settings(**names: str) -> Settings:
    return load_settings({**KEYS, **names}, None)


def refused(**names: str) -> dict[str, str]:
    """By variable, what is said against it."""
    with pytest.raises(ConfigError) as caught:
        settings(**names)
    return {problem.variable: str(problem) for problem in caught.value.problems}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    chain, key = certificate.written(tmp_path)
    return {"CERT": str(chain), "KEY": str(key)}


def test_nothing_listens_unless_a_port_is_set() -> None:
    assert settings().status.port is None
    assert settings().webhook.port is None


def test_the_status_page_of_this_host_needs_no_token() -> None:
    for host in ("127.0.0.1", "localhost", "::1", "127.0.0.9"):
        assert settings(STATUS_PORT="9100", STATUS_HOST=host).status.host == host


@pytest.mark.failure("SEC-08")
@pytest.mark.parametrize("server", ["STATUS", "WEBHOOK"])
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "vps.example.net", "127.0.0.1.example.net"])
def test_beyond_loopback_both_a_token_and_tls_are_required(server: str, host: str, files: dict[str, str]) -> None:
    given = {f"{server}_PORT": "9100", f"{server}_HOST": host}
    tls = {f"{server}_TLS_{what}": path for what, path in files.items()}
    assert refused(**given).keys() == {f"{server}_HOST", f"{server}_TOKEN"}
    assert refused(**given, **{f"{server}_TOKEN": TOKEN}).keys() == {f"{server}_HOST"}
    assert refused(**given, **tls).keys() == {f"{server}_TOKEN"}
    settings(**given, **tls, **{f"{server}_TOKEN": TOKEN})


@pytest.mark.failure("SEC-08")
def test_who_posts_signals_must_always_know_the_token() -> None:
    assert "could make the daemon trade" in refused(WEBHOOK_PORT="9101")["WEBHOOK_TOKEN"]
    assert settings(WEBHOOK_PORT="9101", WEBHOOK_TOKEN=TOKEN).webhook.host == "127.0.0.1"


@pytest.mark.failure("SEC-08")
@pytest.mark.parametrize(
    ("given", "variable"),
    [
        ({"SIGNAL_WS_URL": "ws://signals.example", "SIGNAL_WS_TOKEN": "t"}, "SIGNAL_WS_URL"),
        ({"SIGNAL_WS_URL": "ws://127.0.0.1.example", "SIGNAL_WS_TOKEN": "t"}, "SIGNAL_WS_URL"),
        ({"SIGNAL_WS_URL": "ws://10.0.0.7", "SIGNAL_WS_TOKEN": "t"}, "SIGNAL_WS_URL"),
        ({"SIGNAL_WS_URL": "wss://signals.example"}, "SIGNAL_WS_TOKEN"),
        ({"BINANCE_URL": "http://10.0.0.7:8080"}, "BINANCE_URL"),
        ({"TELEGRAM_API_URL": "http://10.0.0.7:8080"}, "TELEGRAM_API_URL"),
    ],
)
def test_what_is_reached_beyond_loopback_is_encrypted_and_signals_are_authenticated(
    given: dict[str, str], variable: str
) -> None:
    assert variable in refused(**given)


@pytest.mark.failure("SEC-08")
def test_plain_links_are_allowed_on_this_host() -> None:
    assert settings(SIGNAL_WS_URL="ws://127.0.0.1:8765").signals.ws_token is None
    settings(SIGNAL_WS_URL="ws://[::1]:8765", SIGNAL_WS_TOKEN="t")
    settings(SIGNAL_WS_URL="wss://signals.example", SIGNAL_WS_TOKEN="t")


def test_a_secret_that_can_be_guessed_is_refused() -> None:
    short = {"STATUS_TOKEN": "short", "WEBHOOK_TOKEN": "a" * 15, "WEBHOOK_HMAC_KEY": "b"}
    assert refused(**short).keys() == short.keys()


def test_certificate_and_key_come_together_and_can_be_read(files: dict[str, str]) -> None:
    assert refused(STATUS_TLS_CERT=files["CERT"]).keys() == {"STATUS_TLS_KEY"}
    assert refused(WEBHOOK_TLS_KEY=files["KEY"]).keys() == {"WEBHOOK_TLS_CERT"}
    absent = {"STATUS_TLS_CERT": files["CERT"], "STATUS_TLS_KEY": files["KEY"] + ".gone"}
    assert "no file" in refused(STATUS_PORT="9100", **absent)["STATUS_TLS_KEY"]


def test_two_servers_do_not_share_a_port() -> None:
    assert "WEBHOOK_PORT" in refused(STATUS_PORT="9100", WEBHOOK_PORT="9100", WEBHOOK_TOKEN=TOKEN)
    settings(STATUS_PORT="0", WEBHOOK_PORT="0", WEBHOOK_TOKEN=TOKEN)


@pytest.mark.parametrize("host", ["127.0.0.1:9100", "http://127.0.0.1", "a b", "-", "*"])
def test_a_host_is_an_address_or_a_name_and_nothing_more(host: str) -> None:
    assert "STATUS_HOST" in refused(STATUS_HOST=host)


def test_tokens_are_secrets_that_no_output_shows() -> None:
    given = settings(STATUS_TOKEN=TOKEN, WEBHOOK_TOKEN=TOKEN + "2", WEBHOOK_HMAC_KEY=TOKEN + "3")
    assert {TOKEN, TOKEN + "2", TOKEN + "3"} <= set(given.secret_values())
    assert TOKEN not in repr(given)
