"""Every sentence is a fact: each case is one whose truth is known from how it was made."""

import re

import numpy as np
import pytest

from service.fitting.others.answer import OtherAnswer, OtherName
from service.fitting.others.compare import ask_others
from service.fitting.others.question import Question
from tests.fitting.others.recorded import RECORDED, question_of, reference_of

NUMBER = r"[\d.]+(?:e[-+]\d+)?"


def _ask(name: OtherName, question: Question) -> OtherAnswer:
    reference, facts = reference_of(question)
    (answer,) = ask_others([name], question, reference, facts)
    return answer


LEAST_NORM = "the reference is the solution of least norm, with the same fitted values."
CENTRED = "Same fitted values, another member of the solution set: it keeps the intercept out of the norm."
DROPS = "singular values below # of the largest count as 0, and"

#: Recorded question, program, what it must say; # stands for any number.
SENTENCES: list[tuple[str, OtherName, str]] = [
    ("two_targets", "scikit_learn", "Agrees to # digits."),
    ("two_targets", "numpy", "Agrees to # digits."),
    ("two_targets", "statsmodels", "Agrees to # digits."),
    ("two_targets", "r", "Agrees to # digits."),
    ("target_of_zeros", "r", "Agrees to every digit."),
    # What R leaves out, and why.
    ("combination", "r", f"Leaves x3 out (NA): it is a combination of the columns before it; {LEAST_NORM}"),
    (
        "combination_in_the_middle",
        "r",
        f"Leaves x2 and x4 out (NA): each is a combination of columns before it; {LEAST_NORM}",
    ),
    ("zero_column", "r", f"Leaves x1 out (NA): it is 0 in every row; {LEAST_NORM}"),
    ("all_zero", "r", f"Leaves x1 and x2 out (NA): they are 0 in every row; {LEAST_NORM}"),
    ("one_row", "r", f"Leaves x1 and x2 out (NA): 1 row determines no more than 1 coefficient; {LEAST_NORM}"),
    ("weights_leave_two_rows", "r", f"Leaves x2 out (NA): 2 rows determine no more than 2 coefficients; {LEAST_NORM}"),
    (
        "fewer_rows_and_a_combination",
        "r",
        "Leaves x2 out (NA): it is a combination of the columns before it; "
        f"leaves x5, x6 and x7 out (NA): 4 rows determine no more than 4 coefficients; {LEAST_NORM}",
    ),
    ("weights_all_zero", "r", "Leaves every coefficient out (NA): no row has a weight above 0."),
    (
        "nist_Filip",
        "r",
        "Leaves x^10 out (NA): only # of its length is left beside the columns before it, less than R's limit of "
        "1e-07; the reference tells it apart.",
    ),
    # Ranks that differ, and which of scale and dependence makes them.
    (
        "nist_Pontius",
        "scikit_learn",
        f"Takes the rank of the centred columns for 1 where it is 2: {DROPS} column x^1 is # of x^2's size.",
    ),
    (
        "near_collinear_just_inside",
        "scikit_learn",
        f"Takes the rank of the centred columns for 1 where it is 2: {DROPS} the first that it drops is # of it.",
    ),
    ("nist_Filip", "numpy", f"Takes the rank for 10 where it is 11: {DROPS} the first that it drops is # of it."),
    (
        "beyond_pinv",
        "statsmodels",
        f"Takes the rank for 1 where it is 2: {DROPS} column x2 is # of x1's size. It reports rank 2, by another rule.",
    ),
    ("within_pinv_beyond_rank", "statsmodels", "Agrees to # digits. It reports rank 7, by another rule."),
    (
        "extreme_scales",
        "numpy",
        f"Takes the rank for 1 where it is 3: {DROPS} column x1 is less than 1e-300 of x2's size.",
    ),
    # The same rank, and short.
    ("combination", "numpy", "Agrees to # digits: of many solutions it gives the one of least norm, too."),
    ("dummy_trap", "scikit_learn", CENTRED),
    ("constant_column", "scikit_learn", CENTRED),
    ("fewer_rows_than_columns", "scikit_learn", CENTRED),
    # Digits that conditioning costs.
    (
        "nist_Longley",
        "statsmodels",
        "Agrees to # digits: about # are lost to the condition number # of the design (# with columns of one size), "
        "without refinement.",
    ),
    (
        "near_collinear_far_inside",
        "r",
        "Agrees to # digits: about # are lost to the condition number # of the design, without refinement.",
    ),
    (
        "nist_Wampler5",
        "numpy",
        "Agrees to # digits: about # are lost to the condition number # of the design, which counts twice because the "
        "residuals are # times the fitted values.",
    ),
    (
        "nist_Wampler5",
        "r",
        "Agrees to # digits, fewest for x^1, whose part in the fitted values is # of the largest; the condition number "
        "of the design is #.",
    ),
    # What stops.
    ("intercept_alone", "scikit_learn", "Stops with ValueError: Found array with 0 feature(s)*"),
    ("weights_all_zero", "scikit_learn", "Stops with *"),
]


