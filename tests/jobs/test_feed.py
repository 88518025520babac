"""What those who watch a fit are given: every point once, the newest of the rest, and the end, come what may."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from itertools import pairwise
from typing import Any, TypeVar
from uuid import UUID, uuid4

import numpy as np
import pytest
from psycopg import OperationalError

from service.bootstrap import Services
from service.fitting.trajectory import Trajectory
from service.jobs.attempts import Attempt, Attempts
from service.jobs.feed import Feed, News, Points, StateNews, Watcher
from service.jobs.messages import Glimpse, Part, Solved
from service.jobs.records import FitError, FitProgress, FitRecord, TrajectoryExtent
from tests.fitting.trajectories import trajectory
from tests.jobs.reports import report

pytestmark = pytest.mark.anyio

JobOf = Callable[[UUID], Awaitable[int]]
Submit = Callable[[], Awaitable[FitRecord]]
Sql = Callable[..., Awaitable[list[dict[str, Any]]]]
Outage = Callable[[], AbstractContextManager[None]]

STEPS = 120
WHOLE = trajectory(STEPS)
#: The steps that are glimpsed, and where each glimpse ends.
SEEN = list(range(0, 100, 3))
ENDS = [4, 5, 12, 30, len(SEEN)]


P = TypeVar("P", Glimpse, Part)


def _piece(rows: Trajectory, ordinal: int, kind: type[P]) -> P:
    account, step = rows.account.to_bytes() if ordinal == 0 else None, rows.step
    return kind(ordinal, account, rows.recorded, int(step[0]), int(step[-1]), rows.records.view(np.uint8))


def _glimpses() -> list[Glimpse]:
    pieces = [SEEN[first:last] for first, last in pairwise([0, *ENDS])]
    return [_piece(WHOLE.take(np.array(piece)), k, Glimpse) for k, piece in enumerate(pieces)]


def _progress(steps: int) -> FitProgress:
    return FitProgress(steps, STEPS, steps, 0.5, 0.1, 10.0, 3.0)


@pytest.fixture
async def record(submit: Submit) -> FitRecord:
    return await submit()


@pytest.fixture
def begin(attempts: Attempts, job_of: JobOf) -> Callable[[UUID], Awaitable[Attempt]]:
    async def begun(fit_id: UUID) -> Attempt:
        attempt = await attempts.begin(fit_id, await job_of(fit_id))
        assert attempt is not None
        return attempt

    return begun


Begin = Callable[[UUID], Awaitable[Attempt]]


@pytest.fixture
async def attempt(begin: Begin, record: FitRecord) -> Attempt:
    return await begin(record.id)


@pytest.fixture
def feed(services: Services) -> Feed:
    return services.feed


async def _tell(attempts: Attempts, attempt: Attempt, glimpse: Glimpse) -> None:
    """As the worker does it."""
    assert await attempts.glimpse(attempt, glimpse)
    assert await attempts.progress(attempt, _progress(glimpse.last_step))


async def _succeed(attempts: Attempts, attempt: Attempt) -> None:
    solved = Solved(report(), TrajectoryExtent(STEPS + 1, STEPS), _piece(WHOLE, 0, Part), _progress(STEPS))
    assert await attempts.succeed(attempt, solved)


@asynccontextmanager
async def _watching(feed: Feed, fit_id: UUID, after: int | None = None) -> AsyncIterator[Watcher]:
    async with feed.watching(fit_id, after) as watcher:
        assert watcher is not None
        yield watcher


async def _until(watcher: Watcher, is_it: Callable[[News], bool], *, patience: float = 20.0) -> list[News]:
    """All news up to the first that is it."""
    given: list[News] = []
    async with asyncio.timeout(patience):
        while True:
            watcher.changed.clear()
            given += watcher.news()
            if any(is_it(news) for news in given):
                return given
            assert not watcher.is_over
            await watcher.changed.wait()


def _is_final(news: News) -> bool:
    return isinstance(news, StateNews) and (news.state is None or news.state.status not in ("queued", "running"))


def _is_progress(steps: int) -> Callable[[News], bool]:
    return lambda news: isinstance(news, FitProgress) and news.steps_done >= steps


def _steps(given: list[News]) -> list[int]:
    return [int(step) for news in given if isinstance(news, Points) for step in news.rows.step]


def _statuses(given: list[News]) -> list[str]:
    return [news.state.status for news in given if isinstance(news, StateNews) and news.state is not None]


async def test_a_fit_is_seen_from_the_queue_to_its_end(
    feed: Feed, attempts: Attempts, record: FitRecord, begin: Begin
) -> None:
    async with _watching(feed, record.id) as watcher:
        [first] = watcher.news()
        assert isinstance(first, StateNews)
        assert first.state is not None
        assert first.state.status == "queued"
        attempt, given = await begin(record.id), []
        for glimpse in _glimpses():
            await _tell(attempts, attempt, glimpse)
            given += await _until(watcher, _is_progress(glimpse.last_step))
            assert watcher.place == glimpse.last_step
        assert (_statuses(given), _steps(given)) == (["running"], SEEN)
        await _succeed(attempts, attempt)
        rest = await _until(watcher, _is_final)
        assert _steps(rest) == list(range(SEEN[-1] + 1, STEPS + 1))
        assert isinstance(rest[-1], StateNews)
        assert rest[-1].state is not None
        assert (rest[-1].state.status, rest[-1].state.outcome) == ("succeeded", report().outcome.kind)
        assert watcher.is_over
        assert list(watcher.news()) == []


async def test_points_are_the_rows_that_were_recorded(feed: Feed, attempts: Attempts, attempt: Attempt) -> None:
    for glimpse in _glimpses():
        await _tell(attempts, attempt, glimpse)
    async with _watching(feed, attempt.fit_id) as watcher:
        given = [news.rows for news in watcher.news() if isinstance(news, Points)]
    losses = np.concatenate([rows.original.loss for rows in given])
    np.testing.assert_array_equal(losses, WHOLE.original.loss[SEEN])


async def test_nothing_is_missed_or_told_twice_wherever_the_stream_is_cut(
    feed: Feed, attempts: Attempts, attempt: Attempt
) -> None:
    draw = random.Random(6)
    place, given = None, list[News]()

    async def watch_for_a_while() -> None:
        nonlocal place
        async with _watching(feed, attempt.fit_id, place) as watcher:
            for news in watcher.news():
                given.append(news)
                place = watcher.place
                if draw.random() < 0.3:
                    return

    for glimpse in _glimpses():
        await _tell(attempts, attempt, glimpse)
        for _ in range(draw.randrange(3)):
            await watch_for_a_while()
    await _succeed(attempts, attempt)
    while not given or not _is_final(given[-1]):
        await watch_for_a_while()
    steps = _steps(given)
    assert steps == sorted(set(steps))
    assert (steps[0], steps[-1]) == (0, STEPS)
    assert set(SEEN) <= set(steps)


@pytest.mark.parametrize("after", [None, 0, 50, STEPS - 1, STEPS, 10**15])
async def test_points_of_a_finished_fit_go_on_after_any_step(
    feed: Feed, attempts: Attempts, attempt: Attempt, after: int | None
) -> None:
    await _succeed(attempts, attempt)
    async with _watching(feed, attempt.fit_id, after) as watcher:
        given = list(watcher.news())
        assert watcher.is_over
    assert _steps(given) == list(range(0 if after is None else after + 1, STEPS + 1))
    assert _statuses(given) == ["succeeded"]


async def test_a_slow_watcher_misses_progress_and_no_point(feed: Feed, attempts: Attempts, attempt: Attempt) -> None:
    async with _watching(feed, attempt.fit_id) as slow, _watching(feed, attempt.fit_id) as quick:
        list(slow.news())
        for glimpse in _glimpses():
            await _tell(attempts, attempt, glimpse)
            await _until(quick, _is_progress(glimpse.last_step))
        given = list(slow.news())
    assert _steps(given) == SEEN
    assert [news.steps_done for news in given if isinstance(news, FitProgress)] == [SEEN[-1]]


async def test_what_many_watch_is_read_once_and_only_while_they_do(
    services: Services, feed: Feed, attempts: Attempts, attempt: Attempt
) -> None:
    async with _watching(feed, attempt.fit_id) as first, _watching(feed, attempt.fit_id) as second:
        await _tell(attempts, attempt, _glimpses()[0])
        given = [await _until(watcher, _is_progress(1)) for watcher in (first, second)]
        points = [news for some in given for news in some if isinstance(news, Points)]
        assert points[0] is points[1]
        [view] = vars(feed)["_views"].values()
        assert view.reading.get_name() in {task.get_name() for task in asyncio.all_tasks()}
    assert vars(feed)["_views"] == {}
    assert view.reading.done()
    assert vars(services.notices)["_waiting"] == {}


async def test_points_come_again_where_a_fit_starts_anew(
    feed: Feed, attempts: Attempts, attempt: Attempt, begin: Begin
) -> None:
    first, second, *_ = _glimpses()
    async with _watching(feed, attempt.fit_id) as watcher, _watching(feed, attempt.fit_id) as slow:
        for glimpse in (first, second):
            await _tell(attempts, attempt, glimpse)
        await _until(watcher, _is_progress(second.last_step))
        await _until(slow, _is_progress(second.last_step))
        again = await begin(attempt.fit_id)
        await _tell(attempts, again, first)
        given = await _until(watcher, _is_progress(1))
        starts = [news for news in given if isinstance(news, StateNews)]
        assert [news.restarted for news in starts].count(True) == 1
        assert starts[-1].state is not None
        assert starts[-1].state.start.attempt == 2
        assert _steps(given) == SEEN[: ENDS[0]]
        # A shutdown takes a start back: the next has the same number, and is another all the same.
        assert await attempts.release(again)
        third = await begin(attempt.fit_id)
        assert third.number == again.number
        await _tell(attempts, third, first)
        given = await _until(watcher, _is_progress(1))
        assert any(isinstance(news, StateNews) and news.restarted for news in given)
        assert _steps(given) == SEEN[: ENDS[0]]
        await _succeed(attempts, third)
        await _until(watcher, _is_final)
        # Who comes late hears that what it has is void before it is told the whole, and of the end last.
        late = list(slow.news())
        assert isinstance(late[0], StateNews)
        assert late[0].restarted
        assert _statuses(late) == ["running", "succeeded"]
        assert (_steps(late)[0], _steps(late)[-1]) == (0, STEPS)


async def test_a_failed_fit_says_why(feed: Feed, attempts: Attempts, attempt: Attempt) -> None:
    async with _watching(feed, attempt.fit_id) as watcher:
        assert await attempts.fail(attempt, FitError("crashed", "It did."))
        [*_, last] = await _until(watcher, _is_final)
    assert isinstance(last, StateNews)
    assert last.state is not None
    assert last.state.error == FitError("crashed", "It did.")


async def test_a_fit_that_is_deleted_meanwhile_is_over(services: Services, feed: Feed, record: FitRecord) -> None:
    async with _watching(feed, record.id) as watcher:
        assert await services.keeper.delete(record.id) == "queued"
        [*_, last] = await _until(watcher, _is_final)
    assert last == StateNews(record.id, None)


async def test_there_is_nothing_to_watch_of_no_fit(feed: Feed) -> None:
    async with feed.watching(uuid4()) as watcher:
        assert watcher is None


async def test_an_absent_database_is_an_error_only_from_the_start(
    feed: Feed, attempts: Attempts, attempt: Attempt, outage: Outage
) -> None:
    async with _watching(feed, attempt.fit_id) as watcher:
        await _tell(attempts, attempt, _glimpses()[0])
        await _until(watcher, _is_progress(1))
        with outage():
            with pytest.raises(OperationalError):
                async with feed.watching(uuid4()):
                    pass
            assert not watcher.is_over
        await _succeed_patiently(attempts, attempt)
        given = await _until(watcher, _is_final)
    assert _steps(given)[-1] == STEPS
    assert vars(feed)["_views"] == {}


async def _succeed_patiently(attempts: Attempts, attempt: Attempt) -> None:
    for _ in range(20):
        try:
            return await _succeed(attempts, attempt)
        except OperationalError:
            continue
    raise AssertionError
