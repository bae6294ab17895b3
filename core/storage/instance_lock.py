"""One daemon per data folder and per account, whatever folder it was started from (INV-11, CFG-06).

The kernel drops the lock with the process, so a dead owner never has to be cleaned up after.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path

from core.errors import AlreadyRunning, StartRefused


def account_key(venue: str, base_url: str, api_key: str) -> str:
    """Names an account without telling its key."""
    return sha256(f"{venue}\x1f{base_url}\x1f{api_key}".encode()).hexdigest()[:24]


def state_folder() -> Path:
    """The user's own state folder (XDG), the same from every working directory."""
    root = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(root) / "breakwater"


@contextmanager
def instance_locks(data_dir: Path, accounts: list[str]) -> Iterator[None]:
    """Hold the lock of the data folder and of every account. Raises AlreadyRunning before anything else happened."""
    with ExitStack() as held:
        held.enter_context(_lock(data_dir / "lock", f"the data folder {data_dir.resolve()}"))
        for account in sorted(accounts):
            held.enter_context(_lock(state_folder() / f"{account}.lock", "the same account"))
        yield


@contextmanager
def _lock(path: Path, of_what: str) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:  # a link, or a folder of somebody else
        raise StartRefused(f"{path} cannot be opened ({error.strerror}); correct it or its folder's rights") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            message = f"another Breakwater (process {owner}) holds {of_what}; stop it first"
            raise AlreadyRunning(message) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)
