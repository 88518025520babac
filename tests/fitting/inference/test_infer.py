import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.fitting.arrays import FloatArray
from service.fitting.inference.infer import Inferred, infer
from service.fitting.inference.options import Inference, StandardErrors
from service.fitting.reference.compiled import COMPILED
from service.fitting.reference.design import Design
from service.fitting.reference.kernels import PLAIN, Kernels
from service.fitting.reference.least_squares import least_squares
from tests.fitting.inference.recorded import nist_problem
from tests.fitting.reference.exactly import rows_of, solve_exactly

KINDS: tuple[StandardErrors, ...] = ("classical", "hc0", "hc1", "hc2", "hc3", "clustered")
NOT_CLASSICAL = KINDS[1:]


def _inferred(
    design: Design,
    y: FloatArray,
    kind: StandardErrors = "classical",
    groups: FloatArray | None = None,
    kernels: Kernels = PLAIN,
) -> Inferred:
    """Everything there is to ask, where a warning is an error; clusters of two rows unless others are given."""
    options = Inference(kind, "group" if kind == "clustered" else None, covariance=True, collinearity=True)
    terms = tuple(f"t{j}" for j in range(design.columns))
    targets = tuple(f"y{k}" for k in range(y.shape[1]))
    groups = np.floor_divide(np.arange(float(design.rows)), 2.0) if groups is None else groups
    solution = least_squares(design, y, kernels)
    with np.errstate(all="raise"):
        penalised = design.penalties is not None
        return infer(solution, y, options, terms, targets, design.intercept, groups, penalised, kernels)


def _sample(rows: int = 12, features: int = 2, targets: int = 1) -> tuple[FloatArray, FloatArray]:
    stream = np.random.default_rng(rows + 100 * features)
    return stream.normal(size=(rows, features)), stream.normal(size=(rows, targets))


def _numbers(inferred: Inferred) -> FloatArray:
    """Every number in the answer."""
    found = [value for spread in inferred.spreads for value in asdict(spread).values()]
    found += [v for one in inferred.summary for v in asdict(one).values() if isinstance(v, float)]
    if inferred.covariance is not None:
        found += [value for one in inferred.covariance for row in one.matrix for value in row]
    if inferred.collinearity is not None:
        table = asdict(inferred.collinearity)
        found += [*table["variance_inflation"], *table["condition_indices"], *sum(table["variance_proportions"], ())]
    return np.array(found)


# Reasons


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("rows", "features", "reason"),
    [
        (3, 2, "3 rows determine 3 coefficients exactly"),
        (1, 0, "1 row determines 1 coefficient exactly"),
        (2, 4, "2 rows determine 2 of 5 dimensions exactly"),
    ],
)
def test_saturated(rows: int, features: int, reason: str, kind: StandardErrors) -> None:
    inferred = _inferred(Design(np.random.default_rng(1).normal(size=(rows, features))), np.ones((rows, 1)), kind)
    [summary] = inferred.summary
    text = f"{reason}: no degree of freedom is left to estimate a variance."
    assert inferred.report.reason == text
    assert inferred.report.df == 0
    assert summary.reason is not None
    assert summary.reason.startswith(text)
    assert (summary.observations, summary.df_residual) == (rows, 0)
    assert all(math.isnan(value) for spread in inferred.spreads for value in asdict(spread).values())
    for field in ("residual_sd", "adjusted_r_squared", "f", "f_p", "log_likelihood", "aic", "bic"):
        assert math.isnan(getattr(summary, field)), field


