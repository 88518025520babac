"""What is kept of a descent, whatever its losses, its blocks and its end: against all of its rows."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.fitting.descent import recorder as recorder_module
from service.fitting.descent.engine import Rows, State
from service.fitting.descent.recorder import Recorder
from service.fitting.recording import RecordedSteps
from service.fitting.trajectory import Trajectory
from tests.fitting.trajectories import account


@dataclass(frozen=True)
class Course:
    """A descent of `total` steps, or `ended` before, given in blocks that end at `cuts`."""

    steps: RecordedSteps
    ended: int
    cuts: tuple[int, ...]
    seed: int
    everything: bool

    @property
    def rows(self) -> Rows:
        """The row of every step up to the end, step 0 too; many losses are equal."""
        stream = np.random.default_rng(self.seed)
        count = self.ended + 1
        parameters = stream.integers(0, 4, (count, 2, 1)).astype(float)
        squares = stream.uniform(size=(2, count, 2, 1))
        return Rows(np.arange(count), parameters, *squares)


@st.composite
def courses(draw: st.DrawFn) -> Course:
    stride = draw(st.integers(1, 7))
    total = draw(st.integers(1, 400))
    steps = RecordedSteps(stride, draw(st.integers(0, stride - 1)), total, draw(st.integers(2, 60)))
    ended = total if draw(st.booleans()) else draw(st.integers(0, total))
    cuts = tuple(sorted(draw(st.sets(st.integers(1, max(ended - 1, 1)), max_size=5)))) if ended > 1 else ()
    return Course(steps, ended, cuts, draw(st.integers(0, 1000)), draw(st.booleans()))


def _state(rows: Rows, step: int) -> State:
    none = np.zeros((2, 1))
    return State(step, rows.parameters[step], none[None], none, rows.batch_squares[step], rows.epoch_squares[step])


def _at(rows: Rows, steps: np.ndarray) -> Rows:
    return Rows(steps, rows.parameters[steps], rows.batch_squares[steps], rows.epoch_squares[steps])


def _recorded(course: Course) -> tuple[Trajectory, list[Trajectory]]:
    """All rows of the course, and what was handed on."""
    rows, parts = course.rows, list[Trajectory]()
    told = account(course.steps.total_steps)
    recorder = Recorder(told, course.steps, parts.append)
    recorder.begin(_state(rows, 0))
    bounds = [0, *course.cuts, course.ended] if course.ended else [0]
    for after, up_to in pairwise(bounds):
        asked = course.steps.regular(after, up_to)
        if course.everything:
            # Rows beside the regular ones are looked at by stop rules, and are none of the recorder's.
            asked = np.arange(after + 1, up_to + 1)
        recorder.take(_at(rows, asked), after, up_to)
    recorder.finish(_state(rows, course.ended))
    whole = np.empty(len(rows.step), told.layout)
    told.write(rows, whole)
    return Trajectory(told, whole), parts


def _check(course: Course) -> None:
    whole, parts = _recorded(course)
    kept, steps = Trajectory.joined(parts), course.steps
    np.testing.assert_array_equal(kept.records, whole.take(kept.step).records)
    assert np.diff(kept.step).min(initial=1) > 0
    assert (kept.step[0], kept.step[-1]) == (0, course.ended)
    regular = np.unique([0, *steps.regular(0, course.ended), course.ended])
    if len(regular) <= steps.limit and steps.regular_rows <= steps.limit:
        np.testing.assert_array_equal(kept.step, regular)
        return
    assert set(kept.step) <= set(regular)
    assert kept.recorded <= steps.limit
    if steps.limit > 2:
        assert kept.original.loss.min() == whole.take(regular).original.loss.min()
    if course.ended == steps.total_steps:
        assert kept.recorded == steps.limit
        assert len(set(steps.kept(-1, course.ended)) - set(kept.step)) <= 1


@settings(max_examples=300)
@given(courses())
def test_first_last_least_and_evenly_spaced_rows_are_kept(course: Course) -> None:
    _check(course)


@settings(max_examples=300)
@given(course=courses(), rows=st.integers(4, 9))
def test_so_it_is_where_parts_are_handed_on_early(course: Course, rows: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder_module, "PART_BYTES", rows * account(1).layout.itemsize)
        _, parts = _recorded(course)
        assert all(part.recorded <= rows + 1 for part in parts)
        ends = [part.total_steps for part in parts]
        # Only the row of least loss may come out of order, and by itself.
        assert ends[:-1] == sorted(ends[:-1])
        assert ends == sorted(ends) or parts[-1].recorded == 1
        _check(course)


@settings(max_examples=100)
@given(courses())
def test_a_descent_that_ended_early_keeps_all_it_can(course: Course) -> None:
    _, parts = _recorded(course)
    kept, limit = Trajectory.joined(parts), course.steps.limit
    regular = np.unique([0, *course.steps.regular(0, course.ended), course.ended])
    if course.ended < course.steps.total_steps and limit >= 4:
        assert kept.recorded >= min(len(regular), (limit - 2) / 2)
        if len(regular) <= limit - 1:
            np.testing.assert_array_equal(kept.step, regular)
