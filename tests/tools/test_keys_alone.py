"""Reaching the accounts by their keys alone, whatever else is wrong with the configuration."""

from pathlib import Path

import pytest

from core.config import load_settings
from core.domain.ids import VenueName
from core.errors import ConfigError
from tools.keys_alone import KeysAlone, keys_alone

KEYS = {"BINANCE_API_KEY": "key-of-mine", "BINANCE_API_SECRET": "secret-of-mine"}


def _written(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / ".env"
    path.write_text(text, "utf-8")
    path.chmod(mode)
    return path


def _key(found: KeysAlone, venue: VenueName = VenueName.BINANCE) -> str:
    (access,) = [access for access in found.accesses if access.name is venue]
    return access.key


@pytest.mark.parametrize(
    "mistake",
    ["MAX_POSITIONS=many", "NO_SUCH_NAME=1", "this is no assignment", "EXCHANGES=kraken", "STOP_LOSS_PERCENT=0 # none"],
)
def test_a_mistake_elsewhere_does_not_stand_in_the_way(tmp_path: Path, mistake: str) -> None:
    path = _written(tmp_path, "\n".join([*(f"{name}={text}" for name, text in KEYS.items()), mistake]))
    with pytest.raises(ConfigError):
        load_settings({}, path)
    assert _key(keys_alone({}, path)) == "key-of-mine"


def test_a_file_that_others_may_read_is_used_all_the_same(tmp_path: Path) -> None:
    path = _written(tmp_path, "\n".join(f"{name}={text}" for name, text in KEYS.items()), 0o644)
    assert _key(keys_alone({}, path)) == "key-of-mine"


def test_of_several_venues_only_the_one_that_makes_no_sense_is_left_out_and_named(tmp_path: Path) -> None:
    okx = {"OKX_API_KEY": "other-key", "OKX_API_SECRET": "other-secret"}
    found = keys_alone({**KEYS, **okx}, None)
    assert [access.name for access in found.accesses] == [VenueName.BINANCE]
    (problem,) = found.problems
    assert problem.startswith("okx:")
    assert "OKX_PASSPHRASE" in problem


def test_the_environment_wins_and_a_secret_in_a_file_beside_the_env_is_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret-in-a-file\n", "utf-8")
    secret.chmod(0o600)
    path = _written(tmp_path, "BINANCE_API_KEY=in-the-file\nBINANCE_API_SECRET_FILE=secret\n")
    found = keys_alone({"BINANCE_API_KEY": "in-the-environment"}, path)
    assert _key(found) == "in-the-environment"
    assert set(found.secrets) == {"in-the-environment", "secret-in-a-file"}


def test_without_any_key_there_is_nothing_to_reach() -> None:
    assert keys_alone({}, None).accesses == ()


def test_credentials_of_a_service_manager_are_read_too(tmp_path: Path) -> None:
    for name, text in KEYS.items():
        (tmp_path / name.lower()).write_text(f"{text}\n", "utf-8")
    found = keys_alone({"CREDENTIALS_DIRECTORY": str(tmp_path), "MAX_POSITIONS": "many"}, None)
    assert _key(found) == "key-of-mine"
    path = _written(tmp_path, "BINANCE_API_KEY=in-the-file\n")
    assert _key(keys_alone({"CREDENTIALS_DIRECTORY": str(tmp_path)}, path)) == "in-the-file"
