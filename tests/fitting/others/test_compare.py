import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

from service.fitting.arrays import FloatArray
from service.fitting.comparison import matching_digits
from service.fitting.others import compare
from service.fitting.others.answer import OtherName
from service.fitting.others.compare import ask_others
from service.fitting.others.printed import Printed
from service.fitting.others.question import Question, ReferenceFacts
from tests.fitting.others.recorded import RECORDED, question_of, reference_of

ALL: tuple[OtherName, ...] = ("scikit_learn", "numpy", "statsmodels", "r")


def _ordinary(seed: int = 11, n: int = 12, weights: bool = True) -> Question:
    stream = np.random.default_rng(seed)
    return Question(
        terms=("(intercept)", "a", "b"),
        targets=("y", "z"),
        intercept=True,
        x=stream.normal(3.0, 2.0, size=(n, 2)),
        y=stream.normal(size=(n, 2)),
        weights=stream.uniform(0.1, 2.0, size=n) if weights else None,
    )


def test_answers_come_in_the_order_asked_with_coefficients_target_by_target() -> None:
    question = _ordinary()
    reference, facts = reference_of(question)
    answers = ask_others(["r", "numpy"], question, reference, facts)
    assert [answer.name for answer in answers] == ["r", "numpy"]
    assert [answer.emulated for answer in answers] == [True, False]
    assert [(c.target, c.term) for c in answers[0].coefficients] == [
        (target, term) for target in ("y", "z") for term in ("(intercept)", "a", "b")
    ]
    for answer in answers:
        estimate = np.array([c.estimate for c in answer.coefficients]).reshape(2, 3).T
        difference = np.array([c.difference for c in answer.coefficients]).reshape(2, 3).T
        digits = np.array([c.matching_digits for c in answer.coefficients]).reshape(2, 3).T
        np.testing.assert_array_equal(difference, estimate - reference)
        np.testing.assert_array_equal(digits, matching_digits(estimate, reference))


def test_programs_are_named_with_the_version_that_ran() -> None:
    question = _ordinary()
    answers = ask_others(ALL, question, *reference_of(question))
    sklearn = sys.modules["sklearn"]
    assert [answer.program for answer in answers] == [
        f"sklearn.linear_model.LinearRegression {sklearn.__version__}",
        f"numpy.linalg.lstsq {np.__version__}",
        "statsmodels WLS (pinv), emulated",
        "R lm (dqrdc2), emulated",
    ]


@pytest.mark.parametrize("weights", [True, False])
def test_scikit_learn_is_really_run(weights: bool) -> None:
    question = _ordinary(weights=weights)
    (answer,) = ask_others(["scikit_learn"], question, *reference_of(question))
    model = LinearRegression().fit(question.x, question.y, sample_weight=question.weights)
    printed = np.array([c.estimate for c in answer.coefficients]).reshape(2, 3)
    np.testing.assert_array_equal(printed, np.column_stack([model.intercept_, model.coef_]))
    assert answer.rank == model.rank_ == 2


def test_what_the_program_omits_is_nan_in_all_three() -> None:
    question = question_of(RECORDED["combination"]["input"])
    (answer,) = ask_others(["r"], question, *reference_of(question))
    last = answer.coefficients[-1]
    assert np.isnan([last.estimate, last.difference, last.matching_digits]).all()
    assert answer.rank == 3


def test_a_program_that_stops_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(_: Question) -> Printed:
        raise np.linalg.LinAlgError("SVD did not\nconverge.")

    monkeypatch.setitem(compare.SOLVERS, "numpy", stop)
    question = _ordinary()
    (answer,) = ask_others(["numpy"], question, *reference_of(question))
    assert answer.message == "Stops with LinAlgError: SVD did not converge."
    assert answer.rank is None
    assert np.isnan([c.estimate for c in answer.coefficients]).all()


_EXTREMES = st.sampled_from([0.0, 1.0, -1.0, 0.1, 5e-324, 1e-310, 1e-300, -1e300, 1.7e308, -1.7e308])


