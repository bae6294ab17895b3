"""Secrets that a service manager hands over as files, and the modes such files may have."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.config import load_settings
from core.errors import ConfigError

SECRET = "a-secret-of-a-test"


def folder(tmp_path: Path, **files: str) -> Path:
    made = tmp_path / "credentials"
    made.mkdir()
    for name, text in files.items():
        (made / name).write_text(text)
        (made / name).chmod(0o400)
    return made


def problems(env: dict[str, str], env_file: Path | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(env, env_file)
    return str(caught.value)


@pytest.mark.parametrize("prefix", ["", "breakwater_"])
def test_a_credential_is_read_by_the_lower_case_name_of_its_setting(tmp_path: Path, prefix: str) -> None:
    held = folder(tmp_path, **{prefix + "binance_api_key": "k-123\n", prefix + "binance_api_secret": SECRET})
    settings = load_settings({"CREDENTIALS_DIRECTORY": str(held)}, None)
    assert settings.binance.api_secret is not None
    assert settings.binance.api_secret.get_secret_value() == SECRET
    assert settings.sources["BINANCE_API_KEY"] == f"credential {prefix}binance_api_key"
    assert SECRET in settings.secret_values(), "what is masked everywhere else"


def test_a_credential_that_is_set_elsewhere_too_is_refused_and_both_places_are_named(tmp_path: Path) -> None:
    held = folder(tmp_path, binance_api_key="k-123", binance_api_secret=SECRET)
    file = tmp_path / ".env"
    file.write_text("BINANCE_API_KEY=k-123\n")
    file.chmod(0o600)
    said = problems({"CREDENTIALS_DIRECTORY": str(held)}, file)
    assert "BINANCE_API_KEY (credential binance_api_key): is set too (.env line 1)" in said
    assert SECRET not in said


def test_a_credential_with_a_slip_in_its_name_is_not_passed_over(tmp_path: Path) -> None:
    held = folder(tmp_path, binance_apikey="k-123", database_password=SECRET)
    said = problems({"CREDENTIALS_DIRECTORY": str(held)})
    assert "binance_apikey (CREDENTIALS_DIRECTORY): is no secret of ours; did you mean binance_api_key?" in said
    assert "database_password" not in said, "it is somebody else's"


@pytest.mark.failure("SEC-04")
@pytest.mark.parametrize(
    ("mode", "taken"), [(0o400, True), (0o440, True), (0o640, True), (0o404, False), (0o660, False)]
)
def test_a_credential_that_others_may_read_is_refused_with_the_remedy(
    tmp_path: Path, mode: int, *, taken: bool
) -> None:
    held = folder(tmp_path, binance_api_key="k-123", binance_api_secret=SECRET)
    (held / "binance_api_secret").chmod(mode)
    env = {"CREDENTIALS_DIRECTORY": str(held)}
    if taken:
        assert load_settings(env, None).binance.configured
    else:
        assert f"run: chmod 600 {held / 'binance_api_secret'}" in problems(env)


def test_credentials_that_cannot_be_read_are_a_problem_and_no_traceback(tmp_path: Path) -> None:
    said = problems({"CREDENTIALS_DIRECTORY": str(tmp_path / "nowhere")})
    assert "CREDENTIALS_DIRECTORY (environment): names a folder that cannot be read" in said
    held = folder(tmp_path, binance_api_key="k-123", binance_api_secret="")
    assert "names an empty file" in problems({"CREDENTIALS_DIRECTORY": str(held)})
