"""Ranking is by score, ties by id, whatever the order of arrival (SIG-03)."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from core.domain.ids import WaveId
from core.domain.verdict import Denied, Reason
from core.domain.wave import Candidate, Leg, LegState, StageTimes, WaveReport, ranked
from tests.builders import NOW_MS, a_candidate, a_signal

candidates = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 30)), max_size=20, unique_by=lambda pair: pair[1]
).map(lambda pairs: [a_candidate(a_signal(f"s{number:02}", score=score)) for score, number in pairs])


@given(candidates, st.randoms())
def test_the_best_come_first_and_ties_are_always_decided_alike(many: list[Candidate], chance: object) -> None:
    shuffled = list(many)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    order = ranked(shuffled)
    assert order == ranked(many)
    assert [c.signal.score for c in order] == sorted((c.signal.score for c in many), reverse=True)
    for first, second in pairwise(order):
        assert (first.signal.score, second.signal.id) >= (second.signal.score, first.signal.id)


def report_of(*states: LegState) -> WaveReport:
    denied = Denied(reason=Reason.EXPIRED, detail="late")
    legs = tuple(Leg(signal=a_signal(), state=state, denied=denied) for state in states)
    return WaveReport(
        wave_id=WaveId("w"), source="test", received_ms=NOW_MS, legs=legs, unusable=(), stages=StageTimes()
    )


def test_a_wave_is_settled_when_nothing_is_undecided_or_unprotected() -> None:
    decided = {LegState.REFUSED, LegState.PROTECTED, LegState.FLATTENED}
    assert report_of(*decided).settled
    for state in set(LegState) - decided:
        assert not report_of(*decided, state).settled