def test_a_saturated_fit_explains_everything() -> None:
    x, y = _sample(3)
    assert _inferred(Design(x), y).summary[0].r_squared == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("intercept", "value", "reason"),
    [(True, 0.1, "The target takes one value only"), (False, 0.0, "The target is 0 throughout")],
)
def test_nothing_to_explain(intercept: bool, value: float, reason: str) -> None:
    x, _ = _sample()
    inferred = _inferred(Design(x, intercept), np.full((12, 1), value))
    [summary] = inferred.summary
    assert summary.reason is not None
    assert summary.reason.startswith(reason)
    for field in ("r_squared", "adjusted_r_squared", "f", "f_p", "log_likelihood"):
        assert math.isnan(getattr(summary, field)), field
    assert summary.residual_sd == 0.0
    assert [spread.std_error for spread in inferred.spreads] == [0.0] * len(inferred.spreads)


@pytest.mark.parametrize("kind", KINDS)
def test_no_residuals_at_all(kind: StandardErrors) -> None:
    x = np.arange(8.0)[:, None]
    inferred = _inferred(Design(x), 3.0 * x, kind)
    intercept, slope = inferred.spreads
    assert (slope.std_error, slope.p, slope.ci_low, slope.ci_high) == (0.0, 0.0, 3.0, 3.0)
    assert (intercept.std_error, intercept.ci_low, intercept.ci_high) == (0.0, 0.0, 0.0)
    # 0 / 0 is nothing, and so is infinity.
    assert math.isnan(slope.t)
    assert math.isnan(intercept.t)
    assert math.isnan(intercept.p)
    [summary] = inferred.summary
    assert (summary.r_squared, summary.residual_sd, summary.f_p) == (1.0, 0.0, 0.0)
    assert math.isnan(summary.f)
    assert summary.reason == "All residuals are 0: t, F and the likelihood would be infinite."
    assert inferred.covariance is not None
    assert not np.any(inferred.covariance[0].matrix)


def test_nothing_but_rounding_is_said_to_be_that() -> None:
    """0.1, 0.2, 0.3 are not quite on a line in float64; the errors are what they are, and mean little."""
    x = np.arange(8.0)[:, None]
    inferred = _inferred(Design(x), x / 10.0)
    [summary] = inferred.summary
    assert summary.reason is not None
    assert summary.reason.startswith("The residuals are no larger than the rounding")
    assert math.isnan(summary.f)
    assert math.isnan(summary.log_likelihood)
    assert 0.0 < summary.residual_sd < 1e-16
    assert inferred.spreads[1].p < 1e-80
    assert inferred.spreads[0].p > 1e-3


def test_no_terms_beside_the_intercept() -> None:
    _, y = _sample()
    inferred = _inferred(Design(np.empty((12, 0))), y)
    [summary] = inferred.summary
    assert (summary.r_squared, summary.adjusted_r_squared, summary.df_model) == (0.0, 0.0, 0)
    assert math.isnan(summary.f)
    assert summary.reason == "There is no term beside the intercept for F to test."
    assert inferred.spreads[0].std_error == pytest.approx(y.std(ddof=1) / math.sqrt(12))


@pytest.mark.parametrize("kind", KINDS)
def test_no_terms_at_all(kind: StandardErrors) -> None:
    _, y = _sample()
    inferred = _inferred(Design(np.zeros((12, 2)), intercept=False), y, kind)
    [summary] = inferred.summary
    assert summary.df_residual == 12
    assert summary.residual_sd == pytest.approx(math.sqrt(float((y**2).mean())))
    assert summary.reason is not None
    assert summary.reason.startswith("All terms are 0 throughout")
    assert all(math.isnan(spread.std_error) for spread in inferred.spreads)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [2, 12])
def test_a_penalised_fit_has_no_inference(rows: int, kind: StandardErrors) -> None:
    x, y = _sample(rows)
    inferred = _inferred(Design(x, penalties=np.array([0.0, 1.0, 1.0])), y, kind)
    [summary] = inferred.summary
    assert inferred.report.reason is not None
    assert inferred.report.reason.startswith("A penalised fit is biased")
    assert summary.reason == inferred.report.reason
    assert all(math.isnan(value) for spread in inferred.spreads for value in asdict(spread).values())
    residuals = least_squares(Design(x, penalties=np.array([0.0, 1.0, 1.0])), y).residuals
    share = float((residuals**2).sum()) / float(((y - y.mean()) ** 2).sum())
    assert summary.r_squared == pytest.approx(1.0 - share)
    assert summary.observations == rows
    assert summary.df_residual >= 0
    for field in ("residual_sd", "adjusted_r_squared", "f", "f_p", "aic", "bic"):
        assert math.isnan(getattr(summary, field)), field
    assert inferred.collinearity is None


