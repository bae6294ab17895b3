"""Keys, names and hostile text (SEC): what a key may do is read before anything is traded, one that is refused is known
by its code, a name is never a path, and text is never anything but text."""

import ast
import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import strategies
from core.config import PROJECT_ROOT, load_settings
from core.domain.wave import LegState
from core.engine.ports import About, Condition, VenueHealth
from core.errors import ConfigError, Refused, StartRefused
from core.lifecycle.host import WRITTEN_MS, examine_host
from core.lifecycle.outcome import ExitStatus
from core.lifecycle.preflight import Grade
from core.log_files import RotatedFile
from core.status.line import status_line
from core.storage.audit_files import AuditFiles
from core.storage.instance_lock import instance_locks
from core.venues.binance.facts import ABOUT
from core.venues.binance.facts import ERRORS as BINANCE_ERRORS
from core.venues.bybit.codes import ERRORS as BYBIT_ERRORS
from core.venues.errors import ErrorTable
from core.venues.health import HealthMonitor
from core.venues.okx.codes import ERRORS as OKX_ERRORS
from strategies import registry
from tests.fakes.virtual_loop import VirtualClock
from tests.scenarios.log_lines import LogLines
from tests.scenarios.worlds import SimulatedWorld, a_signal
from tools.quick_check import _entries

pytestmark = pytest.mark.may_block("simulation runs storage inline")

SYMBOL = {"binance": "BTCUSDT", "bybit": "BTCUSDT", "okx": "BTC-USDT-SWAP"}
OTHER = {"binance": "ETHUSDT", "bybit": "ETHUSDT", "okx": "ETH-USDT-SWAP"}
REVOKED = {"-2015", "10003", "50111", "60005"}
"""What the simulator says of a revoked key."""
KEY_CODES = [
    *((BINANCE_ERRORS, code) for code in ("-2014", "-2015", "-1022")),
    *((BYBIT_ERRORS, code) for code in ("10003", "10004", "10010", "33004")),
    *((OKX_ERRORS, code) for code in ("50111", "50119", "50105", "50113", "50110")),
]


@pytest.fixture(params=SYMBOL)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SimulatedWorld]:
    async with SimulatedWorld(tmp_path, (request.param,)) as made:
        yield made


# --- SEC-02 ---------------------------------------------------------------------------------------------------------


@pytest.mark.failure("SEC-02")
async def test_a_key_that_may_withdraw_refuses_to_start(world: SimulatedWorld) -> None:
    await world.tell("account", permissions=["read", "trade", "withdraw"])
    outcome = await world.daemon().orchestrator.run()
    assert outcome.status is ExitStatus.PREFLIGHT_REFUSED
    assert "may withdraw" in outcome.said
    assert await world.sent("order", "stop") == []


RIGHTS = {"binance": "/sapi/v1/account/apiRestrictions"}
"""Elsewhere the same answer tells what the account is, and without that there is no start."""


@pytest.mark.failure("SEC-02")
@pytest.mark.parametrize("world", RIGHTS, indirect=True)
async def test_rights_that_could_not_be_read_at_the_start_are_read_soon(world: SimulatedWorld) -> None:
    (venue,) = world.names
    await world.tell("account", permissions=["read", "trade", "withdraw"])
    await world.fault("http_error", match={"path": RIGHTS[venue]}, status=502, count=3)
    async with world.running() as daemon:
        await asyncio.sleep(90)
        assert "the API key may withdraw" in (daemon.off_because(venue) or "")


@pytest.mark.failure("SEC-02")
async def test_a_key_that_may_withdraw_is_shown_in_status_where_it_was_allowed(world: SimulatedWorld) -> None:
    await world.tell("account", permissions=["read", "trade", "withdraw"])
    async with world.running(ALLOW_WITHDRAWAL_KEYS="true") as daemon:
        (row,) = daemon.status.venues
        assert row.may_withdraw
        assert "KEY MAY WITHDRAW" in status_line(daemon.status)
        shown = {"off_because": None, "key_may": row.key_may}
        assert "the key may withdraw" in _entries(shown)
    await asyncio.sleep(5)
    (preflight,) = (await world.daemon(ALLOW_WITHDRAWAL_KEYS="true").orchestrator.check()).preflights
    assert any(c.about == "rights" and c.grade is Grade.WARN and "may withdraw" in c.what for c in preflight.checks)


@pytest.mark.failure("SEC-02")
async def test_the_rights_of_each_key_are_read_at_the_start(world: SimulatedWorld) -> None:
    async with world.running() as daemon:
        (row,) = daemon.status.venues
        assert row.key_may is not None
        assert "trade" in row.key_may
        assert not row.may_withdraw
        assert "WITHDRAW" not in status_line(daemon.status)


# --- SEC-03 ---------------------------------------------------------------------------------------------------------


def _monitor(errors: ErrorTable, told: list[VenueHealth]) -> HealthMonitor:
    return HealthMonitor(errors, VirtualClock(), told.append, jitter=lambda: 1.0)


@pytest.mark.failure("SEC-03")
@pytest.mark.parametrize(("errors", "code"), KEY_CODES, ids=lambda value: value if isinstance(value, str) else "")
async def test_one_refusal_with_a_code_of_the_key_is_enough(errors: ErrorTable, code: str) -> None:
    for reading in (True, False):
        told: list[VenueHealth] = []
        refusal = errors.error(401, code, "no", venue_ms=0)
        assert isinstance(refusal, Refused)
        _monitor(errors, told).failed(refusal, signed=True, reading=reading)
        if code in errors.doubtful and not reading:
            assert ABOUT[code] is About.ACCOUNT_RESTRICTED, "what stops the entries of that venue instead"
        else:
            assert [(change.condition, change.code) for change in told] == [(Condition.KEY_REFUSED, code)]


