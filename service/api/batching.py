"""Many bodies are checked, as each would be by itself, a few at a time: there are others waiting."""

import asyncio
from collections.abc import Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from service.api.faults import MOST_FAULTS
from service.api.mapping import Datasets, submission_of
from service.api.schemas.request import FitRequest
from service.fitting.data import Dataset
from service.fitting.errors import InvalidProblem
from service.jobs.asked import Asked
from service.jobs.fits import FitStore

#: Small ones take some milliseconds together.
_AT_A_TIME = 10


async def requests_of(bodies: Sequence[Any]) -> list[FitRequest]:
    """The bodies, validated.

    Raises
    ------
    RequestValidationError
        Some are not valid; each fault is named by its place among all.
    """
    requests: list[FitRequest] = []
    errors: list[dict[str, Any]] = []
    for number, body in enumerate(bodies):
        await _give_way(number)
        try:
            requests.append(FitRequest.model_validate(body))
        except ValidationError as error:
            errors += [{**found, "loc": ("body", "fits", number, *found["loc"])} for found in error.errors()]
        if len(errors) > MOST_FAULTS:
            break
    if errors:
        raise RequestValidationError(errors, body={"fits": bodies})
    return requests


async def checked(requests: Sequence[FitRequest], datasets: Datasets, fits: FitStore) -> list[Asked]:
    """The fits that are asked for.

    Raises
    ------
    InvalidProblem
        The parts of one do not go together, or name what is not there.
    """
    known = _Known(datasets)
    asked = []
    for number, request in enumerate(requests):
        await _give_way(number)
        try:
            asked.append((await submission_of(request, known, fits)).asked)
        except InvalidProblem as error:
            raise InvalidProblem(("fits", number, *error.place), error.message, error.allowed) from error
    return asked


async def _give_way(number: int) -> None:
    if number % _AT_A_TIME == 0:
        await asyncio.sleep(0)


class _Known:
    """Datasets, each read once: many fits may name the same."""

    def __init__(self, datasets: Datasets) -> None:
        self._datasets = datasets
        self._read: dict[str, Dataset | None] = {}

    async def get(self, dataset_id: str) -> Dataset | None:
        """See `Datasets`."""
        if dataset_id not in self._read:
            self._read[dataset_id] = await self._datasets.get(dataset_id)
        return self._read[dataset_id]
