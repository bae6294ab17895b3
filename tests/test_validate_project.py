"""Each project rule lets a tidy project pass and names the file and line that breaks it."""

import json
import subprocess
from pathlib import Path

import pytest

import validate_project
from validate_project import Project, excused_handlers, main


def project(folder: Path, files: dict[str, str]) -> Project:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return Project(folder)


def broken(rule: str, folder: Path, files: dict[str, str]) -> list[str]:
    return [f"{finding.path}:{finding.line}" for finding in getattr(validate_project, rule)(project(folder, files))]


def test_a_missing_required_file_is_named(tmp_path: Path) -> None:
    present = {name: "" for name in validate_project.REQUIRED if name != "main.py"}
    assert broken("required_files", tmp_path, present) == ["main.py:0"]


def test_a_file_that_does_not_parse_is_named(tmp_path: Path) -> None:
    assert broken("files_parse", tmp_path, {"core/a.py": "def", "core/b.py": ""}) == ["core/a.py:0"]


@pytest.mark.parametrize("name", ["test_x.py", "core/x_test.py", "core/engine/test_y.py"])
def test_a_test_outside_tests_is_named(tmp_path: Path, name: str) -> None:
    files = {name: "", "tests/test_ok.py": "", "core/latest.py": "", "core/contest.py": ""}
    assert broken("tests_stay_in_tests", tmp_path, files) == [f"{name}:0"]


@pytest.mark.parametrize(
    ("name", "place"), [("telegram/__init__.py",) * 2, ("tests/telegram/test_x.py", "tests/telegram")]
)
def test_what_would_hide_the_telegram_library_is_named(tmp_path: Path, name: str, place: str) -> None:
    assert broken("telegram_is_no_package", tmp_path, {name: "", "telegram/tgbot/__init__.py": ""}) == [f"{place}:0"]


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("core/utils/a.py", "core/utils"),
        ("core/venues/helpers/a.py", "core/venues/helpers"),
        ("core/common.py", "core/common.py"),
        ("core/stops_v2.py", "core/stops_v2.py"),
        ("core/exchange_enhanced.py", "core/exchange_enhanced.py"),
    ],
)
def test_a_drawer_or_a_second_edition_is_named(tmp_path: Path, name: str, place: str) -> None:
    assert broken("folders_are_nouns", tmp_path, {name: "", "core/order.py": ""}) == [f"{place}:0"]


def test_a_module_over_the_cap_is_named(tmp_path: Path) -> None:
    files = {"core/long.py": "x = 1\n" * 501, "core/short.py": "x = 1\n" * 500}
    assert broken("modules_are_short", tmp_path, files) == ["core/long.py:500"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("core/domain/a.py", "from core.errors import X"),
        ("core/domain/a.py", "from core import errors"),
        ("core/engine/a.py", "import core.venues.client"),
        ("core/engine/a.py", "from core.config import Settings"),
        ("core/venues/a.py", "from core.storage.journal import Journal"),
        ("core/storage/a.py", "from core.orchestrator import X"),
        ("core/signals/a.py", "from core.settings.tree import Settings"),
        ("core/orchestrator.py", "from tools.venuesim import x"),
        ("core/orchestrator.py", "def f():\n    import tests.builders"),
        ("strategies/a.py", "from core.engine.ports import X"),
        ("telegram/tgbot/a.py", "from core.venues.client import X"),
        ("tools/venuesim/a.py", "from core.domain.money import X"),
        ("tools/venuesim/a.py", "from tools.demo import X"),
        ("tools/a.py", "from tests.builders import X"),
        ("core/settings/a.py", "from core.engine.state import X"),
    ],
)
def test_an_import_against_the_stream_is_named(tmp_path: Path, name: str, text: str) -> None:
    line = text.count("\n") + 1
    assert broken("imports_go_one_way", tmp_path, {name: text}) == [f"{name}:{line}"]