def test_one_cluster() -> None:
    x, y = _sample()
    inferred = _inferred(Design(x), y, "clustered", np.full(12, 7.0))
    assert inferred.report.reason is not None
    assert inferred.report.reason.startswith("All rows belong to one cluster")
    assert inferred.report.df == 0
    assert all(math.isnan(value) for spread in inferred.spreads for value in asdict(spread).values())
    assert inferred.summary[0].reason is None


def test_clusters_of_weight_0_are_none() -> None:
    x, y = _sample()
    weights = np.repeat([1.0, 0.0], 6)
    assert _inferred(Design(x, weights=weights), y, "clustered", weights).report.df == 0


@pytest.mark.parametrize(("kind", "defined"), [("hc0", True), ("hc1", True), ("hc2", False), ("hc3", False)])
def test_leverage_1_leaves_only_what_does_not_depend_on_it(kind: StandardErrors, defined: bool) -> None:
    x, y = _sample()
    alone = np.zeros((12, 1))
    alone[4] = 3.0
    inferred = _inferred(Design(np.hstack([x, alone])), y, kind)
    assert [math.isnan(spread.std_error) for spread in inferred.spreads] == [False, False, False, not defined]
    if defined:
        assert inferred.report.reason is None
        return
    assert inferred.report.reason is not None
    assert inferred.report.reason.startswith(f"Row 4 has leverage 1. {kind.upper()} divides by 1 - leverage")
    kept = np.arange(12) != 4
    without = _inferred(Design(x[kept]), y[kept], kind)
    np.testing.assert_allclose(
        [spread.std_error for spread in inferred.spreads[:3]],
        [spread.std_error for spread in without.spreads],
        rtol=1e-12,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_identified_has_no_spread(kind: StandardErrors) -> None:
    """x3 = 2 x1: the intercept and x2 are as sure as without it."""
    x, y = _sample()
    short = _inferred(Design(np.column_stack([x, 2.0 * x[:, 0]])), y, kind)
    full = _inferred(Design(x), y, kind)
    errors = [spread.std_error for spread in short.spreads]
    assert [math.isnan(error) for error in errors] == [False, True, False, True]
    np.testing.assert_allclose([errors[0], errors[2]], [full.spreads[j].std_error for j in (0, 2)], rtol=1e-11)
    assert short.covariance is not None
    assert (np.isnan(short.covariance[0].matrix).all(axis=1)).tolist() == [False, True, False, True]
    assert short.report.reason is None
    for field in ("r_squared", "f", "f_p", "residual_sd", "log_likelihood", "aic"):
        assert getattr(short.summary[0], field) == pytest.approx(getattr(full.summary[0], field), rel=1e-9)


# What must come out


@pytest.mark.parametrize("kind", KINDS)
def test_spreads_come_target_by_target(kind: StandardErrors) -> None:
    x, y = _sample(targets=3)
    together = _inferred(Design(x), y, kind)
    assert [one.target for one in together.summary] == ["y0", "y1", "y2"]
    alone = [spread for k in range(3) for spread in _inferred(Design(x), y[:, [k]], kind).spreads]
    for ours, theirs in zip(together.spreads, alone, strict=True):
        assert asdict(ours) == pytest.approx(asdict(theirs), rel=1e-9)


def test_only_what_is_asked_for() -> None:
    x, y = _sample()
    inferred = infer(least_squares(Design(x), y), y, Inference(), ("1", "a", "b"), ("y",), True, None, False)
    assert inferred.covariance is None
    assert inferred.collinearity is None


@pytest.mark.parametrize("kind", KINDS)
def test_the_confidence_level_is_that_of_the_intervals(kind: StandardErrors) -> None:
    """Where p = 1 - level, the interval ends at 0."""
    x, y = _sample()
    solution, groups = least_squares(Design(x), y), np.arange(12.0) // 2
    usual = infer(solution, y, Inference(kind, "g"), ("1", "a", "b"), ("y",), True, groups, False)
    p = usual.spreads[1].p
    options = Inference(kind, "g", confidence_level=1.0 - p)
    [_, at_p, _] = infer(solution, y, options, ("1", "a", "b"), ("y",), True, groups, False).spreads
    assert min(abs(at_p.ci_low), abs(at_p.ci_high)) < 1e-12
    assert at_p.p == p


def _dot(left: Sequence[Fraction], right: Sequence[Fraction]) -> Fraction:
    return sum((p * q for p, q in zip(left, right, strict=True)), Fraction(0))


def _sandwich(design: Design, y: FloatArray, kind: StandardErrors, groups: FloatArray) -> FloatArray:
    """(m, m) by the textbook, rational as far as sums may cancel."""
    exact, a = solve_exactly(design, y), rows_of(design)
    s = np.ones(design.rows) if design.weights is None else design.weights
    m, n = design.columns, int((s > 0.0).sum())
    images = [[_dot(line, row) for line in exact.inverse] for row in a]
    scores: dict[float, list[Fraction]] = {}
    for i, (image, residual, h) in enumerate(zip(images, exact.residuals, exact.leverages, strict=True)):
        power = {"hc2": 0.5, "hc3": 1.0}.get(kind, 0.0)
        factor = Fraction(float(s[i])) * residual * Fraction(float(1 - h) ** -power)
        group = float(groups[i]) if kind == "clustered" else float(i)
        before = scores.get(group, [Fraction(0)] * m)
        scores[group] = [p + factor * q for p, q in zip(before, image, strict=True)]
    count = sum(any(s[groups == group] > 0.0) for group in scores) if kind == "clustered" else 0
    correction = {"hc1": n / (n - m), "clustered": count / max(count - 1, 1) * (n - 1) / (n - m)}.get(kind, 1.0)
    rounded = np.array([[float(value) for value in score] for score in scores.values()])
    return np.asarray(rounded.T @ rounded * correction)


@pytest.mark.parametrize("kind", NOT_CLASSICAL)
@pytest.mark.parametrize("kernels", [PLAIN, COMPILED])
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), exponent=st.floats(0.0, 9.0), weighted=st.booleans())
def test_sandwiches_by_the_textbook(
    kind: StandardErrors, kernels: Kernels, seed: int, exponent: float, weighted: bool
) -> None:
    stream = np.random.default_rng(seed)
    x = np.round(stream.normal(size=(10, 2)), 3)
    x[:, 1] = x[:, 0] + 10.0**-exponent * x[:, 1]
    y, groups = np.round(stream.normal(size=10), 3), stream.integers(0, 4, size=10).astype(np.float64)
    groups[:2] = [0.0, 1.0]
    weights = None
    if weighted:
        weights = stream.integers(1, 5, size=10).astype(np.float64)
        weights[7] = 0.0
    design = Design(x, weights=weights)
    inferred = _inferred(design, y[:, None], kind, groups, kernels)
    assert inferred.covariance is not None
    expected = _sandwich(design, y, kind, groups)
    scale = np.sqrt(np.outer(expected.diagonal(), expected.diagonal()))
    # Two digits above what working precision leaves at the condition where doubled takes over.
    assert (np.abs(inferred.covariance[0].matrix - expected) <= 1e-9 * scale).all()


