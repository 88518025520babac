"""From a prediction's body to its answer, given the fit it is asked of."""

from typing import Any

import numpy as np

from service.api.new_rows import new_features
from service.api.recomputing import Recomputed
from service.api.schemas.prediction import PredictionRequest
from service.fitting.arrays import BoolArray, FloatArray
from service.fitting.inference.predictions import Band, Predictions, predict
from service.fitting.model import Model
from service.fitting.solution import Report


def predictions_of(body: PredictionRequest, report: Report, recomputed: Recomputed) -> dict[str, Any]:
    """The answer, as `schemas.prediction` declares it.

    Raises
    ------
    InvalidRequest
        The rows are not made of the fit's features.
    """
    task, model = recomputed.task, recomputed.task.model
    features = new_features(body.data, model)
    level = task.inference.confidence_level if body.confidence_level is None else body.confidence_level
    predicted = predict(recomputed.references.original, _parameters(report, model), features, level)
    return {
        "rows": len(features),
        "confidence_level": level,
        "targets": [_target(predicted, place, name) for place, name in enumerate(model.targets)],
        "extrapolation": {
            "outside": _names(predicted.outside, model),
            "leverage": predicted.leverage.tolist(),
            "beyond_leverage": predicted.beyond_leverage.tolist(),
            "estimable": predicted.estimable.tolist(),
        },
    }


def _parameters(report: Report, model: Model) -> FloatArray:
    """(m, q), the fit's own."""
    estimates = np.array([coefficient.estimate for coefficient in report.coefficients])
    return estimates.reshape(len(model.targets), -1).T


def _target(predicted: Predictions, place: int, name: str) -> dict[str, Any]:
    return {
        "target": name,
        "fit": _band(predicted.fit, place),
        "reference": _band(predicted.reference, place),
        "std_error": predicted.std_error[:, place].tolist(),
        "reason": predicted.reasons[place],
    }


def _band(band: Band, place: int) -> dict[str, list[float]]:
    columns = {
        "estimate": band.estimate,
        "confidence_low": band.ci_low,
        "confidence_high": band.ci_high,
        "prediction_low": band.pi_low,
        "prediction_high": band.pi_high,
    }
    return {name: values[:, place].tolist() for name, values in columns.items()}


def _names(outside: BoolArray, model: Model) -> list[list[str]]:
    """By row, the features that (r, p) marks."""
    names: list[list[str]] = [[] for _ in outside]
    for row, column in np.argwhere(outside).tolist():
        names[row].append(model.features[column])
    return names
