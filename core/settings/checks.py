"""Combinations that make no sense, one small check each; all are run and all their problems reported (CFG-05)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from urllib.parse import urlsplit

from core.settings.exit_checks import EXIT_CHECKS
from core.settings.problems import Problem
from core.settings.server_checks import SERVER_CHECKS
from core.settings.tree import Settings
from core.settings.values import is_loopback, to_text

LEAST_SECRET = 16
Check = Callable[[Settings], Iterator[Problem]]


def key_and_secret_come_together(settings: Settings) -> Iterator[Problem]:
    for name in ("binance", "bybit", "okx"):
        venue = getattr(settings, name)
        for have, lack in (("api_key", "api_secret"), ("api_secret", "api_key")):
            if getattr(venue, have) is not None and getattr(venue, lack) is None:
                missing, present = f"{name}_{lack}".upper(), f"{name}_{have}".upper()
                yield Problem(variable=missing, what=f"is missing while {present} is set", fix="set both or neither")


def okx_key_has_its_passphrase(settings: Settings) -> Iterator[Problem]:
    if settings.okx.configured and settings.okx.passphrase is None:
        yield Problem(
            variable="OKX_PASSPHRASE",
            what="is missing while OKX_API_KEY is set",
            fix="set the passphrase chosen when the key was made",
        )
    if settings.okx.passphrase is not None and not settings.okx.configured:
        yield Problem(variable="OKX_PASSPHRASE", what="is set without OKX_API_KEY", fix="set the key too, or delete it")


def default_exchange_is_traded(settings: Settings) -> Iterator[Problem]:
    chosen = settings.trading.default_exchange
    if chosen and settings.trading.exchanges and chosen not in settings.trading.exchanges:
        yield Problem(
            variable="DEFAULT_EXCHANGE",
            value=chosen,
            what="is not one of EXCHANGES",
            fix=f"choose one of {to_text(settings.trading.exchanges)}",
        )


def an_entry_fits_the_limits(settings: Settings) -> Iterator[Problem]:
    size, limit = settings.sizing.position_size_usd, settings.risk.max_exposure_usd
    if size > limit:
        yield Problem(
            variable="POSITION_SIZE_USD",
            value=to_text(size),
            what=f"is more than MAX_EXPOSURE_USD ({to_text(limit)}), so no entry could ever be allowed",
            fix="lower the size or raise the exposure",
        )


def the_minimum_is_not_above_the_size(settings: Settings) -> Iterator[Problem]:
    least, size = settings.sizing.min_position_size_usdt, settings.sizing.position_size_usd
    if least > size:
        yield Problem(
            variable="MIN_POSITION_SIZE_USDT",
            value=to_text(least),
            what=f"is more than POSITION_SIZE_USD ({to_text(size)}), so every entry would be refused",
            fix="lower the minimum or raise the size",
        )


def the_stop_is_nearer_than_the_liquidation(settings: Settings) -> Iterator[Problem]:
    stop, leverage = settings.protection.stop_loss_percent, settings.sizing.leverage
    buffer = settings.protection.liquidation_buffer_percent
    reachable = Decimal(100) / leverage - buffer
    if stop > reachable or stop * leverage >= 100:
        away, most = (to_text(value.quantize(Decimal("0.01"))) for value in (Decimal(100) / leverage, reachable))
        yield Problem(
            variable="STOP_LOSS_PERCENT",
            value=to_text(stop),
            what=f"lies beyond the liquidation price at LEVERAGE={leverage} (about {away} % away), "
            f"or nearer to it than LIQUIDATION_BUFFER_PERCENT={to_text(buffer)}",
            fix=f"use a stop of {most} at most, or less leverage",
        )


def the_stop_is_within_its_bounds(settings: Settings) -> Iterator[Problem]:
    protection = settings.protection
    least = protection.min_stop_distance_percent + 2 * protection.taker_fee_percent
    if not least <= protection.stop_loss_percent <= protection.max_stop_distance_percent:
        most = to_text(protection.max_stop_distance_percent)
        yield Problem(
            variable="STOP_LOSS_PERCENT",
            value=to_text(protection.stop_loss_percent),
            what=f"is not between {to_text(least)} (MIN_STOP_DISTANCE_PERCENT and the fees of two trades) and "
            f"MAX_STOP_DISTANCE_PERCENT={most}, so no entry could ever be allowed",
            fix="choose a stop within these bounds, or other bounds",
        )


def a_prefetch_ends_before_its_wave(settings: Settings) -> Iterator[Problem]:
    wave = settings.wave
    if wave.prefetch_timeout_ms >= wave.timeout_seconds * 1000:
        yield Problem(
            variable="PREFETCH_TIMEOUT_MS",
            value=to_text(wave.prefetch_timeout_ms),
            what=f"is not shorter than WAVE_TIMEOUT_SECONDS ({wave.timeout_seconds}), so a wave could end unread",
            fix="lower it or raise the wave's time",
        )


def a_remote_signal_server_is_authenticated(settings: Settings) -> Iterator[Problem]:
    signals = settings.signals
    if signals.ws_token is not None and signals.ws_url is None:
        yield Problem(
            variable="SIGNAL_WS_TOKEN", what="is set without SIGNAL_WS_URL", fix="set the address too, or delete it"
        )
    if signals.ws_url and signals.ws_token is None and not is_loopback(urlsplit(signals.ws_url).hostname):
        yield Problem(
            variable="SIGNAL_WS_TOKEN",
            what="is missing for a signal server on another host: anyone there could make the daemon trade (SEC-08)",
            fix="set the server's token",
        )


def telegram_has_token_and_chat(settings: Settings) -> Iterator[Problem]:
    token, chat = settings.telegram.token, settings.telegram.chat_id
    if (token is None) != (chat is None):
        missing, present = (
            ("TELEGRAM_TOKEN", "TELEGRAM_CHAT_ID") if token is None else ("TELEGRAM_CHAT_ID", "TELEGRAM_TOKEN")
        )
        yield Problem(variable=missing, what=f"is missing while {present} is set", fix="set both or neither")


def each_telegram_user_has_one_role(settings: Settings) -> Iterator[Problem]:
    telegram = settings.telegram
    listed = (
        ("TELEGRAM_OWNERS", telegram.owners),
        ("TELEGRAM_OPERATORS", telegram.operators),
        ("TELEGRAM_VIEWERS", telegram.viewers),
    )
    seen: dict[int, str] = {}
    for variable, users in listed:
        for user in users:
            if (other := seen.setdefault(user, variable)) != variable:
                what = f"names {user}, who is in {other} already"
                yield Problem(variable=variable, value=to_text(users), what=what, fix="give each user one role")


def alerts_are_posted_signed(settings: Settings) -> Iterator[Problem]:
    url, secret = settings.alerts.webhook_url, settings.alerts.webhook_secret
    if (url is None) != (secret is None):
        missing, present = (
            ("ALERT_WEBHOOK_URL", "ALERT_WEBHOOK_SECRET")
            if url is None
            else ("ALERT_WEBHOOK_SECRET", "ALERT_WEBHOOK_URL")
        )
        yield Problem(variable=missing, what=f"is missing while {present} is set", fix="set both or neither")
    if secret is not None and len(secret.get_secret_value()) < LEAST_SECRET:
        yield Problem(
            variable="ALERT_WEBHOOK_SECRET",
            what=f"has fewer than {LEAST_SECRET} characters and could be guessed",
            fix="use a long random one",
        )


def logs_and_data_are_apart(settings: Settings) -> Iterator[Problem]:
    if settings.process.data_dir == settings.process.log_dir:
        yield Problem(
            variable="LOG_DIR",
            value=str(settings.process.log_dir),
            what="is the same folder as DATA_DIR, whose files must never be tidied away",
            fix="choose another folder",
        )


def some_venue_has_a_key(settings: Settings) -> Iterator[Problem]:
    if not settings.trading.exchanges and not settings.venues:
        yield Problem(
            variable="BINANCE_API_KEY",
            what="is missing, and no other venue has a key either",
            fix="set BINANCE_API_KEY and BINANCE_API_SECRET, or try it without keys: --dry-run",
        )


def every_chosen_venue_has_a_key(settings: Settings) -> Iterator[Problem]:
    for name, venue in settings.venues.items():
        if not venue.configured:
            yield Problem(
                variable=f"{name}_api_key".upper(),
                what=f"is missing while EXCHANGES names {name}",
                fix=f"set the key or take {name} out of EXCHANGES",
            )


def the_default_exchange_has_a_key(settings: Settings) -> Iterator[Problem]:
    chosen = settings.trading.default_exchange
    if chosen and not settings.trading.exchanges and settings.venues and chosen not in settings.venues:
        yield Problem(
            variable="DEFAULT_EXCHANGE",
            value=chosen,
            what="has no API key",
            fix=f"set {chosen.upper()}_API_KEY or choose a venue that has one",
        )


def environments_are_not_mixed(settings: Settings) -> Iterator[Problem]:
    kinds = {name: venue.environment for name, venue in settings.venues.items()}
    if len(set(kinds.values())) > 1 and not settings.trading.allow_mixed_environments:
        listed = ", ".join(f"{name} is {kind}" for name, kind in kinds.items())
        yield Problem(
            variable="EXCHANGES",
            what=f"would trade different environments side by side: {listed} (CFG-03)",
            fix="correct the *_TESTNET and *_URL settings, or set ALLOW_MIXED_ENVIRONMENTS=true if it is meant",
        )


ALWAYS: tuple[Check, ...] = (
    key_and_secret_come_together,
    okx_key_has_its_passphrase,
    default_exchange_is_traded,
    an_entry_fits_the_limits,
    the_minimum_is_not_above_the_size,
    the_stop_is_nearer_than_the_liquidation,
    the_stop_is_within_its_bounds,
    *EXIT_CHECKS,
    *SERVER_CHECKS,
    a_prefetch_ends_before_its_wave,
    a_remote_signal_server_is_authenticated,
    telegram_has_token_and_chat,
    alerts_are_posted_signed,
    each_telegram_user_has_one_role,
    logs_and_data_are_apart,
)
TO_TRADE: tuple[Check, ...] = (
    some_venue_has_a_key,
    every_chosen_venue_has_a_key,
    the_default_exchange_has_a_key,
    environments_are_not_mixed,
)


def problems_of(settings: Settings, *, to_trade: bool) -> list[Problem]:
    """Run every check; those of `TO_TRADE` only where the configured venues will be used."""
    checks = ALWAYS + TO_TRADE if to_trade else ALWAYS
    return [problem for check in checks for problem in check(settings)]
