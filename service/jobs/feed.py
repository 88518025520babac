"""What those who watch a fit see of it: one look at the database for all of them, told to each at its own pace.

Nothing is queued for anybody. Whoever watches has a place in what is known of the fit, and when it is ready for more it
is given all points after its place, and of everything else the newest.
"""

import asyncio
import logging
from bisect import bisect_right
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from uuid import UUID

import numpy as np

from service.database.cancellation import end_if_cancelled
from service.database.errors import UNAVAILABLE
from service.database.pool import Pool
from service.fitting.trajectory import Trajectory
from service.jobs.archive import ArchivedTrajectory
from service.jobs.notices import REREAD_SECONDS, FitNotices
from service.jobs.records import FitProgress
from service.jobs.shown import MOST_POINTS, as_shown
from service.jobs.sight import FitState, Looker, Sight, Start
from service.jobs.trajectories import Rows, read_trajectory
from service.jobs.transitions import is_final

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StateNews:
    """How a fit stands, None where it was deleted; `restarted` where points that were given before are void."""

    fit_id: UUID
    state: FitState | None
    restarted: bool = False


@dataclass(frozen=True, eq=False)
class Points:
    """Rows of the trajectory, at least one."""

    rows: Trajectory | ArchivedTrajectory

    @property
    def last(self) -> int:
        """The last one's step."""
        return int(self.rows.step[-1])

    def after(self, step: int | None) -> "Points":
        """Those after a step that is before the last one's, None for all; itself, where it is all of them."""
        place = 0 if step is None else int(np.searchsorted(self.rows.step, step, "right"))
        return Points(self.rows.take(np.arange(place, len(self.rows.step)))) if place else self


News = StateNews | FitProgress | Points


class Feed:
    """Lets any number of watchers follow fits; each fit is read once for all of them, and only while there are some."""

    def __init__(self, pool: Pool, notices: FitNotices) -> None:
        self._pool = pool
        self._notices = notices
        self._views: dict[UUID, _View] = {}

    @asynccontextmanager
    async def watching(self, fit_id: UUID, after: int | None = None) -> AsyncIterator["Watcher | None"]:
        """Somebody who watches the fit for as long as the context is open; None where there is no such fit.

        Parameters
        ----------
        after
            The step of the last point that is known already; None to have all.

        Raises
        ------
        psycopg.OperationalError
            The database is away from the start. If it goes away later, there is no news until it is back.
        """
        view = self._views.get(fit_id)
        if view is None or view.is_over:
            view = self._views[fit_id] = _View(fit_id)
            view.reading = asyncio.create_task(self._read(view), name=f"feed of {fit_id}")
        watcher = Watcher(view, after)
        view.watchers.add(watcher)
        try:
            await view.is_known.wait()
            if view.failure is not None:
                raise view.failure
            yield watcher if view.state is not None else None
        finally:
            view.watchers.remove(watcher)
            if not view.watchers:
                await self._drop(view)

    async def _drop(self, view: "_View") -> None:
        if self._views.get(view.fit_id) is view:
            del self._views[view.fit_id]
        assert view.reading is not None
        view.reading.cancel()
        await asyncio.gather(view.reading, return_exceptions=True)

    async def _read(self, view: "_View") -> None:
        try:
            with self._notices.subscription(view.fit_id) as changed:
                await self._read_on(view, Looker(self._pool, view.fit_id), changed)
        except UNAVAILABLE as error:
            view.failure = error
        except Exception:
            logger.exception("The feed of fit %s broke", view.fit_id)
        finally:
            view.close()

    async def _read_on(self, view: "_View", looker: Looker, changed: asyncio.Event) -> None:
        """Keep the view up to date until the fit is over. Raises what is in `UNAVAILABLE` for the first look only."""
        while not view.is_over:
            changed.clear()
            try:
                await self._look(view, looker)
            except UNAVAILABLE:
                if not view.is_known.is_set():
                    raise
            end_if_cancelled()
            if not view.is_over:
                with suppress(TimeoutError):
                    async with asyncio.timeout(REREAD_SECONDS):
                        await changed.wait()

    async def _look(self, view: "_View", looker: Looker) -> None:
        sight = await looker.look()
        if sight is None:
            view.close(StateNews(view.fit_id, None))
            return
        known = [*view.points_of(sight.state.start), *map(Points, sight.glimpses)]
        if is_final(sight.state.status):
            known += await self._rest(view.fit_id, known[-1].last if known else -1)
        view.show(sight, known)

    async def _rest(self, fit_id: UUID, after: int) -> list[Points]:
        """What is stored of the trajectory after a step."""
        rest = await read_trajectory(self._pool, fit_id, Rows(first=after + 1, limit=MOST_POINTS))
        if rest is None or len(rest.step) == 0:
            return []
        return [Points(await asyncio.to_thread(as_shown, rest) if isinstance(rest, Trajectory) else rest)]


