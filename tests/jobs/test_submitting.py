"""Fits that are taken on: together, again, under a key, and while others remove what they need."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from psycopg.errors import ForeignKeyViolation

from service.bootstrap import Services
from service.database.pool import Connection
from service.fitting.data import Dataset
from service.fitting.model import Model
from service.fitting.solver import Descent, Exact, Stop
from service.fitting.task import FitTask
from service.jobs import fits as fits_module
from service.jobs.asked import Asked, Key
from service.jobs.inline import solve_at_once
from service.jobs.records import FitRecord
from service.jobs.submitting import KeyTaken, Taken, queue_fits

pytestmark = pytest.mark.anyio

MODEL = Model(("x",), ("y",))
EXACT = FitTask(MODEL, Exact())
TABLES = ("dataset", "fit", "procrastinate_jobs", "submission")


def _dataset(last: float = 5.0) -> Dataset:
    return Dataset.from_columns({"x": [1.0, 2.0, 3.0, 4.0], "y": [1.0, 3.0, 2.0, last]})


def _asked(last: float = 5.0, task: FitTask = EXACT, **parts: Any) -> Asked:
    return Asked(_dataset(last), task, {"last": last}, **parts)


async def _counts(services: Services) -> list[int]:
    query = ", ".join(f"(SELECT count(*) FROM {table}) AS {table}" for table in TABLES)
    async with services.pool.connection() as connection:
        [row] = await (await connection.execute(f"SELECT {query}".encode())).fetchall()
    return [row[table] for table in TABLES]


async def _rows(services: Services, query: str) -> list[Any]:
    async with services.pool.connection() as connection:
        cursor = await connection.execute(query.encode())
        return [tuple(row.values()) for row in await cursor.fetchall()]


async def _store(services: Services, asked: Asked, key: Key | None = None, *, fresh: bool = False) -> FitRecord:
    solved = solve_at_once(asked.task, asked.dataset)
    assert solved is not None
    return await services.fits.store(asked, solved, key, fresh=fresh)


# Jobs.


async def test_each_fit_has_the_job_that_the_queue_would_have_given_it(services: Services) -> None:
    asked = [_asked(priority=priority) for priority in (0, -100, 100)]
    taken = await services.fits.submit_all(asked)
    jobs = await _rows(
        services,
        "SELECT fit.id, args, queue_name, task_name, fit.priority, job.priority AS rank, lock, queueing_lock,"
        " scheduled_at FROM fit JOIN procrastinate_jobs job ON job.id = fit.job_id ORDER BY job.id",
    )
    assert jobs == [
        (fit.id, {"fit_id": str(fit.id)}, "fits", "fit", item.priority, item.priority, None, None, None)
        for fit, item in zip(taken, asked, strict=True)
    ]
    async with services.pool.connection() as connection:
        job_id = await services.queue.enqueue(connection, taken[0].id, 0)
    [one, other] = await _rows(
        services,
        "SELECT args, queue_name, task_name, priority, lock, queueing_lock, scheduled_at, status"
        f" FROM procrastinate_jobs WHERE id = {job_id} OR id = (SELECT job_id FROM fit WHERE id = '{taken[0].id}')",
    )
    assert one == other


# Batches.


async def test_fits_are_taken_on_together_in_their_order(services: Services) -> None:
    asked = [_asked(float(n % 3), labels={"n": str(n)}, start_state=bytes([n % 2])) for n in range(50)]
    taken = await services.fits.submit_all(asked)
    assert not any(fit.cached for fit in taken)
    assert await _counts(services) == [3, 50, 50, 0]
    listed = await services.fits.page(status="queued", parent=None, labels={}, size=100, before=None)
    assert [fit.id for fit in taken] == [record.id for record in reversed(listed)]
    for item, record in zip(asked, reversed(listed), strict=True):
        assert (record.request, record.labels) == (item.request, item.labels)
        assert await services.fits.start_state(record.id) == item.start_state


async def test_identical_fits_of_one_batch_are_two(services: Services) -> None:
    one, other = await services.fits.submit_all([_asked(), _asked()])
    assert one.id != other.id
    assert await _counts(services) == [1, 2, 2, 0]


async def test_one_that_the_database_refuses_leaves_nothing_of_the_others(services: Services) -> None:
    asked = [_asked(float(n)) for n in range(9)] + [_asked(9.0, labels={"a": "\0"})]
    with pytest.raises(Exception, match="unsupported Unicode"):
        await services.fits.submit_all(asked, Key("k", b"d"))
    assert await _counts(services) == [0, 0, 0, 0]


async def test_batches_with_the_same_datasets_do_not_stop_each_other(services: Services) -> None:
    forwards = [_asked(float(n)) for n in range(30)]
    await asyncio.gather(*(services.fits.submit_all(order) for order in (forwards, forwards[::-1]) * 4))
    assert await _counts(services) == [30, 240, 240, 0]


# Fits that are there already.


async def test_a_finished_fit_answers_an_identical_one(services: Services) -> None:
    first = await _store(services, _asked(labels={"a": "b"}, priority=3))
    second = await _store(services, _asked(labels={"a": "b"}))
    third = await services.fits.submit(_asked(labels={"a": "b"}))
    [batched, new] = await services.fits.submit_all([_asked(labels={"a": "b"}), _asked(labels={"a": "c"})])
    assert not first.cached
    assert (second.cached, third.cached, batched.cached, new.cached) == (True, True, True, False)
    assert {first.id, second.id, third.id, batched.id} == {first.id}
    assert (second.report, second.request, second.created_at) == (first.report, first.request, first.created_at)
    assert third == second
    assert batched == Taken(first.id, True, first.created_at)
    assert await _counts(services) == [1, 2, 1, 0]


async def test_a_fresh_one_is_run_and_the_oldest_answers(services: Services) -> None:
    first = await _store(services, _asked())
    solved = await _store(services, _asked(), fresh=True)
    queued = await services.fits.submit(_asked(), fresh=True)
    [batched] = await services.fits.submit_all([_asked()], fresh=True)
    assert [fit.cached for fit in (first, solved, queued)] == [False] * 3
    assert not batched.cached
    assert len({first.id, solved.id, queued.id, batched.id}) == 4
    assert (await _store(services, _asked())).id == first.id


async def test_what_is_only_queued_answers_nothing(services: Services) -> None:
    assert (await services.fits.submit(_asked())).id != (await services.fits.submit(_asked())).id
    assert not await services.fits.has_identical(_asked())


@pytest.mark.parametrize("solver", [Descent(backend="tensorflow"), Descent(stop=Stop(max_seconds=60.0))])
async def test_what_may_differ_from_run_to_run_answers_nothing(services: Services, solver: Descent) -> None:
    asked = _asked(task=FitTask(MODEL, solver))
    await services.fits.submit(asked)
    async with services.pool.connection() as connection:
        await connection.execute("UPDATE fit SET status = 'succeeded'")
    assert not await services.fits.has_identical(asked)
    assert not (await services.fits.submit(asked)).cached
    assert await _rows(services, "SELECT DISTINCT digest FROM fit") == [(None,)]


@pytest.mark.parametrize(("status", "cached"), [("succeeded", True), ("failed", False), ("cancelled", False)])
async def test_only_what_succeeded_answers(services: Services, status: str, cached: bool) -> None:
    await services.fits.submit(_asked())
    async with services.pool.connection() as connection:
        await connection.execute("UPDATE fit SET status = %s", [status])
    assert (await services.fits.submit(_asked())).cached is cached


async def test_the_look_at_what_is_there_goes_by_an_index(services: Services) -> None:
    query = (
        "EXPLAIN SELECT FROM unnest(ARRAY['\\x00', '\\x01']::bytea[]) AS asked (digest) JOIN fit USING (digest)"
        " WHERE fit.digest IS NOT NULL AND fit.status = 'succeeded'"
    )
    async with services.pool.connection() as connection, connection.transaction():
        await connection.execute("SET LOCAL enable_seqscan = off")
        plan = await (await connection.execute(query.encode())).fetchall()
    assert "fit_digest" in str(plan)


# Keys.


async def test_a_key_is_known_with_its_fits_and_digest(services: Services) -> None:
    assert await services.fits.under_key("k") is None
    taken = await services.fits.submit_all([_asked(1.0), _asked(2.0)], Key("k", b"digest"))
    submission = await services.fits.under_key("k")
    assert submission is not None
    assert submission.digest == b"digest"
    assert [(fit.id, fit.status) for fit in submission.fits] == [(fit.id, "queued") for fit in taken]
    assert await services.fits.under_key("l") is None


async def test_a_key_knows_a_fit_that_was_there_already(services: Services) -> None:
    first = await _store(services, _asked())
    await _store(services, _asked(), Key("a", b""))
    await services.fits.submit(_asked(), Key("b", b""))
    for key in ("a", "b"):
        submission = await services.fits.under_key(key)
        assert submission is not None
        assert [(fit.id, fit.status) for fit in submission.fits] == [(first.id, "succeeded")]


async def test_of_many_at_once_with_one_key_one_is_stored(services: Services) -> None:
    async def take(n: int) -> UUID | None:
        take = services.fits.submit if n % 2 else lambda asked, key: _store(services, asked, key)
        try:
            return (await take(_asked(float(n)), Key("k", b"d"))).id
        except KeyTaken:
            return None

    [stored] = [fit_id for fit_id in await asyncio.gather(*(take(n) for n in range(20))) if fit_id is not None]
    submission = await services.fits.under_key("k")
    assert submission is not None
    assert [fit.id for fit in submission.fits] == [stored]
    assert [(await _counts(services))[place] for place in (0, 1, 3)] == [1, 1, 1]


async def test_a_key_is_free_again_once_its_fits_are_deleted(services: Services) -> None:
    taken = await services.fits.submit_all([_asked(1.0), _asked(2.0)], Key("k", b"d"))
    await services.keeper.delete(taken[0].id)
    submission = await services.fits.under_key("k")
    assert submission is not None
    assert [(fit.id, fit.status) for fit in submission.fits] == [(taken[0].id, None), (taken[1].id, "queued")]
    await services.keeper.delete(taken[1].id)
    assert await services.fits.under_key("k") is None
    await services.fits.submit(_asked(), Key("k", b"d"))


async def test_a_key_that_was_left_behind_is_free(services: Services) -> None:
    async with services.pool.connection() as connection:
        await connection.execute("INSERT INTO submission VALUES ('k', 'd', ARRAY[gen_random_uuid()])")
    assert await services.fits.under_key("k") is None
    assert await _counts(services) == [0, 0, 0, 0]


# Datasets that are removed at the same time.


async def test_a_dataset_that_is_removed_meanwhile_is_stored_again(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    async def hindered(connection: Connection, asked: Sequence[Asked], *rest: Any, **options: Any) -> list[Taken]:
        tries.append(asked)
        if len(tries) < 3:
            # As the database says it, where the dataset went between the look at it and the end of the statement.
            raise ForeignKeyViolation
        return await queue_fits(connection, asked, *rest, **options)

    monkeypatch.setattr(fits_module, "queue_fits", hindered)
    assert (await services.fits.submit(_asked())).status == "queued"
    assert (len(tries), await _counts(services)) == (3, [1, 1, 1, 0])


async def test_submissions_and_removals_of_one_dataset_do_not_disturb_each_other(services: Services) -> None:
    async def come_and_go(n: int) -> None:
        record = await services.fits.submit(_asked(labels={"n": str(n)}))
        if n % 3:
            await services.keeper.delete(record.id)

    await asyncio.gather(*(come_and_go(n) for n in range(60)))
    assert await _counts(services) == [1, 20, 20, 0]