def test_sandwiches_of_high_powers() -> None:
    """On Filip's polynomial: 8 digits would be what a triangular solve leaves."""
    design, y = nist_problem("Filip")
    inferred = _inferred(design, y, "hc3")
    expected = np.sqrt(_sandwich(design, y[:, 0], "hc3", np.zeros(design.rows)).diagonal())
    np.testing.assert_allclose([spread.std_error for spread in inferred.spreads], expected, rtol=1e-10)


@pytest.mark.parametrize("rows", [3, 4095, 4096, 4097, 9000])
def test_clusters_go_on_from_block_to_block(rows: int) -> None:
    """Sums over sorted rows, whatever the blocks: beside one sum for each cluster."""
    stream = np.random.default_rng(rows)
    x, y = stream.normal(size=(rows, 1)), stream.normal(size=(rows, 1))
    groups = stream.choice([1.0, 2.0, 5.0], size=rows) if rows > 3 else np.array([1.0, 2.0, 5.0])
    inferred = _inferred(Design(x, intercept=False), y, "clustered", groups)
    solution = least_squares(Design(x, intercept=False), y)
    scores = [float((x * solution.residuals)[groups == group].sum()) for group in (1.0, 2.0, 5.0)]
    expected = sum(score**2 for score in scores) * 1.5 / float((x**2).sum()) ** 2
    assert inferred.spreads[0].std_error == pytest.approx(math.sqrt(expected), rel=1e-11)


