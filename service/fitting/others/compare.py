"""The verb: ask other programs, and set what they say beside the reference."""

from collections.abc import Callable, Sequence

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.comparison import matching_digits
from service.fitting.others import numpy_lstsq, r_lm, scikit_learn, statsmodels_ols
from service.fitting.others.answer import OtherAnswer, OtherCoefficient, OtherName
from service.fitting.others.printed import Printed
from service.fitting.others.question import Question, ReferenceFacts
from service.fitting.others.reasons import failed, reason
from service.fitting.others.standing import Standing

SOLVERS: dict[OtherName, Callable[[Question], Printed]] = {
    "scikit_learn": scikit_learn.solve,
    "numpy": numpy_lstsq.solve,
    "statsmodels": statsmodels_ols.solve,
    "r": r_lm.solve,
}
EMULATED: frozenset[OtherName] = frozenset({"statsmodels", "r"})


def ask_others(
    names: Sequence[OtherName], question: Question, reference: FloatArray, facts: ReferenceFacts
) -> tuple[OtherAnswer, ...]:
    """The programs' answers, in the order of names, beside the reference (m, q).

    Nothing is raised and nothing warned of, whatever the data: a program that stops is an answer without numbers,
    with what it stopped with. NumPy's warnings are silenced for this thread alone.
    """
    with np.errstate(all="ignore"):
        return tuple(_ask(name, question, reference, facts) for name in names)


def _ask(name: OtherName, question: Question, reference: FloatArray, facts: ReferenceFacts) -> OtherAnswer:
    try:
        printed = SOLVERS[name](question)
    except Exception as failure:  # noqa: BLE001 - whatever a foreign program stops with is its answer
        return _answer(name, question, reference, None, failed(failure))
    message = reason(Standing(question, reference, facts, printed))
    return _answer(name, question, reference, printed, message)


def _answer(
    name: OtherName, question: Question, reference: FloatArray, printed: Printed | None, message: str
) -> OtherAnswer:
    estimate = np.full(reference.shape, np.nan) if printed is None else printed.coefficients
    return OtherAnswer(
        name=name,
        program=_program(name, question),
        emulated=name in EMULATED,
        rank=None if printed is None else printed.rank,
        coefficients=_coefficients(question, np.where(np.isfinite(estimate), estimate, np.nan), reference),
        message=message,
    )


def _program(name: OtherName, question: Question) -> str:
    match name:
        case "scikit_learn":
            return scikit_learn.program()
        case "numpy":
            return numpy_lstsq.PROGRAM
        case "statsmodels":
            return statsmodels_ols.program(question)
        case "r":
            return r_lm.PROGRAM


def _coefficients(question: Question, estimate: FloatArray, reference: FloatArray) -> tuple[OtherCoefficient, ...]:
    difference, digits = estimate - reference, matching_digits(estimate, reference)
    return tuple(
        OtherCoefficient(
            target=target,
            term=term,
            estimate=float(estimate[j, k]),
            difference=float(difference[j, k]),
            # A lost digit is no negative zero.
            matching_digits=float(digits[j, k]) + 0.0,
        )
        for k, target in enumerate(question.targets)
        for j, term in enumerate(question.terms)
    )
