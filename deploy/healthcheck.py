"""Asks the daemon in this container how it stands. Exit status: 0 it is healthy, 1 it is not or does not answer.

Asked every half minute, so it reads of the settings only what it needs and imports no package.
"""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from core.settings.dotenv import parse_dotenv

SECONDS = 4
PORT = 9464
ANY = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - asked at, not listened on


def main() -> int:
    try:
        status, text = ask(os.environ)
    except (OSError, ValueError, HTTPException) as error:
        print(f"no answer: {error}")
        return 1
    print(text)
    return 0 if status == 200 else 1


def ask(env: Mapping[str, str]) -> tuple[int, str]:
    """Status and text of `/healthz`. Raises OSError, ValueError or HTTPException."""
    env_file = Path(env["BREAKWATER_ENV_FILE"]) if env.get("BREAKWATER_ENV_FILE") else None
    told = _told(env, env_file)
    host, port = told.get("STATUS_HOST", ""), int(told.get("STATUS_PORT", PORT))
    token = _token(told, ROOT if env_file is None else env_file.parent)
    link = HTTPConnection(ANY.get(host, host), port, timeout=SECONDS)
    if told.get("STATUS_TLS_CERT"):
        # Our own host by its address: its certificate names the host as others know it.
        context = ssl._create_unverified_context()  # noqa: S323, SLF001
        link = HTTPSConnection(ANY.get(host, host), port, timeout=SECONDS, context=context)
    try:
        link.request("GET", "/healthz", headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = link.getresponse()
        return answer.status, answer.read(2_000).decode("utf-8", "replace").strip()
    finally:
        link.close()


def _told(env: Mapping[str, str], env_file: Path | None) -> dict[str, str]:
    """Environment over file; a secret and the file it lies in are one setting."""
    told: dict[str, str] = {}
    lines = [] if env_file is None else parse_dotenv(env_file.read_bytes(), env_file.name)[0]
    for name, text in (*((line.key, line.value) for line in lines), *env.items()):
        if text:
            told.pop(f"{name}_FILE", None)
            told.pop(name.removesuffix("_FILE"), None)
            told[name] = text
    return told


def _token(told: Mapping[str, str], folder: Path) -> str:
    """Where the daemon may have it from: a setting, the file one names, or a credential."""
    if token := told.get("STATUS_TOKEN"):
        return token
    paths = [folder / told["STATUS_TOKEN_FILE"]] if told.get("STATUS_TOKEN_FILE") else []
    if credentials := told.get("CREDENTIALS_DIRECTORY"):
        paths += [Path(credentials) / name for name in ("status_token", "breakwater_status_token")]
    return next((path.read_text("utf-8").strip() for path in paths if path.is_file()), "")


if __name__ == "__main__":
    sys.exit(main())
