"""The exact answer: what every fit is compared with, what is said about it, and the fit that is nothing else.

Runs in the process that serves HTTP too, so nothing here may import Numba, TensorFlow or scikit-learn at its top.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.comparison import References, compare, describe
from service.fitting.descent.endings import EXACT, message
from service.fitting.diagnosis.answer import Diagnosis
from service.fitting.inference.infer import infer
from service.fitting.inference.options import Inference
from service.fitting.others.answer import OtherAnswer, OtherName
from service.fitting.outcome import Outcome
from service.fitting.penalty import Penalty
from service.fitting.problem import Problem
from service.fitting.reference.kernels import PLAIN, Kernels
from service.fitting.reference.least_squares import least_squares
from service.fitting.solution import LossReport, Report
from service.fitting.solver import Exact

USUAL = Inference()
NOTHING = Diagnosis()


@dataclass(frozen=True, eq=False)
class Finding:
    """What a solver came to: parameters (m, q) in the user's units and in descent's, and how."""

    outcome: Outcome
    engine: str
    estimate: FloatArray
    scaled_estimate: FloatArray
    loss: LossReport


def references(problem: Problem, penalty: Penalty | None, kernels: Kernels = PLAIN) -> References:
    """The exact answers to a problem, with its penalty and without."""
    unpenalised = least_squares(problem.design(), problem.y, kernels)
    if problem.penalties(penalty) is None:
        return References(unpenalised, unpenalised)
    return References(least_squares(problem.design(penalty), problem.y, kernels), unpenalised)


# What leaves float64 is data here: it comes out as inf or NaN, which the edge says as null.
@np.errstate(all="ignore")
def solve_exactly(
    problem: Problem,
    exact: Exact,
    inference: Inference = USUAL,
    others: Sequence[OtherName] = (),
    kernels: Kernels = PLAIN,
) -> Report:
    """The whole answer of the exact solver."""
    found = references(problem, exact.penalty, kernels)
    parameters = found.original.parameters
    least = found.original.squares / problem.divisor
    finding = Finding(
        Outcome(EXACT.kind, message(EXACT, found, least), steps=0, epochs=0),
        "least_squares",
        parameters,
        parameters if problem.scaling.is_none else problem.units.to_scaled(parameters),
        LossReport(initial=None, final=least, reference=least, excess=0.0),
    )
    return report(problem, found, finding, inference, others, kernels)


def report(
    problem: Problem,
    found: References,
    finding: Finding,
    inference: Inference,
    others: Sequence[OtherName],
    kernels: Kernels,
    diagnosis: Diagnosis = NOTHING,
) -> Report:
    """A solver's finding beside the exact answer, with what the data say about that."""
    model = problem.model
    inferred = infer(
        found.original, problem.y, inference, model.terms, model.targets, model.intercept,
        _groups(problem, inference), found.is_penalised, kernels,
    )  # fmt: skip
    return Report(
        outcome=finding.outcome,
        engine=finding.engine,
        coefficients=compare(model, finding.estimate, finding.scaled_estimate, found, inferred.spreads),
        loss=finding.loss,
        reference=describe(model, found),
        summary=inferred.summary,
        inference=inferred.report,
        covariance=inferred.covariance,
        collinearity=inferred.collinearity,
        others=_ask(problem, found, others) if others else None,
        diagnosis=diagnosis,
    )


def _groups(problem: Problem, inference: Inference) -> FloatArray | None:
    return None if inference.clusters is None else problem.dataset.columns((inference.clusters,))[:, 0]


def _ask(problem: Problem, found: References, names: Sequence[OtherName]) -> tuple[OtherAnswer, ...]:
    # Late: scikit-learn among them is large, and most fits ask nobody.
    from service.fitting.others.compare import ask_others
    from service.fitting.others.question import Question, ReferenceFacts

    model, least = problem.model, found.unpenalised
    question = Question(model.terms, model.targets, model.intercept, problem.x, problem.y, problem.weights)
    unknown = tuple(term for term, known in zip(model.terms, least.identified, strict=True) if not known)
    facts = ReferenceFacts(least.rank, len(model.terms), least.equilibrated_condition, unknown)
    return ask_others(names, question, least.parameters, facts)
