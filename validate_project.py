"""The rules of this project that no linter knows, each a small function; exit status 0 when all hold, 1 when not.

A rule that is not checked decays, so what `docs/ARCHITECTURE.md` says about layers, tasks, exceptions, floats and
folders is checked here. Every finding is printed as `file:line: rule: what to do`.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeGuard

ROOT = Path(__file__).resolve().parent
SKIPPED = {".git", ".venv", "venv", "node_modules", "__pycache__", "data", "logs", "archives", ".hypothesis"}
MOST_LINES = 500

REQUIRED = (  # noqa: SIM905 - one name a line would push the rules off the first page
    "main.py README.md Makefile pyproject.toml pytest.ini requirements.in requirements.txt requirements-dev.in "
    "requirements-dev.txt .env.example .gitignore validate_project.py cleanup_project.py .ci/run "
    ".github/workflows/ci.yml docs/ARCHITECTURE.md docs/CONFIGURATION.md docs/FAILURES.md core/__init__.py "
    "core/config.py core/errors.py core/clock.py core/logs.py core/transport.py core/orchestrator.py core/dry_run.py "
    "core/domain/__init__.py core/engine/ports.py core/venues/client.py core/storage/journal.py "
    "core/storage/audit_log.py strategies/__init__.py telegram/tgbot/__init__.py tools/__init__.py "
    "tools/venuesim/__init__.py tests/__init__.py tests/conftest.py"
).split()

EDGE = (  # noqa: SIM905 - one name a line would push the rules off the first page
    "core.domain core.engine core.config core.errors core.clock core.logs core.redaction core.listener"
).split()
PARTS = (  # noqa: SIM905
    "core.transport core.alerts core.signals core.status core.storage core.venues core.settings core.log_reading "
    "core.build core.assembly core.supervision"
).split() + EDGE
LAYERS: Mapping[str, tuple[str, ...]] = {
    "core.domain": ("core.domain",),
    "core.engine": ("core.domain", "core.engine", "core.begun", "core.errors", "core.clock"),
    "core.venues": (*EDGE, "core.transport", "core.venues"),
    "core.storage": (*EDGE, "core.transport", "core.storage"),
    "core.signals": (*EDGE, "core.transport", "core.signals", "strategies"),
    "core.status": (*EDGE, "core.transport", "core.status"),
    "core.alerts": (*EDGE, "core.transport", "core.alerts"),
    "tgbot": (*EDGE, "core.transport", "core.alerts", "tgbot"),
    "strategies": ("core.domain", "strategies"),
    "tools.venuesim": ("tools.venuesim",),
    "tools": ("core", "strategies", "tools", "main"),
    "core.settings": ("core.domain", "core.settings", "core.errors"),
    "core.supervision": (*PARTS,),
    "core.wiring": (*PARTS, "core.wiring", "strategies"),
    "core.lifecycle": (*PARTS, "core.wiring", "core.lifecycle", "core.dry_run"),
    "core.config": ("core.settings", "core.errors"),
    "core.errors": (),
    "core.clock": (),
    "core.redaction": (),
    "core.listener": (),
    "core.log_files": (),
    "core.logs": ("core.clock", "core.log_files", "core.redaction"),
    "core.transport": ("core.begun", "core.clock", "core.errors", "core.name_lookup"),
    "core.begun": (),
    "core.name_lookup": (),
    "core": ("core", "strategies"),
    "main": ("core", "strategies", "tgbot"),
}
"""What a module may import of ours; the longest matching name decides. What is not listed is free (the tests)."""

LIBRARIES: Mapping[str, frozenset[str]] = {
    "core.domain": frozenset({"msgspec"}),
    "core.engine": frozenset({"msgspec", "structlog"}),
    "strategies": frozenset({"msgspec", "wickra"}),
    "core.venues": frozenset({"ccxt", "msgspec", "stamina", "structlog", "aiohttp", "pydantic"}),
}
"""The libraries a layer may import beside the standard library; what is not listed may import any."""

OURS = ("core", "strategies", "tgbot", "tools", "tests", "main", "validate_project", "cleanup_project")
BAD_FOLDERS = {"utils", "util", "helpers", "helper", "common", "misc"}
BAD_NAMES = re.compile(r"(_v\d+|_enhanced|_new|_old|_final|_copy|_patch)$")
COIN_MARGINED = re.compile(r"\b(dapi|dstream)\b", re.IGNORECASE)
SECRETS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|\b\d{8,10}:[A-Za-z0-9_-]{35}\b"
    r"|(?i:api_?key|api_?secret|passphrase|token)[\"']?\s*[=:]\s*[\"']?[A-Za-z0-9]{40,}"
)


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One broken rule at one place; `line` is 0 where it concerns the file or folder as a whole."""

    path: str
    line: int
    rule: str
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.what}"


