"""Whether what listens is open to nobody it should not be: beyond loopback a token and TLS are required (SEC-08)."""

from __future__ import annotations

from collections.abc import Iterator

from core.settings.problems import Problem
from core.settings.servers import StatusSettings, WebhookSettings, is_readable_file
from core.settings.tree import Settings
from core.settings.values import is_loopback

LEAST_SECRET = 16
"""Characters. A port is guessed at faster than any lock can be changed."""


def what_listens_elsewhere_has_token_and_tls(settings: Settings) -> Iterator[Problem]:
    for name, server in _servers(settings):
        if server.port is None:
            continue
        elsewhere = not is_loopback(server.host)
        if server.token is None and (elsewhere or name == "WEBHOOK"):
            who = "anyone who reaches the port" if elsewhere else "every program of this host"
            what = "could read what is held" if name == "STATUS" else "could make the daemon trade"
            yield Problem(
                variable=f"{name}_TOKEN",
                what=f"is missing: {who} {what} (SEC-08)",
                fix='set a long random one, e.g. from `python3 -c "import secrets; print(secrets.token_urlsafe(32))"`',
            )
        if elsewhere and server.tls_cert is None:
            yield Problem(
                variable=f"{name}_HOST",
                value=server.host,
                what="is not loopback, and without TLS anyone on the way can read the token (SEC-08)",
                fix=f"set {name}_TLS_CERT and {name}_TLS_KEY, or leave {name}_HOST and put a proxy with TLS before it",
            )


def secrets_of_ports_are_long(settings: Settings) -> Iterator[Problem]:
    secrets = {
        "STATUS_TOKEN": settings.status.token,
        "WEBHOOK_TOKEN": settings.webhook.token,
        "WEBHOOK_HMAC_KEY": settings.webhook.hmac_key,
    }
    for name, secret in secrets.items():
        if secret is not None and len(secret.get_secret_value()) < LEAST_SECRET:
            yield Problem(
                variable=name, what=f"has fewer than {LEAST_SECRET} characters", fix="set a longer, random one"
            )


def certificate_and_key_come_together(settings: Settings) -> Iterator[Problem]:
    for name, server in _servers(settings):
        for have, lack in (("tls_cert", "tls_key"), ("tls_key", "tls_cert")):
            if getattr(server, have) is not None and getattr(server, lack) is None:
                present, missing = f"{name}_{have}".upper(), f"{name}_{lack}".upper()
                yield Problem(variable=missing, what=f"is missing while {present} is set", fix="set both or neither")
        for part in ("tls_cert", "tls_key"):
            path = getattr(server, part)
            if path is not None and server.port is not None and not is_readable_file(path):
                yield Problem(
                    variable=f"{name}_{part}".upper(),
                    value=str(path),
                    what="is no file that this user can read",
                    fix="correct the path, or give this user the right to read it",
                )


def ports_are_apart(settings: Settings) -> Iterator[Problem]:
    status, webhook = settings.status.port, settings.webhook.port
    if status and status == webhook:
        yield Problem(
            variable="WEBHOOK_PORT",
            value=str(webhook),
            what="is the same port as STATUS_PORT",
            fix="choose another; what may post signals need not read the status",
        )


def _servers(settings: Settings) -> tuple[tuple[str, StatusSettings | WebhookSettings], ...]:
    return ("STATUS", settings.status), ("WEBHOOK", settings.webhook)


SERVER_CHECKS = (
    what_listens_elsewhere_has_token_and_tls,
    secrets_of_ports_are_long,
    certificate_and_key_come_together,
    ports_are_apart,
)
