"""A short part of the kill campaign: real processes, SIGKILL in a wave, a restart. `make chaos-kill` runs fifty."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.campaigns.kill import run

SEEDS = (9, 17)


def test_a_daemon_killed_in_a_wave_comes_back_to_what_the_venue_has(tmp_path: Path) -> None:
    with ThreadPoolExecutor(len(SEEDS)) as pool:
        wrong = dict(zip(SEEDS, pool.map(lambda seed: run(seed, tmp_path / str(seed)), SEEDS), strict=True))
    assert not any(wrong.values()), wrong
