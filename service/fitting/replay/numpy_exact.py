"""An exact fit, once more, in NumPy."""

from service.fitting.arrays import FloatArray
from service.fitting.replay.literals import numbers
from service.fitting.replay.program import answer, arrays, assemble, data, header, imports
from service.fitting.replay.replayed import Replayed
from service.fitting.solver import Exact


def numpy_exact(replayed: Replayed, exact: Exact) -> str:
    """The program: least squares in the units of the data, whatever the scaling."""
    reference = replayed.report.reference
    penalties = replayed.problem.design(exact.penalty).penalties
    summary = "least squares." if penalties is None else "ridge regression."
    paragraphs = [
        header(replayed, summary, [_PARTICULARS], "NumPy"),
        imports(replayed),
        *data(replayed),
        arrays(replayed),
        _design(replayed, penalties),
        _DETERMINED if reference.rank == reference.parameters else _LEAST_NORM,
        _end(replayed),
        answer(replayed)[-1],
    ]
    return assemble(paragraphs)


_PARTICULARS = (
    "Plumbline refines its answer in doubled precision; NumPy solves the same problem once, in float64, and loses "
    "about as many of 16 digits as the condition number of the design has."
)
_DETERMINED = """# Each column is brought to the length 1 first: what it is measured in does not matter then.
length = np.linalg.norm(design, axis=0)
parameters = np.linalg.lstsq(design / length, y, rcond=None)[0] / length[:, None]"""
_LEAST_NORM = """# The columns depend on each other: of all solutions this is the one of least norm.
parameters = np.linalg.lstsq(design, y, rcond=None)[0]"""


def _design(replayed: Replayed, penalties: FloatArray | None) -> str:
    model = replayed.task.model
    lines = [f"design = {'np.hstack([np.ones((ROWS, 1)), x])' if model.intercept else 'x'}"]
    if model.weights is not None:
        lines += [
            "# Squares of rows times the roots of their weights are weighted squares.",
            "design, y = np.sqrt(weights) * design, np.sqrt(weights) * y",
        ]
    if penalties is not None:
        lines += [
            "# What is added to the sum of squares for each parameter's square: more rows, whose targets are 0.",
            f"penalties = np.array({numbers(penalties)})",
            "design = np.vstack([design, np.diag(np.sqrt(penalties))])",
            "y = np.vstack([y, np.zeros((len(penalties), len(TARGETS)))])",
        ]
    return "\n".join(lines)


def _end(replayed: Replayed) -> str:
    if replayed.task.model.intercept:
        return "intercept, coefficients = parameters[0], parameters[1:]"
    return "coefficients = parameters"
