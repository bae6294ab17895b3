"""Everything somebody else needs to understand what happened, in one file: logs, an excerpt of the journal, the audit
log's tail and whether the whole of it is unaltered, the configuration, versions, facts about the host, and what the
daemon says of itself if it answers.

Secrets are masked by their value and by their look, in every part; the file is for its owner only. What is in it is
printed, and listed in its manifest.json. Nothing is sent anywhere. Exit status: 0 written, 2 usage, or it could not be
written.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from msgspec import to_builtins

if __package__ in {None, ""}:  # run by path: the project root is not on the path yet
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from msgspec import Struct

from core.build import build_id
from core.config import default_env_file
from core.redaction import Redactor
from core.settings.dotenv import parse_dotenv
from tools import doctor, incident_parts

WRITTEN, USAGE = 0, 2
DEFAULT_HOURS = 24.0
MOST_HOURS = 24.0 * 366
HOUR_MS = 3_600_000
SECRET_WORDS = ("KEY", "SECRET", "TOKEN", "PASS")
"""Of a name in the `.env`: when that cannot be read as a whole, the values of such names are masked all the same."""


class Part(Struct, frozen=True, kw_only=True):
    """One file of the bundle, as it is in it."""

    name: str
    bytes: int
    sha256: str


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module's text; `arguments` default to the command line."""
    asked = _arguments(arguments)
    case = doctor.case_of(os.environ, asked.env_file or default_env_file())
    here = Path.cwd() if os.access(Path.cwd(), os.W_OK) else case.data_dir
    out = asked.out or here / f"breakwater-incident-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.tar.gz"
    try:
        parts = write(out, case, hours=asked.hours)
    except OSError as error:
        print(f"{out} could not be written: {error}", file=sys.stderr)
        return USAGE
    if asked.json:
        print(json.dumps({"file": str(out), "parts": [to_builtins(part) for part in parts]}, indent=2))
        return WRITTEN
    for part in parts:
        print(f"{part.bytes:>10}  {part.name}")
    print(f"{out}: {out.stat().st_size} bytes, for you only (mode 0600). Secrets are masked; look before you share it.")
    return WRITTEN


def write(out: Path, case: doctor.Case, *, hours: float) -> list[Part]:
    """Write the bundle, whole or not at all; what is in it. Raises OSError."""
    redactor = Redactor((*case.secrets, *_file_secrets(case.env_file)))
    since_ms = time.time_ns() // 1_000_000 - round(hours * HOUR_MS)
    descriptor, name = tempfile.mkstemp(dir=out.absolute().parent, prefix=f".{out.name}-")
    made = Path(name)
    parts: list[Part] = []
    try:
        with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
            for part_name, text in _texts(case, since_ms):
                parts.append(_add(archive, part_name, redactor.text(text)))
            manifest = {
                "made": datetime.now(UTC).isoformat(timespec="seconds"),
                "build": build_id(),
                "hours": hours,
                "masked": "values of every configured secret, and what looks like one, as ***",
                "parts": [to_builtins(part) for part in parts],
            }
            parts.append(_add(archive, "manifest.json", json.dumps(manifest, indent=2) + "\n"))
        made.replace(out)
    finally:
        made.unlink(missing_ok=True)
    return parts


def _texts(case: doctor.Case, since_ms: int) -> Iterator[tuple[str, str]]:
    """Every part; one that cannot be read says why, and the others are there all the same."""
    data, logs = case.data_dir, case.log_dir
    makers: dict[str, Callable[[], str | None]] = {
        "configuration.txt": lambda: incident_parts.configuration(case.settings, case.problems),
        "versions.txt": incident_parts.versions,
        "host.json": lambda: incident_parts.host({"DATA_DIR": data, "LOG_DIR": logs}),
        "doctor.json": lambda: incident_parts.doctor(list(doctor.questions(case, offline=True))),
        "status.json": lambda: incident_parts.status(data),
        "service.txt": lambda: incident_parts.service(since_ms),
    }
    for name, make in makers.items():
        try:
            text = make()
        except OSError as error:
            text = f"{error}\n"
        if text is not None:
            yield name, text
    for name, read in (
        ("logs", incident_parts.logs(logs, since_ms)),
        ("journal", incident_parts.journal(data, since_ms)),
        ("audit", incident_parts.audit(data, since_ms)),
    ):
        try:
            yield from read
        except OSError as error:
            yield f"{name}/unreadable.txt", f"{error}\n"


def _add(archive: tarfile.TarFile, name: str, text: str) -> Part:
    data = text.encode("utf-8", "backslashreplace")
    member = tarfile.TarInfo(f"incident/{name}")
    member.size, member.mode, member.mtime = len(data), 0o600, int(time.time())
    archive.addfile(member, io.BytesIO(data))
    return Part(name=name, bytes=len(data), sha256=sha256(data).hexdigest())


def _file_secrets(env_file: Path | None) -> list[str]:
    """What stands in the `.env` under a name that sounds like a secret's, whether it is a setting or not."""
    if env_file is None:
        return []
    try:
        assignments, _ = parse_dotenv(env_file.read_bytes(), env_file.name)
    except OSError:
        return []
    return [one.value for one in assignments if any(word in one.key.upper() for word in SECRET_WORDS)]


def _hours(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < (hours := float(text)) <= MOST_HOURS:
            return hours
    raise argparse.ArgumentTypeError(f"{text!r} is no number of hours above 0 and up to {MOST_HOURS:g}")


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="incident_bundle.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--hours", type=_hours, default=DEFAULT_HOURS, metavar="N", help=f"how far back (default {DEFAULT_HOURS:g})"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="default breakwater-incident-TIME.tar.gz, here, or in DATA_DIR"
    )
    parser.add_argument("--json", action="store_true", help="print what is in it as JSON")
    parser.add_argument("--env-file", type=Path, metavar="PATH", help="read this file instead of .env")
    return parser.parse_args(given)


if __name__ == "__main__":
    sys.exit(main())