@pytest.mark.parametrize(("case", "program", "sentence"), SENTENCES)
def test_what_is_said(case: str, program: OtherName, sentence: str) -> None:
    message = _ask(program, question_of(RECORDED[case]["input"])).message
    pattern = re.escape(sentence).replace(r"\#", NUMBER).replace(r"\*", ".*")
    assert re.fullmatch(pattern, message), message


@pytest.mark.parametrize("case", RECORDED)
def test_digits_and_ranks_in_sentences_are_those_of_the_answer(case: str) -> None:
    question = question_of(RECORDED[case]["input"])
    reference, facts = reference_of(question)
    for answer in ask_others(["scikit_learn", "numpy", "statsmodels", "r"], question, reference, facts):
        fewest = min(c.matching_digits for c in answer.coefficients)
        if (told := re.match(rf"Agrees to ({NUMBER}) digits", answer.message)) is not None:
            # Coefficients that are 0 but for rounding have no digits, and are not counted.
            assert fewest - 0.051 <= float(told[1])
        if (
            "of the design" not in answer.message
            and (told := re.search(r"for (\d+) where", answer.message)) is not None
        ):
            assert int(told[1]) == answer.rank or "another rule" in answer.message
        assert len(re.findall(rf"(?<![\w^]){NUMBER}", answer.message.replace("count as 0", ""))) <= 5


def test_rounding_left_of_a_constant_column_is_named() -> None:
    # Ten of a number whose mean is another one in float64, so that centring leaves about 1e-17 in each row.
    columns = (np.full((10, 1), k / 10.0) for k in range(1, 100))
    x = next(column for column in columns if np.average(column) != column[0, 0])
    question = Question(("(intercept)", "x"), ("y",), True, x, np.arange(10.0)[:, None], None)
    assert _ask("scikit_learn", question).message == (
        "Takes the rank of the centred columns for 1 where it is 0: what rounding leaves of x counts as data."
    )


NAMES: tuple[OtherName, ...] = ("scikit_learn", "numpy", "statsmodels", "r")


@pytest.mark.parametrize("name", NAMES)
def test_a_coefficient_that_comes_to_nothing_is_named_and_not_counted(name: OtherName) -> None:
    # y is 3 x rounded, so that the intercept is of the order of 1e-17, and nobody finds a digit of it.
    x = np.linspace(0.0, 1.0, 11)[:, None]
    question = Question(("(intercept)", "x"), ("y",), True, x, 3.0 * x, None)
    pattern = (
        r"Agrees to (every digit|1[45]\.\d digits) "
        r"but for \(intercept\), whose part in the fitted values is below 1e-12\."
    )
    assert re.fullmatch(pattern, _ask(name, question).message)


def test_a_solution_that_is_the_same_but_for_rounding_is_no_other_member() -> None:
    """scikit-learn's is the reference's where the intercept is identified, however few digits agree."""
    stream = np.random.default_rng(7)
    first = stream.normal(size=(20, 1))
    x = np.hstack([first, first, first + 1e-4 * stream.normal(size=(20, 1))]) - 1e3
    question = Question(("(intercept)", "a", "b", "c"), ("y",), True, x, stream.normal(size=(20, 1)), None)
    assert re.fullmatch(
        rf"Agrees to {NUMBER} digits, its fitted values to {NUMBER}\.", _ask("scikit_learn", question).message
    )


def test_more_than_four_names_are_counted() -> None:
    stream = np.random.default_rng(6)
    terms = tuple(f"x{j}" for j in range(9))
    question = Question(terms, ("y",), False, stream.normal(size=(2, 9)), stream.normal(size=(2, 1)), None)
    assert _ask("r", question).message.startswith("Leaves x2, x3, x4 and 4 more out (NA): 2 rows determine")


def test_names_with_line_breaks_leave_one_line() -> None:
    x = np.column_stack([np.ones(5), np.ones(5)])
    question = Question(("a\nb", "c\td"), ("y",), False, x, np.arange(5.0)[:, None], None)
    assert _ask("r", question).message.startswith("Leaves c d out (NA)")
