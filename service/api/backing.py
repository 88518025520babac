"""What the routes need behind them. `bootstrap` builds it; the API only says what it is."""

from typing import Protocol

from fastapi import Request

from service.datasets.store import DatasetStore
from service.jobs.feed import Feed
from service.jobs.fits import FitStore
from service.jobs.forecasting import Forecaster
from service.jobs.keeper import FitKeeper
from service.jobs.notices import FitNotices
from service.jobs.queue import FitQueue
from service.jobs.queue_report import QueueReporter
from service.settings import Settings


class Backing(Protocol):
    """Settings, stores and queue of one serving process."""

    @property
    def settings(self) -> Settings: ...
    @property
    def datasets(self) -> DatasetStore: ...
    @property
    def fits(self) -> FitStore: ...
    @property
    def notices(self) -> FitNotices: ...
    @property
    def feed(self) -> Feed: ...
    @property
    def queue(self) -> FitQueue: ...
    @property
    def keeper(self) -> FitKeeper: ...
    @property
    def reporter(self) -> QueueReporter: ...
    @property
    def forecaster(self) -> Forecaster: ...


async def backing_of(request: Request) -> Backing:
    """The backing of the application that a request came to."""
    # A coroutine, because the framework hands plain functions to a thread.
    backing: Backing = request.app.state.backing
    return backing