@st.composite
def _degenerate(draw: st.DrawFn) -> tuple[Question, FloatArray, ReferenceFacts]:
    """Any data whatever, and a reference that may be nothing like it."""
    n, p, q = draw(st.integers(1, 7)), draw(st.integers(0, 5)), draw(st.integers(1, 2))
    intercept = p == 0 or draw(st.booleans())
    stream = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x, y = stream.normal(size=(n, p)), stream.normal(size=(n, q))
    if draw(st.booleans()):
        x *= 10.0 ** stream.integers(-300, 300, size=p)
    for _ in range(draw(st.integers(0, 3)) if p else 0):
        x[draw(st.integers(0, n - 1)) :, draw(st.integers(0, p - 1))] = draw(_EXTREMES)
    if draw(st.booleans()):
        y = np.clip(y, -1.0, 1.0) * draw(_EXTREMES)
    weights = draw(st.lists(st.sampled_from([0.0, 1.0, 0.3, 1e-300, 1e300]), min_size=n, max_size=n) | st.none())
    terms = (("(intercept)",) if intercept else ()) + tuple(f"x{j + 1}" for j in range(p))
    targets = tuple(f"y{k + 1}" for k in range(q))
    m = len(terms)
    rank = draw(st.integers(0, m))
    condition = draw(st.sampled_from([1.0, 1e5, 1e16])) if rank == m else np.inf
    question = Question(terms, targets, intercept, x, y, None if weights is None else np.array(weights))
    reference = stream.normal(size=(m, q)) * draw(st.sampled_from([0.0, 1.0, 1e300]))
    return question, reference, ReferenceFacts(rank, m, condition, ())


@settings(max_examples=200, deadline=None)
@given(asked=_degenerate())
def test_nothing_is_raised_or_warned_of_whatever_the_data(asked: tuple[Question, FloatArray, ReferenceFacts]) -> None:
    question, reference, facts = asked
    for answer in ask_others(ALL, question, reference, facts):
        assert len(answer.coefficients) == len(question.terms) * len(question.targets)
        assert not any(np.isinf(c.estimate) for c in answer.coefficients)
        assert answer.message.endswith(".")
        assert "\n" not in answer.message
        # Warnings are errors in tests: one would have become what the program stops with.
        assert "Warning" not in answer.message


def test_the_console_stays_silent(capfd: pytest.CaptureFixture[str]) -> None:
    x = np.array([[1.7e308, 1e-310, 0.0], [-1.7e308, 5e-324, 0.0], [1.7e308, 1.0, 0.0]])
    for weights in (None, np.array([1e300, 0.0, 1.0]), np.zeros(3)):
        question = Question(("x1", "x2", "x3"), ("y",), False, x, np.full((3, 1), 1.7e308), weights)
        ask_others(ALL, question, np.zeros((3, 1)), ReferenceFacts(2, 3, np.inf, ("x3",)))
    assert capfd.readouterr() == ("", "")


def test_nothing_is_changed_for_others() -> None:
    """Neither for other threads nor after: NumPy's error state is the thread's own, and warning filters stay."""
    question = _ordinary()
    reference, facts = reference_of(question)
    filters, states = list(warnings.filters), []
    asking = threading.Thread(target=lambda: states.append((ask_others(ALL, question, reference, facts), np.geterr())))
    before = np.geterr()
    asking.start()
    asking.join()
    assert states[0][1] == before == np.geterr()
    assert list(warnings.filters) == filters


def test_the_users_arrays_stay_as_they_are() -> None:
    question = _ordinary()
    assert question.weights is not None
    copies = question.x.copy(), question.y.copy(), question.weights.copy()
    ask_others(ALL, question, *reference_of(question))
    for now, before in zip((question.x, question.y, question.weights), copies, strict=True):
        np.testing.assert_array_equal(now, before)


def test_scikit_learn_is_imported_no_earlier_than_asked_for() -> None:
    program = "import sys, service.fitting.others.compare; print('sklearn' in sys.modules)"
    seen = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert seen.stdout.strip() == "False"
