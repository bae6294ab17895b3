"""What people are told, how loudly, and where besides Telegram."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Final

from pydantic import BeforeValidator, Field

from core.domain.alerts import NEVER_OFF, AlertKind, Noise
from core.settings.fields import Frozen, Setting
from core.settings.values import Count, Secret, parse_http_address, parse_list

DEFAULT_NOISE: Final[Mapping[AlertKind, Noise]] = {
    AlertKind.WAVE: Noise.SILENT,
    AlertKind.ENTRY: Noise.SILENT,
    AlertKind.FILL: Noise.SILENT,
    AlertKind.STOP_MOVED: Noise.SILENT,
    AlertKind.REPORT: Noise.SILENT,
}
"""Every other kind makes a sound."""


def parse_noise(value: object) -> tuple[str, ...]:
    """`wave=silent,fill=off`."""
    rules = parse_list(value)
    kinds = [_rule(rule)[0] for rule in rules]
    if twice := sorted({kind for kind in kinds if kinds.count(kind) > 1}):
        raise ValueError(f"names {twice[0].value} twice")
    return rules


def _rule(text: str) -> tuple[AlertKind, Noise]:
    kind_text, equals, noise_text = (part.strip().lower() for part in text.partition("="))
    if not equals:
        raise ValueError(f"{text!r} is not kind=noise, e.g. wave=silent")
    if kind_text not in set(AlertKind):
        raise ValueError(f"{kind_text!r} is no kind of alert; there are {', '.join(AlertKind)}")
    if noise_text not in set(Noise):
        raise ValueError(f"{noise_text!r} is neither on, silent nor off")
    kind, noise = AlertKind(kind_text), Noise(noise_text)
    if kind in NEVER_OFF and noise is Noise.OFF:
        raise ValueError(
            f"switches {kind.value} off: it tells of money that nothing watches (on or silent is possible)"
        )
    return kind, noise


class AlertSettings(Frozen):
    """Messages for people. They are kept until each channel has told them, over outages and restarts."""

    noise: Annotated[
        Annotated[tuple[str, ...], BeforeValidator(parse_noise)],
        Setting(
            "ALERT_NOISE",
            "how loud each kind of message is, where it is not the default: `on`, `silent` (without a sound) or `off` "
            "(in the log only); the kinds are in docs/OPERATIONS.md",
            "comma list such as `wave=off,fill=on`",
        ),
    ] = ()
    min_free_mb: Annotated[
        Annotated[Count, Field(ge=0, le=1_000_000)],
        Setting(
            "ALERT_MIN_FREE_MB", "free space of DATA_DIR and LOG_DIR below which people are told, MiB", "0 (off) up"
        ),
    ] = 1024
    webhook_url: Annotated[
        Annotated[str, BeforeValidator(parse_http_address)] | None,
        Setting(
            "ALERT_WEBHOOK_URL",
            "where each message is posted as JSON besides; of its path nothing is shown or logged",
            "https://…; http:// on loopback",
            private=True,
        ),
        Field(repr=False),
    ] = None
    webhook_secret: Annotated[
        Secret | None,
        Setting(
            "ALERT_WEBHOOK_SECRET",
            "key of the header `X-Breakwater-Signature`: hex HMAC-SHA256 of time stamp, dot and body",
            "at least 16 characters without spaces",
        ),
    ] = None


def noises(rules: Iterable[str]) -> Mapping[AlertKind, Noise]:
    """How loud every kind is, by rules that `parse_noise` has passed."""
    chosen = dict(map(_rule, rules))
    return {kind: chosen.get(kind, DEFAULT_NOISE.get(kind, Noise.ON)) for kind in AlertKind}