def test_every_row_a_cluster_is_hc0_with_a_correction() -> None:
    x, y = _sample(30)
    clustered = _inferred(Design(x), y, "clustered", np.arange(30.0))
    hc1 = _inferred(Design(x), y, "hc1")
    for ours, theirs in zip(clustered.spreads, hc1.spreads, strict=True):
        # 30 / 29 * 29 / 27 is 30 / 27.
        assert ours.std_error == pytest.approx(theirs.std_error, rel=1e-12)
    assert (clustered.report.df, hc1.report.df) == (29, 27)


@pytest.mark.parametrize("kind", NOT_CLASSICAL)
def test_equal_scatter_makes_all_alike(kind: StandardErrors) -> None:
    stream = np.random.default_rng(13)
    x, y = stream.normal(size=(20_000, 2)), stream.normal(size=(20_000, 1))
    classical = _inferred(Design(x), y)
    robust = _inferred(Design(x), y, kind)
    for ours, theirs in zip(robust.spreads, classical.spreads, strict=True):
        assert ours.std_error == pytest.approx(theirs.std_error, rel=0.05)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shift=st.sampled_from([-1e9, 1e3, 1e12]),
    power=st.integers(-900, 900),
    weighted=st.booleans(),
)
def test_shifts_and_units_of_the_target_leave_the_fit_as_good(
    seed: int, shift: float, power: int, weighted: bool
) -> None:
    stream = np.random.default_rng(seed)
    x = stream.normal(size=(15, 2))
    # Multiples of 2^-10 up to 1e12 are exact.
    y = np.round(stream.normal(size=(15, 1)) * 1024.0) / 1024.0 + x[:, :1].round()
    weights = stream.uniform(0.1, 2.0, size=15) if weighted else None
    near, far = (_inferred(Design(x, weights=weights), of) for of in (y, (y + shift) * 2.0**power))
    for field in ("r_squared", "adjusted_r_squared", "f", "f_p"):
        assert getattr(far.summary[0], field) == pytest.approx(getattr(near.summary[0], field), rel=1e-9), field
    for ours, theirs in zip(far.spreads[1:], near.spreads[1:], strict=True):
        assert ours.t == pytest.approx(theirs.t, rel=1e-9)
        assert ours.p == pytest.approx(theirs.p, rel=1e-9)
    spread = math.log(2.0) * power * 15
    assert far.summary[0].log_likelihood == pytest.approx(near.summary[0].log_likelihood - spread, rel=1e-9)


