"""The recorded questions and answers, and a reference to hold them against that owes nothing to the service's own."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.others.question import Question, ReferenceFacts

RECORDED: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "data" / "others_recorded.json").read_text(encoding="utf-8")
)["cases"]

#: The rank's tolerance: singular values of the equilibrated design, relative to the largest.
NEGLIGIBLE = 1e-14


def question_of(recorded: dict[str, Any]) -> Question:
    """A recorded input as a question."""
    y = np.array(recorded["y"], dtype=np.float64)
    return Question(
        terms=tuple(recorded["terms"]),
        targets=tuple(recorded["targets"]),
        intercept=recorded["intercept"],
        x=np.array(recorded["x"], dtype=np.float64).reshape(len(y), -1),
        y=y,
        weights=None if recorded["weights"] is None else np.array(recorded["weights"]),
    )


def coefficients_of(answer: dict[str, Any]) -> FloatArray:
    """A recorded answer's coefficients (m, q), NaN for NA."""
    return np.array(answer["coefficients"], dtype=np.float64).T


def equilibrated(a: FloatArray) -> tuple[FloatArray, FloatArray]:
    """A with columns of length 1, and the lengths they had (1 for a column of zeros)."""
    largest = np.abs(a).max(axis=0, initial=0.0)
    largest = np.where(largest > 0.0, largest, 1.0)
    lengths = np.linalg.norm(a / largest, axis=0) * largest
    return a / np.where(lengths > 0.0, lengths, 1.0), np.where(lengths > 0.0, lengths, 1.0)


def reference_of(question: Question) -> tuple[FloatArray, ReferenceFacts]:
    """Exact where the rank is full: rational arithmetic, rounded once; else of least norm by singular values."""
    a, y = question.weighted_design, question.weighted_targets
    columns, lengths = equilibrated(a)
    _, s, vt = np.linalg.svd(columns, full_matrices=False)
    rank = int(np.count_nonzero(s > NEGLIGIBLE * s[0]))
    m = a.shape[1]
    if rank == m:
        return exact_solution(question), ReferenceFacts(rank, m, float(s[0] / s[-1]), ())
    # The row space of A, not of its equilibrated columns, is where the solution of least norm lies.
    basis = np.linalg.qr((vt[:rank] * lengths).T)[0]
    reference = basis @ np.linalg.lstsq(a @ basis, y, rcond=None)[0]
    outside = 1.0 - np.einsum("jk,jk->j", basis, basis)
    names = tuple(term for term, part in zip(question.terms, outside, strict=True) if part > 1e-12)
    return reference, ReferenceFacts(rank, m, float("inf"), names)


def exact_solution(question: Question) -> FloatArray:
    """(m, q) of full rank: the weighted normal equations in rational numbers."""
    columns = [[Fraction(float(v)) for v in column] for column in question.design.T]
    targets = [[Fraction(float(v)) for v in column] for column in question.y.T]
    weights = [Fraction(float(v)) for v in (np.ones(len(question.y)) if question.weights is None else question.weights)]
    m = len(columns)
    rows = [[_dot(weights, u, v) for v in [*columns, *targets]] for u in columns]
    for i in range(m):
        pivot = next(k for k in range(i, m) if rows[k][i])
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [value / rows[i][i] for value in rows[i]]
        for k in range(m):
            if k != i and rows[k][i]:
                rows[k] = [u - rows[k][i] * v for u, v in zip(rows[k], rows[i], strict=True)]
    return np.array([[float(v) for v in row[m:]] for row in rows])


def _dot(weights: list[Fraction], u: list[Fraction], v: list[Fraction]) -> Fraction:
    return sum((w * p * q for w, p, q in zip(weights, u, v, strict=True)), Fraction(0))
