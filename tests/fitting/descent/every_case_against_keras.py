"""The whole of the table, nothing left out: twenty minutes or so, so it is run by name only.

``python -m pytest tests/fitting/descent/every_case_against_keras.py``; `test_against_keras` is what runs every time.
"""

from dataclasses import replace
from typing import Any

import pytest

from service.fitting.solver import Precision
from tests.fitting.descent.keras_table import NUMPY, OPTIMIZERS, PLANS, SCHEDULES, SHAPES, TENSORFLOW, Case

_PRECISIONS: tuple[Precision, ...] = ("float32", "float64")


@pytest.mark.parametrize("precision", _PRECISIONS)
@pytest.mark.parametrize("shape", range(len(SHAPES)))
@pytest.mark.parametrize("place", range(len(OPTIMIZERS)), ids=lambda place: f"{place}-{OPTIMIZERS[place].kind}")
def test_every_optimizer_on_every_problem_by_every_plan(place: int, shape: int, precision: Precision) -> None:
    case = Case(OPTIMIZERS[place], SHAPES[shape], precision)
    keras_path = case.keras()
    for plan in PLANS:
        case.check(plan, {**NUMPY, **TENSORFLOW}, keras_path(plan))


def _kinds() -> list[Any]:
    """One optimizer of each kind, with steps too short, at the rates of the schedules, for rounding to grow."""
    kinds: list[Any] = [type(optimizer)() for optimizer in {type(each): each for each in OPTIMIZERS}.values()]
    return [replace(kind, epsilon=0.1) if hasattr(kind, "epsilon") else kind for kind in kinds]


@pytest.mark.parametrize("precision", _PRECISIONS)
@pytest.mark.parametrize("schedule", range(len(SCHEDULES)))
@pytest.mark.parametrize("kind", range(len(_kinds())), ids=lambda kind: _kinds()[kind].kind)
def test_every_optimizer_by_every_schedule(kind: int, schedule: int, precision: Precision) -> None:
    """By every plan in NumPy, by one in TensorFlow."""
    case = Case(
        replace(_kinds()[kind], learning_rate=SCHEDULES[schedule]), SHAPES[(kind + schedule) % len(SHAPES)], precision
    )
    keras_path = case.keras()
    for place, plan in enumerate(PLANS):
        engines = {**NUMPY, **TENSORFLOW} if place == schedule % len(PLANS) else NUMPY
        case.check(plan, engines, keras_path(plan))
