"""What is said of a descent beside its answer, and of one that is only forecast, as `schemas` declares both."""

from typing import Any

from service.fitting.diagnosis.answer import Cause, Diagnosis, Direction, Forecast, Place, Remedy


def forecast_answer(forecast: Forecast) -> dict[str, Any]:
    """What `schemas.forecast` declares; the diagnosis stands beside the rest."""
    parts = {name: value for name, value in vars(forecast).items() if name != "diagnosis"}
    limit = None if forecast.limit is None else _place(forecast.limit)
    return {**parts, "end": vars(forecast.end), "limit": limit, **diagnosis_answer(forecast.diagnosis)}


def diagnosis_answer(diagnosis: Diagnosis, fit_path: str | None = None) -> dict[str, Any]:
    """Directions, causes and remedies.

    Parameters
    ----------
    fit_path
        Of the fit that they are of; None where there is none.
    """
    remedies = {remedy.number: _remedy(remedy, fit_path) for remedy in diagnosis.remedies}
    return {
        "directions": [_direction(direction) for direction in diagnosis.directions],
        "causes": [_cause(cause, remedies) for cause in diagnosis.causes],
        "remedies": list(remedies.values()),
    }


def remedy_path(fit_path: str, number: int) -> str:
    return f"{fit_path}/remedies/{number}"


def _direction(direction: Direction) -> dict[str, Any]:
    numbers = {name: value for name, value in vars(direction).items() if name != "coefficients"}
    return {**numbers, "terms": dict(zip(direction.terms, direction.coefficients, strict=True))}


def _cause(cause: Cause, remedies: dict[int, dict[str, Any]]) -> dict[str, Any]:
    return {**vars(cause), "remedy": None if cause.remedy is None else remedies[cause.remedy]}


def _remedy(remedy: Remedy, fit_path: str | None) -> dict[str, Any]:
    href = None if fit_path is None else remedy_path(fit_path, remedy.number)
    return {**vars(remedy), "verified": remedy.verified, "href": href}


def _place(place: Place) -> dict[str, Any]:
    return {"loss": place.loss, "coefficients": place.coefficients}
