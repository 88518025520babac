"""What R, statsmodels and gretl answered to small datasets, and the same asked of the service's own core."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.inference.infer import Inferred, infer
from service.fitting.inference.options import Inference
from service.fitting.reference.design import Design
from service.fitting.reference.least_squares import LeastSquares, least_squares

CASES: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "data" / "inference_recorded.json").read_text(encoding="utf-8")
)["cases"]

NIST: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "data" / "nist_strd.json").read_text(encoding="utf-8")
)

#: statsmodels counts rows of weight 0 as observations; R does not, nor do we.
WITHOUT_EMPTY_ROWS = [name for name in CASES if name != "weighted_zero_row"]
#: What the programs themselves lose on Longley: its condition number, squared in a few places.
TOLERANCE = {name: 1e-7 if name == "longley" else 1e-11 for name in CASES}


def nist_problem(name: str) -> tuple[Design, FloatArray]:
    """A NIST set's design, and its target (n, 1)."""
    text = NIST[name]
    design = Design(
        np.array(text["x"], dtype=np.float64), text["model"].get("intercept", True), text["model"]["degree"]
    )
    return design, np.array(text["y"], dtype=np.float64)[:, None]


@dataclass(frozen=True, eq=False)
class Case:
    """A recorded dataset with the service's own solution."""

    terms: tuple[str, ...]
    targets: tuple[str, ...]
    y: FloatArray
    groups: FloatArray | None
    new: FloatArray
    solution: LeastSquares

    @classmethod
    def of(cls, name: str) -> "Case":
        """Read and solve it."""
        asked = CASES[name]["input"]
        weights, groups = asked["weights"], asked["groups"]
        y = np.array(asked["y"], dtype=np.float64)
        design = Design(
            np.array(asked["x"], dtype=np.float64),
            asked["intercept"],
            weights=None if weights is None else np.array(weights, dtype=np.float64),
        )
        return cls(
            terms=tuple(asked["terms"]),
            targets=tuple(asked["targets"]),
            y=y,
            groups=None if groups is None else np.array(groups, dtype=np.float64),
            new=np.array(asked["new_x"], dtype=np.float64),
            solution=least_squares(design, y),
        )

    def infer(self, options: Inference) -> Inferred:
        """Ask for everything."""
        intercept = self.solution.design.intercept
        return infer(self.solution, self.y, options, self.terms, self.targets, intercept, self.groups, False)


def column(inferred: Inferred, field: str, target: int, terms: int) -> FloatArray:
    """(m,) one number of every coefficient of one target."""
    spreads = inferred.spreads[target * terms : (target + 1) * terms]
    return np.array([getattr(spread, field) for spread in spreads])
