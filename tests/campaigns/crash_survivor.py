"""What goes on after a death: a fork in which nothing of the dead daemon runs, and a new daemon on what it left.

The thread that forked has the dead daemon's frames on its stack and only waits from then on, so its loop, its tasks and
what they held are as gone as after a SIGKILL; the survivor's own loop runs on a thread beside it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from random import Random

from msgspec import Struct

from tests.campaigns import crash_life
from tests.campaigns.crash_points import Left, Point, PointedWorld
from tests.fakes.virtual_loop import VirtualLoop

CHILD_SECONDS = 90
"""Of real time, for a new start on a busy machine; one that takes longer hangs."""
STARTING_POINTS = 300
"""About so many does a start pass until it is ready."""
ANSWER = "wrong.json"


class Survivor(Struct, frozen=True, kw_only=True):
    """`power`: what was not synced is lost too. `twice`: the new daemon dies as well, at a point of its start that
    follows from the first one, and a third is judged."""

    world: PointedWorld
    venue: str
    place: Path
    power: bool
    twice: bool
    verbose: bool = False

    def fork(self, point: Point) -> int:
        """The child's process id; in the child it never returns."""
        left = self.world.leave(self.place / "data", power=self.power)
        now = asyncio.get_running_loop().time()
        child = os.fork()
        if child:
            return child
        try:
            signal.alarm(CHILD_SECONDS)
            gc.disable()  # collecting the dead daemon's tasks would run their `finally`
            again = Random(point.number).randint(1, STARTING_POINTS) if self.twice else None
            self._begin(left, now, again)
            threading.Event().wait()
        finally:
            os._exit(1)

    def _begin(self, left: Left, now: float, again: int | None = None) -> None:
        threading.Thread(target=self._tell, args=(left, now, again), name="survivor").start()

    def _tell(self, left: Left, now: float, again: int | None) -> None:
        wrong = ["the survivor could not be started"]
        try:
            with (self.place / "daemon.log").open("a", encoding="utf-8") as log:
                crash_life.log_to(sys.stdout if self.verbose else log)
                wrong = self._lead(left, now, again)
        except BaseException as error:  # swallow: told to the parent, this process has nobody else
            wrong = [f"{type(error).__name__}: {error}"]
        finally:
            (self.place / ANSWER).write_text(json.dumps(wrong))
            sys.stdout.flush()
            os._exit(0)

    def _lead(self, left: Left, now: float, again: int | None) -> list[str]:
        self.world.points.armed = again is not None
        if again is not None:
            last = self.world.points.reached + again
            self.world.points.on_point = lambda point: self._die_again(point, last)
        loop = VirtualLoop()
        loop.jump(now - loop.time())
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            return runner.run(crash_life.after(self.world, self.venue, left, self._say))

    def _die_again(self, point: Point, last: int) -> None:
        """The second death needs no fork: nobody lives on but the third daemon."""
        if point.number != last:
            return
        self._say(f"dies again at point {point}")
        self.world.points.armed = False
        left = self.world.leave(self.place / "again", power=self.power)
        self._begin(left, asyncio.get_running_loop().time())
        threading.Event().wait()

    def _say(self, text: str) -> None:
        if self.verbose:
            print(text)


def answer(place: Path, status: int) -> list[str]:
    """What a survivor found wrong; `status` as `os.wait` tells it."""
    if os.WIFSIGNALED(status):
        return [f"the survivor was ended by {signal.Signals(os.WTERMSIG(status)).name} (it hung, or crashed)"]
    found: list[str] = ["the survivor said nothing"]
    with suppress(OSError, ValueError):
        found = json.loads((place / ANSWER).read_text())
    return found
