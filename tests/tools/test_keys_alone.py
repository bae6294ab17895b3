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


@pytest.mark.parametrize("folder_in", ["file", "environment"])
def test_a_secret_file_that_others_may_read_is_used_all_the_same(tmp_path: Path, folder_in: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret-in-a-file\n", "utf-8")
    secret.chmod(0o644)
    names = {"BINANCE_API_SECRET_FILE": "secret"}
    more = "".join(f"{name}={text}\n" for name, text in names.items()) if folder_in == "file" else ""
    path = _written(tmp_path, f"BINANCE_API_KEY=in-the-file\n{more}")
    found = keys_alone({} if folder_in == "file" else names, path)
    assert _key(found) == "in-the-file"
    assert set(found.secrets) == {"in-the-file", "secret-in-a-file"}


def test_a_secret_file_that_is_not_there_is_a_problem_of_its_venue(tmp_path: Path) -> None:
    found = keys_alone({**KEYS, "OKX_API_KEY": "k", "OKX_API_SECRET_FILE": "gone"}, _written(tmp_path, ""))
    assert _key(found) == "key-of-mine"
    (problem,) = found.problems
    assert "OKX_API_SECRET_FILE" in problem


def test_credentials_are_understood_as_the_unit_names_them(tmp_path: Path) -> None:
    for name, text in KEYS.items():
        path = tmp_path / f"breakwater_{name.lower()}"
        path.write_text(f"{text}\n", "utf-8")
        path.chmod(0o644)
    found = keys_alone({"CREDENTIALS_DIRECTORY": str(tmp_path), "LEVERAGE": "nonsense"}, None)
    assert _key(found) == "key-of-mine"


def test_every_secret_that_is_given_is_to_be_kept_out_of_outputs(tmp_path: Path) -> None:
    found = keys_alone({"STATUS_TOKEN": "token-of-the-page", "MAX_POSITIONS": "many"}, None)
    assert found.secrets == ("token-of-the-page",)


def test_the_folders_are_those_of_the_daemon_though_no_venue_has_a_key(tmp_path: Path) -> None:
    found = keys_alone({"DATA_DIR": str(tmp_path / "logs"), "LOG_DIR": str(tmp_path), "LEVERAGE": "many"}, None)
    assert (found.data_dir, found.log_dir) == (tmp_path / "logs", tmp_path)
