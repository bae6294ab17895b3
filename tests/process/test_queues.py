"""Every queue is bounded, has a consumer from the start, exports its depth and says what it does when it is full."""

import ast
import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from core.engine.ports import SignalBatch
from core.engine.waiting_batches import MOST_WAITING, WaitingBatches
from core.errors import JournalUnwritable
from core.logs import LogHealth
from core.storage.journal import SqliteJournal
from core.storage.writer import InlineExecutor
from tests.scenarios.worlds import Daemon, SimulatedWorld

pytestmark = pytest.mark.may_block("simulation runs storage inline")
KINDS = frozenset({"Queue", "SimpleQueue", "LifoQueue", "PriorityQueue", "deque", "Outbox"})


def _made(tree: ast.Module) -> Iterator[str]:
    """Names of attributes that hold a queue, or several."""
    parents = {child: parent for parent in ast.walk(tree) for child in ast.iter_child_nodes(parent)}
    for node in ast.walk(tree):
        called = isinstance(node, ast.Call) and _name(node.func) in KINDS
        factory = isinstance(node, ast.keyword) and node.arg == "default_factory" and _name(node.value) in KINDS
        if called or factory:
            yield from _held(node, parents)


def _held(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> Iterator[str]:
    while node in parents:
        node = parents[node]
        if isinstance(node, ast.Call) and _name(node.func) == "setdefault" and isinstance(node.func, ast.Attribute):
            yield _name(node.func.value)
            return
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            in_class = isinstance(parents[node], ast.ClassDef)
            yield from (_name(t) for t in targets if isinstance(t, ast.Attribute) or in_class)
            return
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Return):
            return


def _name(node: ast.AST) -> str:
    match node:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
        case ast.Subscript(value=value):
            return _name(value)
        case _:
            return ""


def _told(root: Path) -> str:
    text = (root / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    return text.partition("\n## Queues\n")[2].partition("\n## ")[0]


@pytest.mark.failure("OPS-06")
def test_every_queue_in_the_code_stands_in_the_list_and_no_other_does(project_root: Path) -> None:
    found = set[str]()
    for folder in ("core", "telegram", "strategies"):
        for path in (project_root / folder).rglob("*.py"):
            where = path.relative_to(project_root).as_posix()
            found |= {f"{where}: {name}" for name in _made(ast.parse(path.read_text(encoding="utf-8")))}
    listed = set(re.findall(r"`((?:core|telegram|strategies)/[\w/]+\.py: \w+)`", _told(project_root)))
    assert found == listed


@pytest.mark.failure("OPS-06")
async def test_a_daemon_tells_the_depth_of_every_queue_and_has_a_consumer_for_it(
    tmp_path: Path, project_root: Path
) -> None:
    async with SimulatedWorld(tmp_path) as world:
        host, lines = world._host(lambda *_: None)
        daemon = Daemon(world.settings(), replace(host, log=LogHealth()), lines)
        daemon.begin()
        await daemon.ready()
        status = daemon.status
        await asyncio.sleep(1)
        await daemon.stop()
    rows = {row.name: row for row in status.queues}
    listed = [line.split("|")[1:-1] for line in _told(project_root).splitlines() if line.startswith("| `")]
    table = {cells[0].strip(): cells for cells in listed}
    assert {_family(name) for name in rows} | {"`alerts/<channel>`"} == set(table)
    running = {row.name for row in status.tasks if row.running}
    for name, row in rows.items():
        _, _, bound, overflow, consumer = (cell.strip() for cell in table[_family(name)])
        assert row.bound > 0
        assert f"{row.bound:,}".replace(",", " ") in bound, name
        assert overflow
        tasks = re.findall(r"`([\w/-]+)`", consumer)
        assert "thread" in consumer or "waits" in consumer or set(tasks) <= running, (name, tasks)
        assert 0 <= row.depth < row.bound


def _family(name: str) -> str:
    return f"`{re.sub('/.*', '/<venue>', name)}`" if name.startswith("requests/") else f"`{name}`"


async def test_a_batch_too_many_before_waves_run_is_refused_and_counted() -> None:
    waiting = WaitingBatches()
    batch = SignalBatch(source="server", signals=(), unusable=(), received_ms=0, received=0.0)
    for _ in range(MOST_WAITING + 2):
        waiting.put(batch)
    assert (len(waiting), waiting.refused) == (MOST_WAITING, 2)


async def test_a_journal_that_holds_too_much_refuses_what_must_be_durable(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.db", InlineExecutor(), lambda: 0, capacity=0)
    await journal.open()
    with pytest.raises(JournalUnwritable, match="more to write than it can hold"):
        await journal.append([])
    await journal.close()