def test_imports_with_the_stream_are_fine(tmp_path: Path) -> None:
    files = {
        "core/domain/a.py": "import re\nfrom core.domain import b",
        "core/engine/a.py": "from core.domain.b import X\nfrom core.clock import Clock",
        "core/venues/a.py": "from core.config import Settings\nfrom core.transport import Http",
        "telegram/tgbot/a.py": "import telegram\nfrom tgbot.format import x\nfrom core.engine.ports import Notifier",
        "core/orchestrator.py": "from core.venues.client import X\nfrom core.engine.ports import Y",
        "main.py": "from tgbot.bot import TelegramBot\nfrom core.orchestrator import Orchestrator",
        "tests/test_a.py": "from tools.venuesim import x\nfrom core.domain import y",
    }
    assert broken("imports_go_one_way", tmp_path, files) == []
    assert broken("libraries_stay_outside", tmp_path, files) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("core/domain/a.py", "import structlog"),
        ("core/domain/a.py", "from pydantic import BaseModel"),
        ("core/engine/a.py", "import aiohttp"),
        ("core/venues/a.py", "import telegram"),
    ],
)
def test_a_library_in_the_wrong_layer_is_named(tmp_path: Path, name: str, text: str) -> None:
    assert broken("libraries_stay_outside", tmp_path, {name: text}) == [f"{name}:1"]


def test_only_main_may_name_the_bot(tmp_path: Path) -> None:
    files = dict.fromkeys(("main.py", "core/orchestrator.py", "tools/x.py"), "from tgbot.bot import TelegramBot")
    assert broken("only_main_names_tgbot", tmp_path, files) == ["core/orchestrator.py:1", "tools/x.py:1"]


@pytest.mark.parametrize(
    "text",
    [
        "asyncio.create_task(f())",
        "asyncio.ensure_future(f())",
        "asyncio.get_running_loop().create_task(f(), name='x')",
        "loop.create_task(f(), name='x')",
        "create_task(f())",
        "tasks.create_task(f())",
    ],
)
def test_a_task_without_owner_or_name_is_named(tmp_path: Path, text: str) -> None:
    assert broken("tasks_have_owners", tmp_path, {"core/a.py": text}) == ["core/a.py:1"]


@pytest.mark.parametrize("text", ["tasks.create_task(f(), name='x')", "asyncio.ensure_future(f())  # owned: by shield"])
def test_a_task_with_owner_and_name_is_fine(tmp_path: Path, text: str) -> None:
    assert broken("tasks_have_owners", tmp_path, {"core/a.py": text}) == []


HANDLER = "try:\n    f()\nexcept {what}:{note}\n    {body}\n"


@pytest.mark.failure("OPS-03")
@pytest.mark.parametrize(
    "what", ["Exception", "BaseException as e", "(ValueError, Exception)", "asyncio.CancelledError"]
)
@pytest.mark.parametrize("body", ["pass", "log(e)", "return", "def g(): raise ValueError"])
def test_a_handler_that_swallows_is_named(tmp_path: Path, what: str, body: str) -> None:
    text = HANDLER.format(what=what, note="", body=body)
    assert broken("nothing_is_swallowed", tmp_path, {"tools/a.py": text}) == ["tools/a.py:3"]


@pytest.mark.failure("OPS-03")
def test_a_bare_except_and_a_broad_suppress_are_named(tmp_path: Path) -> None:
    files = {
        "core/a.py": "try:\n    f()\nexcept:\n    pass\n",
        "core/b.py": "with contextlib.suppress(Exception):\n    f()\n",
        "core/c.py": "with suppress(ValueError, asyncio.CancelledError):\n    f()\n",
    }
    assert broken("nothing_is_swallowed", tmp_path, files) == ["core/a.py:3", "core/b.py:1", "core/c.py:1"]


@pytest.mark.parametrize(
    ("what", "note", "body"),
    [
        ("ValueError", "", "pass"),
        ("Exception", "", "log()\n    raise"),
        ("Exception as e", "", "if x:\n        raise Other from e"),
        ("Exception", "  # swallow: the reason", "pass"),
        ("Exception", "  # noqa: X - # swallow: the reason", "pass"),
    ],
)
def test_a_narrow_a_raising_and_an_excused_handler_are_fine(tmp_path: Path, what: str, note: str, body: str) -> None:
    text = HANDLER.format(what=what, note=note, body=body)
    assert broken("nothing_is_swallowed", tmp_path, {"core/a.py": text}) == []


