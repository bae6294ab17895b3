"""The program around the daemon: a second signal forces the exit, with what is left in its last line and its status."""

import argparse
import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import main
from core.config import load_settings
from core.lifecycle.outcome import ExitStatus, Outcome
from core.logs import LogHealth

pytestmark = [
    pytest.mark.asyncio(loop_factories=["real"]),
    pytest.mark.may_block("the program reads its settings and locks its folder"),
]


class _Slow:
    """A daemon that takes long to stop, and then is told to stop at once."""

    def __init__(self, *_: Any) -> None:
        self.stop = asyncio.Event()
        self.outcome = Outcome()
        self.symbols: dict[str, str] = {}

    async def run(self, *, once: bool) -> Outcome:
        del once
        os.kill(os.getpid(), signal.SIGTERM)
        await self.stop.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await asyncio.sleep(60)
        finally:
            self.outcome.status, self.outcome.said = ExitStatus.OPERATOR_NEEDED, "without a confirmed stop: BTC"
        return self.outcome


@pytest.mark.failure("OPS-02")
async def test_a_second_signal_ends_the_program_with_what_the_operator_has_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main, "Orchestrator", _Slow)
    env = {
        "BINANCE_API_KEY": "k",
        "BINANCE_API_SECRET": "s",
        "DATA_DIR": str(tmp_path / "data"),
        "LOG_DIR": str(tmp_path / "logs"),
    }
    settings = load_settings(env, None)
    asked = argparse.Namespace(check=False, once=False)
    outcome, _ = await main._trade(settings, asked, Console(quiet=True), LogHealth(), None)
    assert outcome.status is ExitStatus.OPERATOR_NEEDED
    assert outcome.said == "without a confirmed stop: BTC"