class Source:
    """One Python file: its text, and its syntax tree (None when it does not parse)."""

    def __init__(self, root: Path, path: Path) -> None:
        self.name = path.relative_to(root).as_posix()
        self.text = path.read_text(encoding="utf-8")
        self.lines = self.text.splitlines()

    @property
    def module(self) -> str:
        """Its name as imported: `telegram/` is a source root, not a package."""
        parts = self.name.removesuffix(".py").removeprefix("telegram/").split("/")
        return ".".join(part for part in parts if part != "__init__")

    @cached_property
    def tree(self) -> ast.Module | None:
        try:
            return ast.parse(self.text)
        except SyntaxError:
            return None

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.tree)) if self.tree is not None else []

    def waived(self, word: str, first: int, last: int) -> bool:
        """Whether `# word: reason` stands in one of these lines (1-based, inclusive)."""
        return any(re.search(rf"#.*\b{word}: \S", line) for line in self.lines[first - 1 : last])


class Project:
    """The files below a root that count, read once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = sorted(self._walk())
        self.sources = [Source(root, root / name) for name in self.files if name.endswith(".py")]

    def _walk(self) -> Iterator[str]:
        for folder, names, files in os.walk(self.root):
            here = Path(folder)
            names[:] = [n for n in names if n not in SKIPPED and not (n.startswith(".") and n.endswith("_cache"))]
            yield from ((here / file).relative_to(self.root).as_posix() for file in files)

    @property
    def folders(self) -> set[str]:
        return {parent.as_posix() for file in self.files for parent in Path(file).parents} - {"."}

    def below(self, *prefixes: str) -> Iterator[Source]:
        return (source for source in self.sources if source.name.startswith(prefixes))

    @property
    def product(self) -> Iterator[Source]:
        return self.below("core/", "strategies/", "telegram/", "tools/", "main.py")


Rule = Callable[[Project], Iterable[Finding]]


def required_files(project: Project) -> Iterator[Finding]:
    """The files everybody counts on are there."""
    present = set(project.files)
    for name in REQUIRED:
        if name not in present:
            yield Finding(name, 0, "required_files", "is missing; create it")


def files_parse(project: Project) -> Iterator[Finding]:
    """Every Python file is Python."""
    for source in project.sources:
        if source.tree is None:
            yield Finding(source.name, 0, "files_parse", "does not parse; correct the syntax")


def tests_stay_in_tests(project: Project) -> Iterator[Finding]:
    """No test file outside tests/, where it would never run."""
    for name in project.files:
        if re.search(r"(^|/)(test_[^/]*|[^/]*_test)\.py$", name) and not name.startswith("tests/"):
            yield Finding(name, 0, "tests_stay_in_tests", "move it into tests/ (cleanup_project.py --move-tests does)")


def telegram_is_no_package(project: Project) -> Iterator[Finding]:
    """A package called telegram would hide python-telegram-bot, in the project as in the tests."""
    present = set(project.files)
    if "telegram/__init__.py" in present:
        yield Finding("telegram/__init__.py", 0, "telegram_is_no_package", "delete it: it hides python-telegram-bot")
    if "tests/telegram" in project.folders:
        yield Finding("tests/telegram", 0, "telegram_is_no_package", "move its files to tests/tgbot/")


def folders_are_nouns(project: Project) -> Iterator[Finding]:
    """No drawer for leftovers, no second edition beside the first."""
    for folder in sorted(project.folders):
        if Path(folder).name in BAD_FOLDERS:
            yield Finding(folder, 0, "folders_are_nouns", "name it after what is in it")
    for source in project.sources:
        stem = Path(source.name).stem
        versioned = BAD_NAMES.search(stem) and not source.name.startswith("strategies/")  # its name marks its signals
        if stem in BAD_FOLDERS or versioned:
            yield Finding(source.name, 0, "folders_are_nouns", "name it after what it is; replace code in place")


def modules_are_short(project: Project) -> Iterator[Finding]:
    """A module is one noun; beyond the cap it is several."""
    for source in project.sources:
        if len(source.lines) > MOST_LINES:
            what = f"has {len(source.lines)} lines, {MOST_LINES} are allowed; split it by idea"
            yield Finding(source.name, MOST_LINES, "modules_are_short", what)


def _imports(source: Source) -> Iterator[tuple[str, int]]:
    """The modules imported, `from a import b` as `a.b`: it may be a module."""
    for node in source.nodes:
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def _within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def _layer(module: str, table: Mapping[str, object]) -> str | None:
    return max((name for name in table if _within(module, name)), key=len, default=None)


def imports_go_one_way(project: Project) -> Iterator[Finding]:
    """domain <- engine <- edges <- orchestrator, main; the simulator knows nothing of ours; nobody knows the tests."""
    for source in project.product:
        layer = _layer(source.module, LAYERS)
        if layer is None:
            continue
        for imported, line in _imports(source):
            ours = imported.split(".")[0] in OURS
            if ours and not any(_within(imported, allowed) for allowed in LAYERS[layer]):
                what = f"{layer} may not import {imported}; move the code or hand the value in from outside"
                yield Finding(source.name, line, "imports_go_one_way", what)


def libraries_stay_outside(project: Project) -> Iterator[Finding]:
    """Decisions need the standard library only; each venue library stays at its edge."""
    for source in project.product:
        layer = _layer(source.module, LIBRARIES)
        if layer is None:
            continue
        for imported, line in _imports(source):
            top = imported.split(".")[0]
            if top not in sys.stdlib_module_names and top not in OURS and top not in LIBRARIES[layer]:
                yield Finding(source.name, line, "libraries_stay_outside", f"{layer} may not import {top}")


def only_main_names_tgbot(project: Project) -> Iterator[Finding]:
    """The bot is plugged in at one place, so that the daemon runs without it."""
    for source in project.product:
        if source.name != "main.py" and not source.name.startswith("telegram/"):
            for imported, line in _imports(source):
                if _within(imported, "tgbot"):
                    yield Finding(source.name, line, "only_main_names_tgbot", "import tgbot in main.py only")


def _is_loose_task(call: ast.Call) -> bool:
    match call.func:
        case ast.Attribute(value=ast.Name(id="asyncio"), attr="create_task" | "ensure_future"):
            return True
        case ast.Attribute(value=ast.Name(id="loop" | "_loop"), attr="create_task"):
            return True
        case ast.Attribute(value=ast.Call(func=ast.Attribute(attr="get_running_loop" | "get_event_loop")), attr=method):
            return method == "create_task"
        case ast.Name(id="create_task" | "ensure_future"):
            return True
    return False


def tasks_have_owners(project: Project) -> Iterator[Finding]:
    """Tasks start in a TaskGroup and carry a name; `# owned: reason` where a future must be made otherwise."""
    for source in project.below("core/", "telegram/", "main.py"):
        for node in source.nodes:
            if not isinstance(node, ast.Call) or source.waived("owned", node.lineno, node.end_lineno or node.lineno):
                continue
            if _is_loose_task(node):
                yield Finding(source.name, node.lineno, "tasks_have_owners", "start it in its owner's TaskGroup")
            elif getattr(node.func, "attr", "") == "create_task" and not any(k.arg == "name" for k in node.keywords):
                yield Finding(source.name, node.lineno, "tasks_have_owners", "give the task a name=")


def _names(node: ast.expr | None) -> set[str]:
    if node is None:
        return {"everything"}
    parts = node.elts if isinstance(node, ast.Tuple) else [node]
    return {part.attr if isinstance(part, ast.Attribute) else getattr(part, "id", "") for part in parts}


def _raises(handler: ast.ExceptHandler) -> bool:
    pending: list[ast.AST] = list(handler.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Raise):
            return True
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            pending.extend(ast.iter_child_nodes(node))
    return False


SWALLOWABLE = {"everything", "Exception", "BaseException", "CancelledError"}


def _swallows(node: ast.AST) -> TypeGuard[ast.ExceptHandler | ast.Call]:
    if isinstance(node, ast.ExceptHandler):
        return bool(_names(node.type) & SWALLOWABLE) and not _raises(node)
    if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "suppress":
        return any(_names(argument) & SWALLOWABLE for argument in node.args)
    return False


def _swallowing(source: Source) -> Iterator[tuple[ast.ExceptHandler | ast.Call, bool]]:
    """Handlers that end everything that arrives, and whether a reason is given on their lines."""
    for node in source.nodes:
        if _swallows(node):
            yield node, source.waived("swallow", node.lineno, node.end_lineno or node.lineno)


def nothing_is_swallowed(project: Project) -> Iterator[Finding]:
    """A broad handler raises, or says why not: `# swallow: reason`. Cancellation always passes through."""
    for source in project.product:
        for node, excused in _swallowing(source):
            if not excused:
                what = "catches everything and does not raise; narrow it, raise, or say `# swallow: reason`"
                yield Finding(source.name, node.lineno, "nothing_is_swallowed", what)


def domain_has_no_floats(project: Project) -> Iterator[Finding]:
    """Money is Decimal: no float literal and no float() in the domain (monotonic seconds may pass through)."""
    for source in project.below("core/domain/"):
        for node in source.nodes:
            literal = isinstance(node, ast.Constant) and isinstance(node.value, float)
            call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float"
            if literal or call:
                line = getattr(node, "lineno", 0)
                yield Finding(source.name, line, "domain_has_no_floats", "use Decimal, or whole milliseconds for time")


def usdc_is_not_coin_margined(project: Project) -> Iterator[Finding]:
    """USDC contracts live on the same API as USDT; the coin-margined one is not ours at all."""
    for source in project.product:
        for number, line in enumerate(source.lines, start=1):
            if COIN_MARGINED.search(line) and "usdc" in line.lower():
                yield Finding(source.name, number, "usdc_is_not_coin_margined", "send USDC contracts to /fapi, fstream")
        for node in source.nodes if source.name.startswith("core/") else []:
            host = isinstance(node, ast.Constant) and isinstance(node.value, str) and " " not in node.value
            if isinstance(node, ast.Constant) and host and COIN_MARGINED.search(str(node.value)):
                yield Finding(
                    source.name, node.lineno, "usdc_is_not_coin_margined", "do not name the coin-margined API"
                )


def no_secret_is_committed(project: Project) -> Iterator[Finding]:
    """Nothing that looks like a real credential in any text file; samples hold placeholders (SEC-01)."""
    kinds = (".py", ".md", ".toml", ".ini", ".yml", ".yaml", ".txt", ".example", ".sh", ".env")
    for name in project.files:
        if not name.endswith(kinds) or name.startswith("requirements"):
            continue
        for number, line in enumerate((project.root / name).read_text("utf-8", "replace").splitlines(), start=1):
            if SECRETS.search(line) and "not-a-secret" not in line:
                yield Finding(name, number, "no_secret_is_committed", "remove it and revoke it (or mark: not-a-secret)")


HISTORY = "git log --all -p -U0 --no-color --no-textconv --no-ext-diff --format=commit:%h"


def history_holds_no_secret(project: Project) -> Iterator[Finding]:
    """What was committed once can be read for ever: the scan covers every commit there is here (SEC-01)."""
    if not (project.root / ".git").exists():
        return
    command = [*HISTORY.split(), "--", ".", ":!requirements*.txt", ":!*.json"]
    done = subprocess.run(command, cwd=project.root, capture_output=True, check=False, timeout=120)
    commit = name = ""
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        if line.startswith("commit:"):
            commit = line.removeprefix("commit:")
        elif line.startswith("+++ "):
            name = line.removeprefix("+++ ").removeprefix("b/")
        elif line.startswith("+") and SECRETS.search(line) and "not-a-secret" not in line:
            yield Finding(name, 0, "history_holds_no_secret", f"commit {commit} holds a credential; revoke it")


def modules_import(project: Project) -> Iterator[Finding]:
    """The configuration and the venue client can be imported at all."""
    for module in ("core.config", "core.venues.client"):
        command = [sys.executable, "-c", f"import {module}"]
        done = subprocess.run(command, cwd=project.root, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            path = module.replace(".", "/") + ".py"
            yield Finding(path, 0, "modules_import", f"cannot be imported: {last} (make setup installs the libraries)")


RULES: tuple[Rule, ...] = (
    required_files,
    files_parse,
    tests_stay_in_tests,
    telegram_is_no_package,
    folders_are_nouns,
    modules_are_short,
    imports_go_one_way,
    libraries_stay_outside,
    only_main_names_tgbot,
    tasks_have_owners,
    nothing_is_swallowed,
    domain_has_no_floats,
    usdc_is_not_coin_margined,
    no_secret_is_committed,
    history_holds_no_secret,
    modules_import,
)


def excused_handlers(project: Project) -> list[str]:
    """Every handler that swallows with a stated reason, as `file:line: the line with the reason`."""
    listed = []
    for source in project.product:
        for node, excused in _swallowing(source):
            if excused:
                span = source.lines[node.lineno - 1 : node.end_lineno]
                reason = next(line.split("swallow: ", 1)[1] for line in span if "swallow: " in line)
                listed.append(f"{source.name}:{node.lineno}: {reason.strip()}")
    return listed


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print findings and excused handlers as JSON")
    parser.add_argument("--root", type=Path, default=ROOT, help="the project to look at (default: this one)")
    parser.add_argument("--swallowed", action="store_true", help="list the handlers that swallow with a reason")
    parser.add_argument("--rules", action="store_true", help="list the rules and exit")
    options = parser.parse_args(arguments)
    if options.rules:
        print("\n".join(f"{rule.__name__}: {rule.__doc__}" for rule in RULES))
        return 0
    project = Project(options.root.resolve())
    findings = sorted({finding for rule in RULES for finding in rule(project)})
    excused = excused_handlers(project)
    if options.json:
        rows = [{"path": f.path, "line": f.line, "rule": f.rule, "what": f.what} for f in findings]
        print(json.dumps({"findings": rows, "excused_handlers": excused}, indent=2))
        return 1 if findings else 0
    for finding in findings:
        print(finding)
    if options.swallowed:
        print("\n".join(excused))
    modules = len(project.sources)
    print(f"{len(findings)} finding(s), {len(RULES)} rules, {modules} modules, {len(excused)} excused handlers")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
