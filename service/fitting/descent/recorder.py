"""Writes down what is to be recorded of a descent, and hands it on in parts while it runs."""

from collections.abc import Callable

import numpy as np

from service.fitting.arrays import FloatArray, IntArray, WorkingArray
from service.fitting.descent.account import Account, Records
from service.fitting.descent.engine import Rows, State
from service.fitting.descent.glimpses import Glimpses
from service.fitting.recording import RecordedSteps, united
from service.fitting.thinning import place_of_least, place_to_give
from service.fitting.trajectory import Trajectory

#: What is handed on at once.
PART_BYTES = 4 << 20
#: Rows that stay when a part is handed on: in the end one of them may have to give its place to that of least loss.
_STAYING = 2


class Recorder:
    """Keeps the rows that are to be recorded, and of a thinned recording that of least loss among all regular ones.

    Thinned rows are evenly spaced over all steps that were asked for. Of a descent that ends before, they may be few:
    so it keeps others beside them, spaced by a power of two that grows with the steps, and hands on those where they
    are more; but not where the first part had to be handed on before the end.

    Parameters
    ----------
    hand_on
        Takes parts of the trajectory, in ascending order of step; but the row of least loss may come last, by itself.
    """

    def __init__(self, account: Account, steps: RecordedSteps, hand_on: Callable[[Trajectory], None]) -> None:
        self.steps = steps
        self._account = account
        self._hand_on = hand_on
        self.rows_in_part = max(PART_BYTES // account.layout.itemsize, 2 * _STAYING)
        self._buffer = np.empty(min(self.rows_in_part, steps.rows + 1), account.layout)
        self._held = 0
        self._written = 0
        self._least_loss = np.inf
        self._least_row: Records | None = None
        # The last row and that of least loss come beside these.
        most = max(min(steps.limit, self.rows_in_part) - 2, 1)
        self._halved = _Halved(account, steps, most) if steps.are_thinned else None
        self._glimpses = Glimpses(steps, account.layout.itemsize)

    def asks_for(self, after: int, up_to: int) -> IntArray:
        """Which of the steps ``after + 1 .. up_to`` are to be kept, as far as is known before their loss is."""
        kept = self.steps.kept(after, up_to)
        return kept if self._halved is None else united(kept, self._halved.asks_for(after, up_to))

    def loss(self, parameters: WorkingArray) -> FloatArray:
        """(r,) what is compared, of parameters (r, m, q): the loss above its least value."""
        return self._account.excess_loss(self._account.excess_squares(parameters))

    def begin(self, state: State) -> None:
        """Row 0 is the start."""
        self._take_one(state)
        if self._halved is not None:
            self._halved.take(_row(state), -1, 0)

    def take(self, rows: Rows, after: int, up_to: int) -> None:
        """Keep what is to be kept of rows at some of the steps ``after + 1 .. up_to``, ascending.

        Among them must be all that it asks for, and of a thinned recording that of least loss among the regular ones.
        """
        self._write(_chosen(rows, self.steps.kept(after, up_to)))
        if self._halved is not None:
            self._halved.take(rows, after, up_to)
        if self.steps.keeps_least:
            self._compare(_chosen(rows, self.steps.regular_among(rows.step)))

    def glimpse(self) -> Trajectory:
        """A few of the rows that were kept since this was last asked for, in ascending order of step."""
        self._glimpses.keep(self._buffer[: self._held] if self._halved is None else self._halved.records)
        empty = np.empty(0, self._account.layout)
        return Trajectory(self._account, np.concatenate([empty, *self._glimpses.take()]))

    def finish(self, state: State) -> None:
        """Keep the last row and that of least loss, and hand on all that is left."""
        if self._halved is not None and state.step < self.steps.total_steps and self._written == self._held:
            self._choose(self._halved.records)
        if self._buffer["step"][self._held - 1] != state.step:
            self._take_one(state)
        stray = self._place_least()
        self._hand_on(Trajectory(self._account, self._buffer[: self._held]))
        if stray is not None:
            self._hand_on(Trajectory(self._account, stray))

    def _choose(self, halved: Records) -> None:
        """Go on with these where they are more."""
        if len(halved) > self._held:
            self._buffer = np.concatenate([halved, np.empty(1, self._account.layout)])
            self._held = self._written = len(halved)

    def _take_one(self, state: State) -> None:
        self._write(_row(state))
        if self.steps.keeps_least:
            self._compare(_row(state))

    def _write(self, rows: Rows) -> None:
        while count := len(rows.step):
            if self._held == len(self._buffer):
                self._make_room()
            count = min(count, len(self._buffer) - self._held)
            self._account.write(_slice(rows, slice(count)), self._buffer[self._held : self._held + count])
            self._held += count
            self._written += count
            rows = _slice(rows, slice(count, None))

    def _make_room(self) -> None:
        """Hand on all rows but the last few."""
        handed = max(len(self._buffer) - _STAYING, 0)
        staying = self._buffer[handed:].copy()
        part, self._buffer = Trajectory(self._account, self._buffer[:handed]), staying
        if self._halved is None:
            self._glimpses.keep(part.records)
        self._hand_on(part)
        # Two parts at a time would be one too many: whoever took this one may have let it go.
        del part
        self._held = len(staying)
        self._buffer = np.empty(self.rows_in_part, self._account.layout)
        self._buffer[: self._held] = staying

    def _compare(self, rows: Rows) -> None:
        if len(rows.step) == 0:
            return
        losses = self.loss(rows.parameters)
        place = place_of_least(losses)
        if losses[place] < self._least_loss:
            self._least_loss = float(losses[place])
            self._least_row = np.empty(1, self._account.layout)
            self._account.write(_slice(rows, slice(place, place + 1)), self._least_row)

    def _place_least(self) -> Records | None:
        """Put the row of least loss where it belongs; returned where that has been handed on already."""
        least, held = self._least_row, self._buffer[: self._held]
        if least is None:
            return None
        step = int(least["step"][0])
        place = int(np.searchsorted(held["step"], step))
        is_stray = place == 0 and held["step"][0] > 0
        if self.steps.keeps(step) if is_stray else held["step"][place] == step:
            return None
        if self._written == self.steps.limit:
            given = place_to_give(held["step"], step)
            if given is None:
                return None
            held, place = np.delete(held, given), place - (given < place)
        self._buffer = held if is_stray else np.concatenate([held[:place], least, held[place:]])
        self._held = len(self._buffer)
        return least if is_stray else None


class _Halved:
    """At most so many regular rows of a descent that may end any time: all, every 2nd, every 4th, .. of all so far."""

    def __init__(self, account: Account, steps: RecordedSteps, most: int) -> None:
        self.records = np.empty(0, account.layout)
        self._account = account
        self._steps = steps
        self._most = most
        self._n = 1

    def asks_for(self, after: int, up_to: int) -> IntArray:
        """Which of the steps ``after + 1 .. up_to`` it needs."""
        return self._steps.every_nth(self._steps.halvings(up_to, self._most), after, up_to)

    def take(self, rows: Rows, after: int, up_to: int) -> None:
        """The next rows, those it needs among them."""
        n = self._steps.halvings(up_to, self._most)
        # Spaced by n places now, where it was spaced by a part of n before.
        before = self.records[:: n // self._n]
        now = _chosen(rows, self._steps.every_nth(n, after, up_to))
        self.records = np.concatenate([before, np.empty(len(now.step), self._account.layout)])
        self._account.write(now, self.records[len(before) :])
        self._n = n


def _chosen(rows: Rows, steps: IntArray) -> Rows:
    """Those at some of the steps, both ascending."""
    return rows if len(steps) == len(rows.step) else _slice(rows, np.searchsorted(rows.step, steps))


def _slice(rows: Rows, places: slice | IntArray) -> Rows:
    return Rows(rows.step[places], rows.parameters[places], rows.batch_squares[places], rows.epoch_squares[places])


def _row(state: State) -> Rows:
    return Rows(
        np.array([state.step]),
        state.parameters[None],
        state.batch_squares[None],
        state.epoch_squares[None],
    )