class Watcher:
    """One who watches a fit, with a place of its own in what there is to see.

    Attributes
    ----------
    place
        The step of the last point that was given, or known before; None where there is none.
    changed
        Set where there may be news, for whoever waits for them to clear.
    """

    def __init__(self, view: "_View", after: int | None) -> None:
        self.place = after
        self.changed = asyncio.Event()
        self._view = view
        self._start: Start | None = None
        self._given: FitState | None = None
        self._progress: FitProgress | None = None
        self._has_all = False

    @property
    def is_over(self) -> bool:
        """Whether there will be no more news than there are."""
        return self._view.is_over

    def news(self) -> Iterator[News]:
        """All that is new since it was last asked for, to be taken at once. How the fit ended comes last."""
        view = self._view
        restarted = self._start not in (None, view.start) and self.place is not None
        if restarted:
            self.place = self._progress = None
        self._start = view.start
        if view.state is not None and (restarted or (view.state != self._given and not view.is_over)):
            self._given = view.state
            yield StateNews(view.fit_id, _before_end(view.state), restarted)
        for points in view.points_after(self.place):
            self.place = points.last
            yield points
        if view.progress not in (None, self._progress):
            self._progress = view.progress
            yield view.progress
        if view.is_over and not self._has_all:
            self._has_all = True
            yield from view.end


class _View:
    """What is known of a fit that is watched.

    Attributes
    ----------
    is_known
        Set once the fit was looked for, or that failed, by `failure`.
    end
        The last news, once it is over; none where it is not the fit that is over.
    """

    def __init__(self, fit_id: UUID) -> None:
        self.fit_id = fit_id
        self.reading: asyncio.Task[None] | None = None
        self.watchers: set[Watcher] = set()
        self.is_known = asyncio.Event()
        self.failure: Exception | None = None
        self.is_over = False
        self.start = Start()
        self.state: FitState | None = None
        self.progress: FitProgress | None = None
        self.end: tuple[StateNews, ...] = ()
        self._points: Sequence[Points] = ()
        self._steps: Sequence[int] = ()

    def points_of(self, start: Start) -> Sequence[Points]:
        """What is known of a start of the fit."""
        return self._points if start == self.start else ()

    def points_after(self, step: int | None) -> Iterator[Points]:
        """Points beyond a step, None for all, as they came."""
        place = 0 if step is None else bisect_right(self._steps, step)
        for points in self._points[place : place + 1]:
            yield points.after(step)
        yield from self._points[place + 1 :]

    def show(self, sight: Sight, points: Sequence[Points]) -> None:
        """Have all who watch see this, with all points that are known."""
        self.start, self.state, self.progress = sight.state.start, sight.state, sight.progress
        self._points, self._steps = points, [one.last for one in points]
        if is_final(sight.state.status):
            self.close(StateNews(self.fit_id, sight.state))
        self._tell()

    def close(self, *end: StateNews) -> None:
        """Have all who watch see that it is over."""
        if not self.is_over:
            self.is_over, self.end = True, end
        self._tell()

    def _tell(self) -> None:
        self.is_known.set()
        for watcher in self.watchers:
            watcher.changed.set()


def _before_end(state: FitState) -> FitState:
    """The state, or where it is final, that in which the fit was before."""
    return replace(state, status="running", outcome=None, error=None) if is_final(state.status) else state
