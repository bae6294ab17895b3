"""A journal that runs inline and is closed at the end of its test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.storage.journal import SqliteJournal
from tests.storage.records import a_journal


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    opened = await a_journal(tmp_path)
    yield opened
    await opened.close()
