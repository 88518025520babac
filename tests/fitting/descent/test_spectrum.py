"""Eigenvalues and directions of the Hessian, against what they are by definition."""

import numpy as np
import pytest

from service.fitting.arrays import FloatArray
from service.fitting.data import Dataset
from service.fitting.descent.setting import Setting
from service.fitting.descent.spectrum import MOST_PARAMETERS, Spectrum
from service.fitting.descent.start import Values
from service.fitting.exact import references
from service.fitting.model import resolve_model
from service.fitting.penalty import L2
from service.fitting.problem import Problem
from service.fitting.scaling import Scaling
from service.fitting.solver import Descent
from tests.fitting.descent.problems import random_problem

TERMS = ("(intercept)", "x1", "x2")


def _nearly_collinear(spread: float) -> FloatArray:
    """(40, 3): ones, and two columns that differ by `spread` from each other, orthogonally to what they share."""
    turn = 2.0 * np.pi * np.arange(40) / 40
    return np.column_stack([np.ones(40), np.sin(turn) + spread * np.cos(turn), np.sin(turn) - spread * np.cos(turn)])


def _spectrum(design: FloatArray, before: FloatArray) -> Spectrum:
    terms = TERMS if design.shape[1] == 3 else tuple(f"x{j}" for j in range(design.shape[1]))
    return Spectrum.of(terms, np.asarray(np.linalg.qr(design, mode="r")), float(len(design)), before)


@pytest.mark.parametrize("penalty", [None, L2(0.2)])
@pytest.mark.parametrize("scaling", [Scaling(), Scaling("standard", "standard")])
@pytest.mark.parametrize("weighted", [False, True])
def test_it_is_that_of_the_loss(weighted: bool, scaling: Scaling, penalty: L2 | None) -> None:
    problem = random_problem(3, features=4, targets=2, scaling=scaling, weighted=weighted)
    solver = Descent(penalty=penalty)
    spectrum = Setting.of(problem, solver, references(problem, penalty)).spectrum
    design = np.column_stack([np.ones(23), problem.scaled_x])
    weights = np.ones(23) if problem.weights is None else problem.weights
    hessian = 2.0 / (23 * 2) * design.T @ (weights[:, None] * design)
    hessian += 0.0 if penalty is None else 2.0 * np.diag([0.0, *[penalty.strength] * 4])
    rebuilt = spectrum.vectors * spectrum.eigenvalues @ spectrum.vectors.T
    np.testing.assert_allclose(rebuilt, hessian, rtol=0, atol=1e-14 * spectrum.eigenvalues[0])
    np.testing.assert_allclose(spectrum.vectors.T @ spectrum.vectors, np.eye(5), atol=1e-14)
    assert (np.diff(spectrum.eigenvalues) < 0.0).all()


def test_a_slow_direction_is_named_by_the_columns() -> None:
    spectrum = _spectrum(_nearly_collinear(0.01), np.array([[0.3], [0.4], [-0.7]]))
    assert spectrum.names == ("(intercept)", "x1 + x2", "x1 - x2")
    np.testing.assert_allclose(spectrum.vectors[:, 2], [0.0, 0.5**0.5, -(0.5**0.5)], atol=1e-12)
    # The columns differ by 2 * 0.01 cos: its mean square is 2e-4, and v'x'xv/n half of that.
    assert spectrum.eigenvalues[2] == pytest.approx(2e-4, rel=1e-9)
    assert spectrum.named_terms(2) == ("x1", "x2")
    np.testing.assert_allclose(
        spectrum.gaps(np.array([[0.0], [1.0], [0.5]])), [[0.0], [1.5 * 0.5**0.5], [0.5 * 0.5**0.5]], atol=1e-12
    )


@pytest.mark.parametrize("targets", [1, 2])
def test_where_the_loss_is_flat_few_directions_hold_all_of_the_gap(targets: int) -> None:
    """One row, four parameters: the loss changes along (1, x) alone, and is flat along three directions."""
    row = np.array([[1.0, 2.0, -1.0, 3.0]])
    gap = np.random.default_rng(3).normal(size=(4, targets))
    spectrum = _spectrum(row, gap)
    assert spectrum.is_flat.tolist() == [False] + [True] * targets
    flat = spectrum.vectors[:, 1:]
    np.testing.assert_allclose(flat.T @ flat, np.eye(targets), atol=1e-12)
    np.testing.assert_allclose(row @ flat, 0.0, atol=1e-12)
    np.testing.assert_allclose(spectrum.vectors @ spectrum.gaps(gap), gap, atol=1e-12)


def test_what_a_start_holds_nothing_of_is_no_direction() -> None:
    problem = random_problem(1, rows=1, features=3)
    zeros = Setting.of(problem, Descent(), references(problem, None))
    assert zeros.spectrum.is_flat.tolist() == [False]
    elsewhere = zeros.with_solver(Descent(start=Values(((1.0,), (0.0,), (0.0,)), (0.0,))))
    assert elsewhere.spectrum.is_flat.tolist() == [False, True]


def test_large_models_and_numbers_beyond_float64_are_left_alone() -> None:
    wide = _spectrum(np.eye(MOST_PARAMETERS + 1), np.ones((MOST_PARAMETERS + 1, 1)))
    assert wide.vectors.shape == (MOST_PARAMETERS + 1, 0)
    assert not wide.is_whole
    broken = Spectrum.of(TERMS, np.diag([1.0, np.nan, 1.0]), 3.0, np.ones((3, 1)))
    assert (broken.names, broken.is_whole) == ((), False)
    assert _spectrum(_nearly_collinear(0.5), np.ones((3, 1))).is_whole


def test_sizes_near_the_ends_of_float64_are_told() -> None:
    """Of columns 1e160 long the squares leave float64: the eigenvalues are infinite, and nothing is raised."""
    dataset = Dataset.from_arrays(1e160 * np.arange(4.0)[:, None], np.arange(4.0))
    problem = Problem(dataset, resolve_model(dataset.names, None, None, intercept=True))
    spectrum = Setting.of(problem, Descent(), references(problem, None)).spectrum
    assert spectrum.eigenvalues[0] == np.inf