def test_an_excuse_needs_a_reason_and_is_listed(tmp_path: Path) -> None:
    empty = HANDLER.format(what="Exception", note="  # swallow:", body="pass")
    good = HANDLER.format(what="Exception", note="  # swallow: nothing to do", body="pass")
    files = {"core/a.py": empty, "core/b.py": good}
    assert broken("nothing_is_swallowed", tmp_path, files) == ["core/a.py:3"]
    assert excused_handlers(Project(tmp_path)) == ["core/b.py:3: nothing to do"]


@pytest.mark.parametrize("text", ["x = 0.5", "x = float('1')", "def f(y: int = 1e3): ..."])
def test_a_float_in_the_domain_is_named(tmp_path: Path, text: str) -> None:
    files = {"core/domain/a.py": text, "core/engine/a.py": text}
    assert broken("domain_has_no_floats", tmp_path, files) == ["core/domain/a.py:1"]


@pytest.mark.parametrize(
    "text", ['url("https://dapi.host", "BTCUSDC")', "# USDC goes to dstream", 'HOST = "https://dapi.host.com"']
)
def test_usdc_on_the_coin_margined_api_is_named(tmp_path: Path, text: str) -> None:
    assert "core/a.py:1" in broken("usdc_is_not_coin_margined", tmp_path, {"core/a.py": text})


def test_saying_that_the_coin_margined_api_is_not_ours_is_fine(tmp_path: Path) -> None:
    assert broken("usdc_is_not_coin_margined", tmp_path, {"core/a.py": '"""We never use dapi here."""'}) == []


CREDENTIALS = [
    "-----BEGIN " + "EC PRIVATE KEY-----",
    "12345678:" + "AAbbCCddEEffGGhhIIjjKKllMMnnOOppQQr",
    "BINANCE_API_SECRET=" + "a1B2" * 16,
    'api_key: "' + "a1B2" * 16 + '"',
]


@pytest.mark.failure("SEC-01")
@pytest.mark.parametrize("text", CREDENTIALS)
def test_what_looks_like_a_real_credential_is_named(tmp_path: Path, text: str) -> None:
    files = {"docs/a.md": f"x\n{text}\n", ".env.example": "BINANCE_API_SECRET=\n"}
    assert broken("no_secret_is_committed", tmp_path, files) == ["docs/a.md:2"]


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.mark.failure("SEC-01")
@pytest.mark.parametrize("text", CREDENTIALS)
def test_a_credential_that_was_committed_once_is_named_with_its_commit(tmp_path: Path, text: str) -> None:
    project(tmp_path, {"docs/a.md": text})
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "Add a note")
    (tmp_path / "docs" / "a.md").write_text("nothing")
    git(tmp_path, "commit", "-q", "-a", "-m", "Take it back")
    assert broken("no_secret_is_committed", tmp_path, {}) == []
    assert broken("history_holds_no_secret", tmp_path, {}) == ["docs/a.md:0"]


def test_a_module_that_cannot_be_imported_is_named_with_the_reason(tmp_path: Path) -> None:
    files = {"core/config.py": "import nothing_of_that_name", "core/venues/client.py": ""}
    assert broken("modules_import", tmp_path, files) == ["core/config.py:0"]


def test_every_rule_has_a_test_and_a_sentence() -> None:
    text = Path(__file__).read_text("utf-8")
    for rule in validate_project.RULES:
        assert f'"{rule.__name__}"' in text
        assert rule.__doc__


def test_the_program_prints_places_and_says_no_with_its_exit_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project(tmp_path, {"core/utils/a.py": "x = 1"})
    assert main(["--root", str(tmp_path)]) == 1
    assert "core/utils:0: folders_are_nouns: name it after what is in it" in capsys.readouterr().out
    assert main(["--root", str(tmp_path), "--json"]) == 1
    rows = json.loads(capsys.readouterr().out)["findings"]
    assert {"path": "core/utils", "line": 0, "rule": "folders_are_nouns", "what": "name it after what is in it"} in rows


def test_folders_that_are_not_the_project_are_not_looked_at(tmp_path: Path) -> None:
    files = {f"{folder}/utils/test_x.py": "" for folder in (".git", ".venv", "data", "logs", "node_modules")}
    assert project(tmp_path, files).files == []