def test_a_small_share_explained_keeps_its_digits() -> None:
    """1 - RSS / TSS would leave 3 of them; by sums that are exact, F is n k with the same digits."""
    x = np.array([-1.0, 1.0] * 500)[:, None]
    noise = np.repeat([-1.0, 1.0, 1.0, -1.0], 250)[:, None]
    inferred = _inferred(Design(x), noise + 2.0**-20 * x)
    [summary] = inferred.summary
    share = 2.0**-40
    assert summary.r_squared == pytest.approx(share / (1.0 + share), rel=1e-9)
    assert summary.f == pytest.approx(998 * share, rel=1e-9)


@pytest.mark.parametrize("x_unit", [1e-300, 1e-160, 1.0, 1e160, 1e300])
@pytest.mark.parametrize("y_unit", [1e-300, 1.0, 1e300])
@pytest.mark.parametrize("kind", ["classical", "hc3", "clustered"])
def test_columns_from_the_ends_of_float64(kind: StandardErrors, x_unit: float, y_unit: float) -> None:
    """What fits into float64 is right to 9 digits, the rest is NaN with the reason."""
    x, y = _sample()
    plain = _inferred(Design(x), y, kind)
    inferred = _inferred(Design(x * [x_unit, 1.0]), y * y_unit, kind)
    assert not np.isinf(_numbers(inferred)).any()
    for ours, theirs, unit in zip(inferred.spreads, plain.spreads, (1.0, x_unit, 1.0), strict=True):
        expected = math.log10(theirs.std_error) + math.log10(y_unit) - math.log10(unit)
        if -290 < expected < 290:
            assert math.log10(ours.std_error) == pytest.approx(expected, abs=1e-9)
            assert ours.t == pytest.approx(theirs.t, rel=1e-6)
        elif math.isnan(ours.std_error):
            assert inferred.summary[0].reason == "Some numbers are too large or too small for float64."
    assert inferred.summary[0].r_squared == pytest.approx(plain.summary[0].r_squared)


Spoiled = tuple[Design, FloatArray]
HOSTILE: dict[str, Callable[[FloatArray, FloatArray], Spoiled]] = {
    "one weight": lambda x, y: (Design(x, weights=np.eye(12)[3]), y),
    "weights from end to end": lambda x, y: (Design(x, weights=10.0 ** np.linspace(-100, 100, 12)), y),
    "tiny weights": lambda x, y: (Design(x, weights=np.full(12, 1e-300)), y),
    "huge weights": lambda x, y: (Design(x, weights=np.full(12, 1e300)), y),
    "a column of zeros": lambda x, y: (Design(np.column_stack([x, np.zeros(12)])), y),
    "a constant column": lambda x, y: (Design(np.column_stack([x, np.ones(12)])), y),
    "the same column": lambda x, y: (Design(np.column_stack([x, x])), y),
    "the same row": lambda x, y: (Design(np.repeat(x[:1], 12, axis=0)), y),
    "more columns than rows": lambda x, y: (Design(x.reshape(2, 12)), y[:2]),
    "one row": lambda x, y: (Design(x[:1]), y[:1]),
    "one row off a line": lambda x, y: (Design(np.sort(x, axis=0)), y * np.eye(12)[:, [5]]),
    "a far row": lambda x, y: (Design(np.vstack([x[:11], [[1e8, 1e8]]])), y),
    "powers beyond float64": lambda x, y: (Design(x * 1e160, degree=3), y),
    "powers that vanish": lambda x, y: (Design(x * 1e-160, degree=3), y),
    "a target of mixed size": lambda x, y: (Design(x), y * 10.0 ** np.linspace(-150, 150, 12)[:, None]),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_data_neither_warn_nor_answer_infinity(name: str, kind: StandardErrors) -> None:
    design, y = HOSTILE[name](*_sample())
    inferred = _inferred(design, y, kind)
    assert not np.isinf(_numbers(inferred)).any()
    for one in inferred.summary:
        values: list[Any] = list(asdict(one).values())
        if any(isinstance(value, float) and math.isnan(value) for value in values):
            assert one.reason is not None
