"""Which cores of the machine a measured process has for itself."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager


def divided() -> tuple[Collection[int], Collection[int]]:
    """One core for what is measured, and the others for what it is measured against; the same one where there is only
    one."""
    *others, own = sorted(os.sched_getaffinity(0))
    return [own], others or [own]


@contextmanager
def running_on(cores: Collection[int]) -> Iterator[None]:
    """This thread, and the threads and processes that it starts within."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
