"""Tells the operator something by every channel that is configured: Telegram, and the webhook for alerts.

  python tools/tell.py "the host restarts at noon"
  python tools/tell.py --service breakwater.service     what became of the service; systemd starts this (OnFailure=)

Works without a daemon, and where the rest of the configuration is broken. Exit status: 0 told by every channel, 1 not
by each, 2 no channel is configured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from core.alerts.webhook import signature
from core.build import build_id
from core.clock import SystemClock, iso_utc
from core.config import Settings, default_env_file, load_settings
from core.errors import ConfigError, VenueError
from core.lifecycle.outcome import ExitStatus
from core.redaction import Redactor
from core.transport import AiohttpHttp
from tools.keys_alone import settings_alone

TOLD, NOT_TOLD, NO_CHANNEL = 0, 1, 2
ATTEMPTS, PAUSE_S = 5, 4.0
OURS = ("TELEGRAM_TOKEN", "TELEGRAM_CHAT_ID", "TELEGRAM_API_URL", "ALERT_WEBHOOK_URL", "ALERT_WEBHOOK_SECRET")
MEANINGS: Mapping[str, str] = {
    str(int(ExitStatus.CONFIGURATION)): "the configuration cannot be used",
    str(int(ExitStatus.PREFLIGHT_REFUSED)): "pre-flight refused the start",
    str(int(ExitStatus.OPERATOR_NEEDED)): "it was stopped and left something for you to do",
}


def main() -> int:
    arguments = _arguments()
    settings = _settings(arguments.env_file or default_env_file())
    text = _of_service(arguments.service, os.environ) if arguments.service else arguments.text
    results = asyncio.run(tell(settings, text))
    if not results:
        print("not told: neither TELEGRAM_TOKEN nor ALERT_WEBHOOK_URL is set", file=sys.stderr)
        return NO_CHANNEL
    redact = Redactor(settings.secret_values()).text
    for channel, why in results.items():
        print(f"{channel}: {'told' if why is None else redact(f'not told, {why}')}")
    return NOT_TOLD if any(results.values()) else TOLD


async def tell(settings: Settings, text: str, *, pause_s: float = PAUSE_S) -> dict[str, str | None]:
    """By channel: None = told, else why not."""
    channels = {}
    telegram, alerts = settings.telegram, settings.alerts
    if telegram.token is not None and telegram.chat_id is not None:
        url = f"{telegram.api_url}/bot{telegram.token.get_secret_value()}/sendMessage"
        body = json.dumps({"chat_id": telegram.chat_id, "text": text}).encode()
        channels["telegram"] = _post(url, body, None, pause_s)
    if alerts.webhook_url is not None and alerts.webhook_secret is not None:
        url, secret = alerts.webhook_url, alerts.webhook_secret.get_secret_value()
        channels["webhook"] = _post(url, _hooked(text), secret, pause_s)
    return dict(zip(channels, await asyncio.gather(*channels.values()), strict=True))


async def _post(url: str, body: bytes, secret: str | None, pause_s: float) -> str | None:
    http, why = AiohttpHttp("the channel"), ""
    try:
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(pause_s)
            headers = {"Content-Type": "application/json", "User-Agent": "breakwater"}
            if secret is not None:
                stamp = str(SystemClock().now_ms() // 1000)
                headers |= {"X-Breakwater-Timestamp": stamp, "X-Breakwater-Signature": signature(secret, stamp, body)}
            try:
                answer = await http.request("POST", url, headers, body)
            except VenueError as error:
                why = str(error)
                continue
            if 200 <= answer.status < 300:
                return None
            why = f"HTTP {answer.status}: {answer.body[:200].decode('utf-8', 'replace')}"
    finally:
        await http.close()
    return why


def _hooked(text: str) -> bytes:
    """As alerts of the daemon look, with an id that none of them has."""
    now_ms = SystemClock().now_ms()
    told = {"id": f"tell-{now_ms}", "time": iso_utc(now_ms), "level": "critical", "kind": "stop", "text": text}
    return json.dumps({**told, "alerts": 1, "build": build_id(), "instance": socket.gethostname()}).encode()


def _of_service(unit: str, env: Mapping[str, str]) -> str:
    """From what systemd tells a unit that it starts because of another (MONITOR_…, since 251)."""
    status, result = env.get("MONITOR_EXIT_STATUS", ""), env.get("MONITOR_SERVICE_RESULT", "")
    if env.get("MONITOR_EXIT_CODE", "exited") == "exited" and status:
        why = MEANINGS.get(status, "it failed") + f" (exit status {status})"
    else:
        why = ", ".join(filter(None, (result, status))) or "why is not known"
    name = unit.removesuffix(".service")
    stops = "Positions rest on their stops at the venues; nothing moves or adds one."
    if status == str(int(ExitStatus.OPERATOR_NEEDED)):
        stops = "A position may have NO stop; nothing adds one until the daemon runs: look at the venues."
    return (
        f"🔴 {unit} on {socket.gethostname()} has failed and is not running: {why}. {stops} "
        f"Look: journalctl -u {name} -n 50; then: systemctl restart {name}"
    )


def _settings(env_file: Path | None) -> Settings:
    """The whole configuration; of a broken one what the channels need, and of that each by itself."""
    try:
        return load_settings(os.environ, env_file, to_trade=False)
    except ConfigError:
        settings, problems = settings_alone(OURS, os.environ, env_file)
        for problem in problems:
            print(problem, file=sys.stderr)
        return settings


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Tell the operator something by every channel that is configured.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("text", nargs="?", help="what to say")
    what.add_argument("--service", metavar="UNIT", help="say that this unit has failed, and why")
    parser.add_argument("--env-file", type=Path, metavar="PATH", help="read this file instead of .env")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
