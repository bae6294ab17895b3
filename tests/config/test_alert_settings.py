"""How loud alerts are, and where they are posted."""

import pytest

from core.config import Format, load_settings, show_config
from core.domain.alerts import AlertKind, Noise
from core.errors import ConfigError
from core.settings.alerts import noises

KEYS = {"BINANCE_API_KEY": "key", "BINANCE_API_SECRET": "secret"}
SECRET = "0123456789abcdef"
PRIVATE = "https://hooks.example.com/services/T000/B000/whoever-knows-this-may-post"


def refused(**names: str) -> str:
    with pytest.raises(ConfigError) as error:
        load_settings({**KEYS, **names}, None)
    return str(error.value)


def test_a_kind_is_as_loud_as_it_is_set_and_others_as_by_default() -> None:
    settings = load_settings({**KEYS, "ALERT_NOISE": "wave=off, stream=silent,unprotected=silent"}, None)
    loud = noises(settings.alerts.noise)
    assert (loud[AlertKind.WAVE], loud[AlertKind.STREAM], loud[AlertKind.FILL]) == (
        Noise.OFF,
        Noise.SILENT,
        Noise.SILENT,
    )
    assert loud[AlertKind.UNPROTECTED] is Noise.SILENT
    assert set(loud) == set(AlertKind)


def test_what_is_about_unwatched_money_cannot_be_switched_off() -> None:
    assert "switches unprotected off: it tells of money that nothing watches" in refused(ALERT_NOISE="unprotected=off")
    assert "switches unclosable off" in refused(ALERT_NOISE="wave=off,unclosable=off")


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("wave", "is not kind=noise"),
        ("wafe=off", "is no kind of alert; there are wave, entry,"),
        ("wave=loud", "is neither on, silent nor off"),
        ("wave=off,wave=on", "names wave twice"),
    ],
)
def test_a_rule_that_says_nothing_is_refused(rules: str, said: str) -> None:
    assert said in refused(ALERT_NOISE=rules)


def test_alerts_are_posted_signed_over_tls_or_to_this_host() -> None:
    hook = {"ALERT_WEBHOOK_URL": "http://127.0.0.1:9/hook", "ALERT_WEBHOOK_SECRET": SECRET}
    assert load_settings({**KEYS, **hook}, None).alerts.webhook_url == "http://127.0.0.1:9/hook"
    assert "uses http:// to another host" in refused(**{**hook, "ALERT_WEBHOOK_URL": "http://h.example/hook"})
    assert "ALERT_WEBHOOK_SECRET: is missing" in refused(ALERT_WEBHOOK_URL="https://h.example/hook")
    assert "could be guessed" in refused(**{**hook, "ALERT_WEBHOOK_SECRET": SECRET[1:]})


@pytest.mark.parametrize("form", ["table", "env", "json"])
def test_of_the_webhooks_address_scheme_and_host_are_shown_and_no_more(form: Format) -> None:
    settings = load_settings({**KEYS, "ALERT_WEBHOOK_URL": PRIVATE, "ALERT_WEBHOOK_SECRET": SECRET}, None)
    shown = show_config(settings, form)
    assert "https://hooks.example.com/***" in shown
    assert "T000" not in shown + repr(settings)
    assert PRIVATE in settings.secret_values()
    assert "T000" not in refused(ALERT_WEBHOOK_URL=PRIVATE.replace("https", "http"), ALERT_WEBHOOK_SECRET=SECRET)


def test_an_address_that_is_a_host_alone_is_shown_and_no_secret() -> None:
    url = "https://hooks.example.com"
    settings = load_settings({**KEYS, "ALERT_WEBHOOK_URL": url, "ALERT_WEBHOOK_SECRET": SECRET}, None)
    assert f"ALERT_WEBHOOK_URL={url}\n" in show_config(settings, "env")
    assert url not in settings.secret_values()
