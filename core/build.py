"""Which program this is: a version, and a digest of the very files that run (CFG-11)."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from pathlib import Path

VERSION = "0.1.0"
_ROOT = Path(__file__).resolve().parent.parent
_PARTS = (
    "core/**/*.py",
    "telegram/tgbot/**/*.py",
    "strategies/**/*.py",
    "tools/**/*.py",
    "main.py",
    "requirements.txt",
)


@cache
def build_id() -> str:
    """E.g. `0.1.0+4f09a1c2`; changes with any source file of daemon, strategies and tools, and with the packages they
    ask for. Read once, at start."""
    digest = sha256()
    for path in sorted(path for part in _PARTS for path in _ROOT.glob(part)):
        digest.update(path.relative_to(_ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return f"{VERSION}+{digest.hexdigest()[:8]}"
