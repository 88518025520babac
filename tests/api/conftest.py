"""The real application over a real database, spoken to without a socket."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from typing import Any, TypeVar
from uuid import UUID

import httpx
import numpy as np
import pytest

from service.api.app import create_app
from service.bootstrap import Services, open_services
from service.fitting.diagnosis.answer import Diagnosis
from service.fitting.inference.tables import Collinearity, CovarianceMatrix, InferenceReport, TargetSummary
from service.fitting.others.answer import OtherAnswer, OtherCoefficient
from service.fitting.outcome import Outcome
from service.fitting.solution import Coefficient, LossReport, NullDirection, ReferenceReport, Report
from service.fitting.trajectory import Trajectory
from service.jobs.attempts import Attempt, Attempts
from service.jobs.messages import Part, Solved
from service.jobs.records import FitError, FitProgress, TrajectoryExtent
from service.settings import Settings
from tests.api.contract import watch
from tests.fitting.trajectories import TERMS, trajectory
from tests.jobs.reports import diagnosis

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]


class _Bridge(httpx.BaseTransport):
    """Carries a plain client's requests to an application on another loop."""

    def __init__(self, run: Run[httpx.Response], app: Any) -> None:
        self._run = run
        self._transport = httpx.ASGITransport(app)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._run(self._handle(request))

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        pieces = list(request.stream) if isinstance(request.stream, httpx.SyncByteStream) else []
        sent = httpx.Request(request.method, request.url, headers=request.headers, content=_one_by_one(pieces))
        answer = await self._transport.handle_async_request(sent)
        return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())


async def _one_by_one(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


@pytest.fixture(scope="module")
def run() -> Iterator[Run[Any]]:
    """Run a coroutine on the loop the application lives on."""
    with asyncio.Runner() as runner:
        yield runner.run


@pytest.fixture(scope="module")
def services(database_url: str, run: Run[Any]) -> Iterator[Services]:
    """The parts behind the application."""
    stack = AsyncExitStack()
    settings = Settings(database_url=database_url, max_body_bytes=8 << 20, max_wait_seconds=3.0)
    yield run(stack.enter_async_context(open_services(settings)))
    run(stack.aclose())


@pytest.fixture(scope="module")
def app(services: Services) -> Any:
    """The application."""
    return create_app(services)


@pytest.fixture(scope="module")
def api(app: Any, run: Run[Any]) -> Iterator[httpx.Client]:
    """A client of the application that holds every answer to the contract, and means a new fit whenever it asks."""
    hooks, sent = {"response": [watch]}, {"cache-control": "no-cache"}
    with httpx.Client(transport=_Bridge(run, app), base_url="http://test", event_hooks=hooks, headers=sent) as client:
        yield client


@pytest.fixture
def stored_rows(services: Services, run: Run[Any]) -> Callable[[], int]:
    """How many fits, datasets and jobs the database holds."""

    async def count() -> int:
        async with services.pool.connection() as connection:
            tables = ("fit", "dataset", "procrastinate_jobs")
            query = " + ".join(f"(SELECT count(*) FROM {table})" for table in tables)
            cursor = await connection.execute(f"SELECT {query} AS rows".encode())
            [row] = await cursor.fetchall()
            return int(row["rows"])

    return lambda: run(count())


@pytest.fixture
def finish(services: Services, run: Run[Any]) -> Callable[..., None]:
    """Do a worker's part: begin a fit and give it an answer with so many recorded steps, none for an exact one."""
    return lambda fit_id, steps=None: run(_finish(services, UUID(fit_id), steps))


@pytest.fixture
def finish_on_loop(services: Services) -> Callable[[str], Coroutine[Any, Any, None]]:
    """The same for those who are on the loop already."""
    return lambda fit_id: _finish(services, UUID(fit_id), 2)


@pytest.fixture
def fail(services: Services, run: Run[Any]) -> Callable[[str], None]:
    """Do a worker's part: begin a fit and give it up."""

    async def give_up(fit_id: str) -> None:
        attempts, attempt = await begin(services, UUID(fit_id))
        assert await attempts.fail(attempt, FitError("crashed", "The child crashed three times."))

    return lambda fit_id: run(give_up(fit_id))


async def _finish(services: Services, fit_id: UUID, steps: int | None) -> None:
    attempts, attempt = await begin(services, fit_id)
    extent, part = None, None
    if steps is not None:
        extent, part = TrajectoryExtent(steps + 1, steps), _part(trajectory(steps))
    progress = FitProgress(steps or 0, steps or 0, steps or 0, 0.5)
    assert await attempts.succeed(attempt, Solved(_report(steps), extent, part, progress))


def _part(whole: Trajectory) -> Part:
    body = whole.records.view(np.uint8)
    return Part(0, whole.account.to_bytes(), whole.recorded, 0, whole.total_steps, body)


async def begin(services: Services, fit_id: UUID) -> tuple[Attempts, Attempt]:
    async with services.pool.connection() as connection:
        cursor = await connection.execute("SELECT job_id FROM fit WHERE id = %s", [fit_id])
        [row] = await cursor.fetchall()
    attempts = Attempts(services.pool, 3)
    attempt = await attempts.begin(fit_id, row["job_id"])
    assert attempt is not None
    return attempts, attempt


def _report(steps: int | None) -> Report:
    kind = Outcome("exact", "Solved.", 0, 0) if steps is None else Outcome("step_limit", "All done.", steps, steps)
    return Report(
        outcome=kind,
        engine="numpy_rows",
        coefficients=tuple(_coefficient(term) for term in TERMS),
        loss=LossReport(None if steps is None else 2.0, 0.5, 0.25, 0.25),
        reference=ReferenceReport(
            objective="ridge",
            method="householder_qr_least_norm",
            rank=1,
            parameters=2,
            rank_tolerance=1e-13,
            condition_number=np.inf,
            certified_digits=15.5,
            null_directions=(NullDirection("x = 2", ("(intercept)", 'x "quoted", even'), (2.0, -1.0)),),
        ),
        summary=(TargetSummary("y", 0.5, 0.25, 0.1, 3.0, np.nan, -1.5, 7.0, 8.0, 3, 1, 2, "No f_p."),),
        inference=InferenceReport("hc3", 0.9, 2, "Penalised."),
        covariance=(CovarianceMatrix("y", ("(intercept)", 'x "quoted", even'), ((1.0, np.nan), (np.nan, 2.0))),),
        collinearity=Collinearity(("a", "b"), (np.nan, 1.5), (1.0, np.inf), ((0.25, 0.5), (0.75, 0.5))),
        others=(
            OtherAnswer("r", "R lm", True, None, (OtherCoefficient("y", "x", np.nan, np.nan, np.nan),), "NA there."),
        ),
        diagnosis=Diagnosis() if steps is None else diagnosis(np.nan),
    )


def _coefficient(term: str) -> Coefficient:
    return Coefficient("y", term, 1.5, 1.25, 0.25, 0.7, True, 1.5, 1.75, np.nan, np.nan, np.nan, -np.inf, np.inf)
