"""What the image asks of its own daemon: it finds port, token and certificate wherever the daemon may."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from core.config import PROJECT_ROOT
from deploy import healthcheck
from tests.contract import certificate

pytestmark = pytest.mark.may_block(reason="a page on a thread of its own is asked")

TOKEN = "a-token-of-enough-length"


@contextmanager
def page(secured: tuple[Path, Path] | None = None, status: int = 200) -> Iterator[str]:
    """The port of one that answers `/healthz` to who bears the token."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            allowed = self.path == "/healthz" and self.headers["Authorization"] == f"Bearer {TOKEN}"
            self.send_response(status if allowed else 401)
            self.end_headers()
            self.wfile.write(b"as it stands")

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if secured is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*secured)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield str(server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def asked(env: Mapping[str, str]) -> int:
    return healthcheck.ask(env)[0]


def test_the_token_is_sent_from_wherever_the_daemon_may_have_it(tmp_path: Path) -> None:
    (tmp_path / "status_token").write_text(f"{TOKEN}\n")
    (tmp_path / "as_the_unit").mkdir()
    (tmp_path / "as_the_unit" / "breakwater_status_token").write_text(TOKEN)
    with page() as port:
        here = {"STATUS_PORT": port}
        assert asked(here) == 401
        assert asked({**here, "STATUS_TOKEN": TOKEN}) == 200
        assert asked({**here, "STATUS_TOKEN_FILE": str(tmp_path / "status_token")}) == 200
        assert asked({**here, "CREDENTIALS_DIRECTORY": str(tmp_path)}) == 200
        assert asked({**here, "CREDENTIALS_DIRECTORY": str(tmp_path / "as_the_unit")}) == 200


def test_settings_of_a_file_count_and_the_environment_counts_more(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    env_file = tmp_path / "breakwater.env"
    with page() as port:
        env_file.write_text(f"STATUS_PORT={port}\nSTATUS_TOKEN_FILE=token\nSTATUS_HOST=0.0.0.0\n")
        assert asked({"BREAKWATER_ENV_FILE": str(env_file)}) == 200
        assert asked({"BREAKWATER_ENV_FILE": str(env_file), "STATUS_TOKEN": "another"}) == 401


def test_with_a_certificate_it_speaks_tls_to_this_host_under_whatever_name(tmp_path: Path) -> None:
    files = certificate.written(tmp_path)
    with page(files) as port:
        assert asked({"STATUS_PORT": port, "STATUS_TOKEN": TOKEN, "STATUS_TLS_CERT": str(files[0])}) == 200


@pytest.mark.parametrize(("status", "left"), [(200, 0), (503, 1), (None, 1)])
def test_its_exit_status_is_how_the_daemon_stands(status: int | None, left: int) -> None:
    with page(status=status or 200) as port:
        env = {**os.environ, "STATUS_PORT": port if status else "1", "STATUS_TOKEN": TOKEN}
        command = [sys.executable, str(PROJECT_ROOT / "deploy" / "healthcheck.py")]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == left, done.stdout + done.stderr
    assert ("as it stands" if status else "no answer") in done.stdout
