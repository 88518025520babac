"""Optimizers have Keras's names, options and defaults; what their rules take of a step hangs on that step alone."""

from dataclasses import asdict
from itertools import pairwise
from typing import Any, get_args

import keras
import numpy as np
import pytest

from service.fitting.descent.optimizers import Nadam, Optimizer
from service.fitting.descent.rules import rule_of
from service.fitting.descent.update_rules import NUMBERS
from service.fitting.solver import Precision
from tests.fitting.descent.keras_table import OPTIMIZERS

KINDS: tuple[Any, ...] = get_args(Optimizer)
#: Options of Keras's that have no meaning here, or another default.
NOT_TAKEN = {"name", "loss_scale_factor", "gradient_accumulation_steps"}


def test_the_table_compares_every_kind_with_keras() -> None:
    assert {type(optimizer) for optimizer in OPTIMIZERS} == set(KINDS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_options_and_defaults_are_those_of_keras(kind: Any) -> None:
    ours = asdict(kind())
    theirs = keras.optimizers.get(ours.pop("kind")).get_config()
    assert ours == pytest.approx({name: theirs[name] for name in theirs if name not in NOT_TAKEN})


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("first", [0, 16_000, 1_000_000])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: optimizer.kind)
def test_numbers_do_not_depend_on_where_they_are_asked_for(
    optimizer: Optimizer, first: int, precision: Precision
) -> None:
    rule = rule_of(optimizer, np.dtype(precision))
    together = rule.numbers(first, 1000)
    assert together.shape == (1 if rule.is_constant else 1000, NUMBERS)
    assert together.dtype == precision
    cuts = [0, 1, 3, 10, 17, 500, 999, 1000]
    for begin, end in pairwise(cuts):
        apart = rule.numbers(first + begin, end - begin)
        np.testing.assert_array_equal(apart, together if rule.is_constant else together[begin:end])


@pytest.mark.parametrize("beta", [0.9, 0.9999])
def test_products_of_nadam_go_on_where_its_momentum_has_warmed_up(beta: float) -> None:
    """1 - u_1 .. u_t, the fifth number of each step, against the plain product over 40 000 steps."""
    shares = beta * (1.0 - 0.5 * 0.96 ** np.arange(1.0, 40_001.0))
    found = rule_of(Nadam(beta_1=beta), np.dtype(np.float64)).numbers(0, 40_000)[:, 4]
    np.testing.assert_allclose(found, 1.0 - np.cumprod(shares), rtol=1e-11)
