from pathlib import Path

import pytest


@pytest.fixture
def fixtures(shared: Path) -> Path:
    return shared / "venues" / "fixtures" / "bybit_linear"
