"""The import trap: a `telegram` that is not python-telegram-bot is refused in one sentence."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("impostor", ["telegram/__init__.py", "telegram.py"])
def test_another_telegram_is_refused_and_named(project_root: Path, tmp_path: Path, impostor: str) -> None:
    (tmp_path / impostor).parent.mkdir(exist_ok=True)
    (tmp_path / impostor).touch()
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(project_root / 'telegram')!r}]; import tgbot"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: `telegram` is not python-telegram-bot")
    assert str(tmp_path / impostor) in last


def test_a_missing_library_is_told_and_not_our_own_folder_taken_for_it(project_root: Path) -> None:
    code = f"""
import sys
sys.path = [{str(project_root)!r}, {str(project_root / "telegram")!r}] + [
    path for path in sys.path if "site-packages" not in path]
import tgbot
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "is not python-telegram-bot but the folder" in done.stderr.strip().splitlines()[-1]


def test_the_drawing_library_is_loaded_by_the_child_process_only(project_root: Path) -> None:
    named = []
    folders = (project_root / "core", project_root / "telegram")
    for path in [project_root / "main.py", *(path for folder in folders for path in folder.rglob("*.py"))]:
        tree = ast.parse(path.read_text("utf-8"))
        top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        every = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
        if any("matplotlib" in ast.unparse(node) for node in every):
            named.append((path.name, any("matplotlib" in ast.unparse(node) for node in top)))
    assert named == [("pictures.py", False)], "and there not before there is something to draw"


def test_the_bot_is_loaded_only_where_a_token_is_set(project_root: Path) -> None:
    tree = ast.parse((project_root / "main.py").read_text("utf-8"))
    top = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not [line for line in top if "tgbot" in line or "telegram" in line]
    every = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert [line for line in every if "tgbot.bot" in line]
