"""Pictures are drawn by a process of their own: `pictures.py` with data on its stdin and a PNG on its stdout. It gets
none of our environment (there are secrets in it), one at a time, and a time limit."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

PROGRAM: Final = Path(__file__).with_name("pictures.py")
SECONDS: Final = 30.0
"""The first picture of a host also makes the list of its fonts."""
MOST_BYTES: Final = 4_000_000
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_KEPT: Final = ("PATH", "LANG", "LC_ALL", "TMPDIR")


class PictureFailed(Exception):
    """No picture was made; the text says why."""


class Drawing:
    """`cache` is a folder for what the drawing library remembers between two pictures; None = nothing is kept."""

    def __init__(self, cache: Path | None = None) -> None:
        self._cache = cache
        self._one = asyncio.Lock()

    async def __call__(self, data: Mapping[str, object]) -> bytes:
        """The picture as PNG. Raises PictureFailed."""
        async with self._one:
            return await self._draw(json.dumps(data).encode())

    async def _draw(self, data: bytes) -> bytes:
        environment = {name: value for name in _KEPT if (value := os.environ.get(name)) is not None}
        environment["OPENBLAS_NUM_THREADS"] = "1"  # each thread would reserve memory for nothing
        if self._cache is not None:
            environment["MPLCONFIGDIR"] = str(self._cache)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                str(PROGRAM),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise PictureFailed(f"the drawing program cannot be started: {error}") from error
        try:
            async with asyncio.timeout(SECONDS):
                png, said = await process.communicate(data)
        except TimeoutError:
            raise PictureFailed(f"it was not drawn within {SECONDS:g} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode or not png.startswith(_PNG) or len(png) > MOST_BYTES:
            last = said.decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise PictureFailed(f"the drawing program failed ({process.returncode}): {last[:200]}")
        return png
