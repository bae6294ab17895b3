"""The incident bundle: what is in it, that it can always be made, and for whose eyes it is."""

from __future__ import annotations

import asyncio
import json
import stat
import tarfile
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from msgspec.structs import replace

from core.engine.records import IntentRecord
from tests.storage.records import a_journal, an_intent
from tools import doctor, incident_bundle, incident_parts

HOUR_MS = 3_600_000
SECRET = "a-secret-in-the-env"


def _case(folder: Path) -> doctor.Case:
    env_file = folder / ".env"
    env_file.write_text(f"BINANCE_API_KEY={SECRET}\nMAX_POSITIONS=many\n", "utf-8")
    env_file.chmod(0o600)
    return doctor.case_of({"DATA_DIR": str(folder / "data"), "LOG_DIR": str(folder / "logs")}, env_file)


def _read(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        files = {member.name: archive.extractfile(member) for member in archive.getmembers()}
        assert all(name.startswith("incident/") for name in files)
        return {name.removeprefix("incident/"): file.read().decode() for name, file in files.items() if file}


def _line(ago_ms: int, text: str) -> str:
    when = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(time.time() - ago_ms / 1000))
    return json.dumps({"time": when, "level": "info", "event": text}) + "\n"


async def _orders(folder: Path) -> None:
    journal = await a_journal(folder)
    now = time.time_ns() // 1_000_000
    old, new = an_intent(1), replace(an_intent(2), reason=f"because of {SECRET}")
    await journal.append([IntentRecord(intent=old, time_ms=now - 50 * HOUR_MS), IntentRecord(intent=new, time_ms=now)])
    await journal.close()


@pytest.fixture
def case(tmp_path: Path) -> doctor.Case:
    logs, data = tmp_path / "logs", tmp_path / "data"
    logs.mkdir()
    data.mkdir()
    asyncio.run(_orders(data))
    text = _line(50 * HOUR_MS, "old") + _line(0, f"new {SECRET} signature=0123456789abcdef")
    (logs / "breakwater.log").write_text(text, "utf-8")
    return replace(_case(tmp_path), data_dir=data, log_dir=logs)


def test_it_holds_what_is_new_enough_with_its_manifest_and_is_for_its_owner_only(
    tmp_path: Path, case: doctor.Case
) -> None:
    out = tmp_path / "bundle.tar.gz"
    parts = incident_bundle.write(out, case, hours=24)
    found = _read(out)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir() if "bundle" in path.name] == ["bundle.tar.gz"]
    assert {part.name for part in parts} == set(found)
    manifest = json.loads(found["manifest.json"])
    assert {row["name"]: row["sha256"] for row in manifest["parts"]} == {
        name: sha256(text.encode()).hexdigest() for name, text in found.items() if name != "manifest.json"
    }
    assert [json.loads(line)["event"][:3] for line in found["logs/breakwater.log"].splitlines()] == ["new"]
    assert [json.loads(line)["client_order_id"][-1] for line in found["journal/orders.json"].splitlines()] == ["2"]
    assert "no daemon is running" in found["status.json"]
    assert "MAX_POSITIONS=many" in found["configuration.txt"]


def test_secrets_are_masked_by_value_and_by_look_also_with_a_configuration_that_is_broken(
    tmp_path: Path, case: doctor.Case
) -> None:
    out = tmp_path / "bundle.tar.gz"
    incident_bundle.write(out, case, hours=24)
    everything = "".join(_read(out).values())
    assert SECRET not in everything
    assert "signature=***" in everything
    assert "because of ***" in everything


@pytest.mark.parametrize("slip", [{}, {"LEVERAGE": "nonsense"}, {"ALERT_NOISE": "wave=loud"}])
def test_the_address_of_a_webhook_is_in_it_without_its_path(tmp_path: Path, slip: dict[str, str]) -> None:
    url = "https://hooks.example.com/services/T000/whoever-knows-this-may-post"
    env = {"ALERT_WEBHOOK_URL": url, "ALERT_WEBHOOK_SECRET": "0123456789abcdef", **slip}
    env |= {"DATA_DIR": str(tmp_path / "data"), "LOG_DIR": str(tmp_path / "logs")}
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "breakwater.log").write_text(_line(0, f"posted to {url}"), "utf-8")
    out = tmp_path / "bundle.tar.gz"
    incident_bundle.write(out, doctor.case_of(env, None), hours=24)
    found = _read(out)
    assert "posted to ***" in found["logs/breakwater.log"]
    assert "whoever-knows" not in "".join(found.values())


def test_it_can_be_made_of_nothing_and_of_what_is_broken(tmp_path: Path, case: doctor.Case) -> None:
    (case.data_dir / "journal.db").write_bytes(b"no journal" * 500)
    (case.data_dir / "audit.log").write_text("no record\n", "utf-8")
    (case.log_dir / "breakwater.log").write_bytes(b"\xff\xfe no text\n")
    out = tmp_path / "bundle.tar.gz"
    incident_bundle.write(out, case, hours=24)
    found = _read(out)
    assert "cannot be read" in found["journal/unreadable.txt"]
    assert json.loads(found["audit/verification.json"])["clean"] is False
    empty = replace(case, data_dir=tmp_path / "none", log_dir=tmp_path / "none", settings=None, accesses=())
    incident_bundle.write(out, empty, hours=24)
    assert {"configuration.txt", "host.json", "versions.txt", "manifest.json"} <= set(_read(out))


def test_what_may_not_be_read_costs_its_own_part_only(
    tmp_path: Path, case: doctor.Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> Iterator[tuple[str, str]]:
        yield "logs/first.log", "read\n"
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(incident_parts, "logs", refused)
    out = tmp_path / "bundle.tar.gz"
    incident_bundle.write(out, case, hours=24)
    found = _read(out)
    assert found["logs/first.log"] == "read\n"
    assert "Permission denied" in found["logs/unreadable.txt"]
    assert "journal/orders.json" in found


def test_a_place_that_cannot_be_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = _case(tmp_path)
    monkeypatch.setattr(doctor, "case_of", lambda *_: case)
    assert incident_bundle.main(["--out", str(tmp_path / "no" / "x.tar.gz")]) == incident_bundle.USAGE
    assert "could not be written" in capsys.readouterr().err


@pytest.mark.parametrize("hours", ["-4", "0", "nan", "many", "1e9"])
def test_a_bundle_of_no_time_is_a_usage_error(hours: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        incident_bundle.main(["--hours", hours])
    assert ended.value.code == 2
    assert "is no number of hours" in capsys.readouterr().err