@pytest.mark.failure("SEC-03")
async def test_a_key_that_is_revoked_stops_entries_and_is_told_and_hardly_asked(world: SimulatedWorld) -> None:
    (venue,) = world.names
    said = LogLines()
    await world.play(
        {"at_ms": 4_000, "signals": [a_signal(SYMBOL[venue])]},
        {"at_ms": 20_000, "signals": [a_signal(OTHER[venue])]},
    )
    async with world.running() as daemon:
        await daemon.wave()
        before = len(await world.ask("requests?since=0"))
        await world.fault("revoke_key", count=-1)
        report = await daemon.wave(2)
        assert [leg.state is LegState.PROTECTED for leg in report.legs] == [False]
        await asyncio.sleep(180)
        assert "it refuses the API key" in (daemon.off_because(venue) or "")
        rows = [row for row in await world.ask("requests?since=0") if row["n"] > before]
        refused = [row["received"] for row in rows if str(row["code"]) in REVOKED]
        asked = [at for at, last in zip(refused, [float("-inf"), *refused], strict=False) if at - last > 1_000]
        assert 1 <= len(asked) <= 1 + 3, "one probe a minute at most"
        (alert,) = [text for text in said.notices if "it refuses the API key" in text]
        assert "no entries" in alert
        assert "their stops remain at the venue and act, but cannot be managed" in alert
        assert await world.resting_stops() == {symbol: [abs(q)] for symbol, q in (await world.held()).items()}


# --- SEC-06 ---------------------------------------------------------------------------------------------------------

HOSTILE_NAMES = ("../evil", "..", "/etc/passwd", "evil/../../x", "a.b", "", "evil\x00", "strategies", "base.py")


@pytest.mark.failure("SEC-06")
@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_strategy_that_is_a_path_is_refused_by_the_settings_and_by_the_registry(name: str) -> None:
    if name and "\x00" not in name and name != "strategies":
        with pytest.raises(ConfigError, match="STRATEGY="):
            load_settings({"STRATEGY": name}, None, to_trade=False)
    with pytest.raises(KeyError):
        registry.maker(name)


@pytest.mark.failure("SEC-06")
def test_a_strategy_that_is_a_link_to_code_elsewhere_is_no_strategy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "strategies").mkdir()
    (tmp_path / "outside" / "linked.py").write_text("raise SystemExit('code from elsewhere ran')")
    (tmp_path / "strategies" / "linked.py").symlink_to(tmp_path / "outside" / "linked.py")
    monkeypatch.setattr(strategies, "__path__", [str(tmp_path / "strategies")])
    with pytest.raises(KeyError):
        registry.maker("linked")
    assert registry.known() == []


@pytest.mark.failure("SEC-06")
@pytest.mark.parametrize("name", ["journal.db", "journal.db-wal", "audit.log", "audit.head", "breakwater.log.1"])
def test_a_link_where_the_daemon_writes_by_name_refuses_the_start(tmp_path: Path, name: str) -> None:
    folder, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.write_text("somebody's")
    (folder / name).symlink_to(elsewhere)
    (check,) = [c for c in examine_host({"DATA_DIR": folder}, WRITTEN_MS + 1) if c.grade is Grade.OFF]
    assert f"{name} in {folder} is a link" in check.what
    (tmp_path / "by-link").symlink_to(tmp_path / "data")
    (folder / name).unlink()
    assert not [c for c in examine_host({"DATA_DIR": tmp_path / "by-link"}, WRITTEN_MS + 1) if c.grade is Grade.OFF]


@pytest.mark.failure("SEC-06")
def test_nothing_is_written_through_a_link_that_comes_later(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("somebody's")
    for name in ("lock", "breakwater.log", "audit.log", "journal.db"):
        (tmp_path / name).symlink_to(elsewhere)
    with pytest.raises(StartRefused, match="cannot be opened"), instance_locks(tmp_path, []):
        pass
    with pytest.raises(OSError, match="symbolic link"):
        RotatedFile(tmp_path / "breakwater.log").write("a line")
    with pytest.raises(OSError, match="symbolic link"):
        AuditFiles(tmp_path, rotate_bytes=1_000).open()
    assert elsewhere.read_text() == "somebody's"


# --- SEC-09 ---------------------------------------------------------------------------------------------------------

RUNS_CODE = re.compile(r"^(pickle|cPickle|dill|cloudpickle|marshal|shelve|joblib|torch|yaml|imp)(\.|$)")
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}


@pytest.mark.failure("SEC-09")
def test_nothing_that_is_read_from_a_file_can_run_code() -> None:
    """There is no format here that could: JSON, SQLite, CSV and text are data. A model may come in those only."""
    found = []
    for folder in ("core", "strategies", "telegram", "tools"):
        for path in sorted((PROJECT_ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = (
                    [alias.name for alias in node.names]
                    if isinstance(node, ast.Import)
                    else [node.module or ""]
                    if isinstance(node, ast.ImportFrom)
                    else []
                )
                called = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
                if called in FORBIDDEN_CALLS or any(RUNS_CODE.match(name) for name in names):
                    found.append(f"{path.relative_to(PROJECT_ROOT)}:{node.lineno}")  # type: ignore[attr-defined]
    assert found == []
