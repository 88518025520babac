"""What recorded rows say, worked out from the parameters and the squares that an engine wrote down.

The loss on all rows, weights and penalty inside, is L(W) = L* + (1/d) |R (W - W*)|^2 with R'R = A'SA + D, d the loss's
divisor, D its penalties times d and W* the optimum in descent's units: exact near the optimum, where summing squares
cancels, and O(m^2) a point.

What is said of a row does not depend on the rows beside it, to the last bit: a stop rule, the row of least loss and
whoever reads later agree. So numbers are summed one by one, and not by BLAS, all rows at once.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from service.fitting.arrays import FloatArray, IntArray, WorkingArray
from service.fitting.descent.engine import Rows
from service.fitting.descent.plan import BatchPlan
from service.fitting.descent.schedules import (
    CosineDecay,
    ExponentialDecay,
    LearningRate,
    PiecewiseConstantDecay,
    rates,
)
from service.fitting.loss import Loss, divisor
from service.fitting.packing import pack, unpack
from service.fitting.scaling import Scale, Units

#: Rows as `Account.layout` has them.
Records = np.ndarray[Any, np.dtype[np.void]]

#: Numbers in the working arrays of one pass over rows: they stay in the processor's cache.
_PASS_NUMBERS = 1 << 14


@dataclass(frozen=True, eq=False)
class Optimum:
    """Where a descent leads, penalised or not.

    Attributes
    ----------
    parameters
        (m, q) in the user's units.
    least
        The loss there, in the user's units.
    scaled, scaled_least
        The same in descent's units.
    triangle
        (k, m) the R above, in descent's units.
    """

    parameters: FloatArray
    least: float
    scaled: FloatArray
    scaled_least: float
    triangle: FloatArray


@dataclass(frozen=True, eq=False)
class Account:
    """All that recorded rows are told by.

    Attributes
    ----------
    is_scaled
        Whether descent's units are others than the user's.
    is_penalised
        Whether there are squared parameters beside the squared residuals.
    keeps_parameters
        Whether rows hold parameters, or only what is said of them.
    learning_rate, earlier, precision
        The optimizer's, its updates before the first step, and what rates are computed in.
    """

    terms: tuple[str, ...]
    targets: tuple[str, ...]
    plan: BatchPlan
    loss: Loss
    units: Units
    is_scaled: bool
    is_penalised: bool
    keeps_parameters: bool
    optimum: Optimum
    learning_rate: LearningRate
    earlier: int
    precision: str

    @cached_property
    def layout(self) -> np.dtype[np.void]:
        """A recorded row as it is stored; aligned, little-endian.

        step; batch_squares and epoch_squares (1, q), or (2, q) with a penalty, as in `Rows`; then the parameters
        (m, q), or what is said of them: squares (q,), gradient_norm, gap, scaled_gap.
        """
        m, q = len(self.terms), len(self.targets)
        squares = (2 if self.is_penalised else 1, q)
        fields: list[Any] = [("step", "<i8"), ("batch_squares", "<f8", squares), ("epoch_squares", "<f8", squares)]
        if self.keeps_parameters:
            fields.append(("parameters", np.dtype(self.precision).newbyteorder("<"), (m, q)))
        else:
            fields += [("squares", "<f8", (q,)), ("gradient_norm", "<f8"), ("gap", "<f8"), ("scaled_gap", "<f8")]
        return np.dtype(fields, align=True)

    @cached_property
    def divisor(self) -> float:
        return divisor(self.loss, self.plan.rows, len(self.targets))

    @cached_property
    def target_factors(self) -> FloatArray:
        """(q,) what squared residuals in descent's units are multiplied by to be in the user's."""
        return np.square(self.units.targets.spread)

    def write(self, rows: Rows, records: Records) -> None:
        """Write rows down in as many records."""
        kinds = records["batch_squares"].shape[1]
        records["step"] = rows.step
        records["batch_squares"] = rows.batch_squares[:, :kinds]
        records["epoch_squares"] = rows.epoch_squares[:, :kinds]
        if self.keeps_parameters:
            records["parameters"] = rows.parameters
        else:
            self.say(rows.parameters, records)

    def say(self, parameters: WorkingArray, records: Records) -> None:
        """Write down what is said of parameters, in as many records that have none."""
        for part, image in self._images(parameters):
            records["gradient_norm"][part] = self._norm_of_gradient(image)
            records["squares"][part] = _squares(image)
        records["scaled_gap"] = self.scaled_gap(parameters)
        records["gap"] = self.gap(self.in_users_units(parameters)) if self.is_scaled else records["scaled_gap"]

    def without_parameters(self) -> "Account":
        """That of the same rows where they hold no parameters; nothing more can be said of any by this one."""
        optimum = replace(self.optimum, triangle=np.empty((0, len(self.terms))))
        return replace(self, keeps_parameters=False, optimum=optimum)

    def excess_squares(self, parameters: WorkingArray) -> FloatArray:
        """(r, q) |R (W - W*)|^2 of each target, of parameters (r, m, q) in descent's units."""
        squares = np.empty((len(parameters), len(self.targets)))
        for part, image in self._images(parameters):
            squares[part] = _squares(image)
        return squares

    def gradient_norm(self, parameters: WorkingArray) -> FloatArray:
        """(r,) Euclidean norm of the full-data gradient in descent's units."""
        norms = np.empty(len(parameters))
        for part, image in self._images(parameters):
            norms[part] = self._norm_of_gradient(image)
        return norms

    def _norm_of_gradient(self, image: FloatArray) -> FloatArray:
        gradient = _product(self.optimum.triangle.T, image)
        return 2.0 / self.divisor * np.sqrt(_summed(np.square(gradient).reshape(-1, gradient.shape[2])))

    def excess_loss(self, squares: FloatArray) -> FloatArray:
        """(r,) the loss above its least value in the user's units, from excess squares (r, q)."""
        return weighted(squares, self.target_factors) / self.divisor

    def full_loss(self, squares: FloatArray) -> FloatArray:
        """(r,) the loss on all rows in the user's units, from excess squares."""
        return self.optimum.least + self.excess_loss(squares)

    def scaled_full_loss(self, squares: FloatArray) -> FloatArray:
        """(r,) the same in descent's units."""
        return self.optimum.scaled_least + _summed(squares.T) / self.divisor

    def loss_of(self, parameters: WorkingArray) -> float:
        """The loss on all rows in the user's units, of parameters (m, q) in descent's."""
        return float(self.full_loss(self.excess_squares(parameters[None]))[0])

    def gap(self, coefficients: FloatArray) -> FloatArray:
        """(r,) Euclidean distance to the optimum, of parameters in the user's units."""
        return _distance(coefficients, self.optimum.parameters)

    def scaled_gap(self, parameters: WorkingArray) -> FloatArray:
        """(r,) the same of parameters in descent's units, in those."""
        return _distance(parameters, self._scaled_reference)

    def in_users_units(self, parameters: WorkingArray) -> FloatArray:
        """Parameters (r, m, q) in descent's units, in the user's."""
        return self.units.to_user(parameters.astype(np.float64, copy=False))

    def rates(self, step: IntArray) -> FloatArray:
        """(r,) the learning rate of each step; NaN at the start."""
        if isinstance(self.learning_rate, float | int):
            return np.where(step == 0, np.nan, self.learning_rate)
        before = np.maximum(self.earlier + step - 1, 0)
        return np.where(step == 0, np.nan, rates(self.learning_rate, before, np.dtype(self.precision)))

    @cached_property
    def _scaled_reference(self) -> FloatArray:
        return self.units.to_scaled(self.optimum.parameters)

    def _images(self, parameters: WorkingArray) -> Iterator[tuple[slice, FloatArray]]:
        """R (W - W*), (q, k, c) of c rows at a time, and which rows these are."""
        _, m, q = parameters.shape
        size = max(_PASS_NUMBERS // (m * q), 1)
        optimum = self.optimum.scaled.T[:, :, None]
        for first in range(0, len(parameters), size):
            part = slice(first, min(first + size, len(parameters)))
            away = np.empty((q, m, part.stop - first))
            np.subtract(parameters[part].transpose(2, 1, 0), optimum, out=away)
            yield part, _product(self.optimum.triangle, away)

    def to_bytes(self) -> bytes:
        """To be stored."""
        optimum, scales = self.optimum, (self.units.features, self.units.targets)
        plain = {name: getattr(self, name) for name in _PLAIN}
        rate = self.learning_rate
        plain["learning_rate"] = rate if isinstance(rate, float | int) else asdict(rate)
        plain |= {"plan": asdict(self.plan), "intercept": self.units.intercept}
        plain |= {"least": optimum.least, "scaled_least": optimum.scaled_least}
        arrays = {"parameters": optimum.parameters, "scaled": optimum.scaled, "triangle": optimum.triangle}
        for name, scale in zip(("features", "targets"), scales, strict=True):
            arrays |= {f"{name}_centre": scale.centre, f"{name}_spread": scale.spread}
        return pack(plain, arrays)

    @classmethod
    def from_bytes(cls, body: bytes) -> "Account":
        """The inverse of `to_bytes`."""
        plain, arrays = unpack(body)
        features, targets = (
            Scale(arrays[f"{name}_centre"], arrays[f"{name}_spread"]) for name in ("features", "targets")
        )
        return cls(
            terms=tuple(plain.pop("terms")),
            targets=tuple(plain.pop("targets")),
            plan=BatchPlan(**plain.pop("plan")),
            units=Units(features, targets, plain.pop("intercept")),
            optimum=Optimum(
                parameters=arrays["parameters"],
                least=plain.pop("least"),
                scaled=arrays["scaled"],
                scaled_least=plain.pop("scaled_least"),
                triangle=arrays["triangle"],
            ),
            learning_rate=_learning_rate(plain.pop("learning_rate")),
            **plain,
        )


_PLAIN = ("terms", "targets", "loss", "is_scaled", "is_penalised", "keeps_parameters", "earlier", "precision")


def _learning_rate(said: Any) -> LearningRate:
    match said:
        case {"kind": "exponential_decay"}:
            return ExponentialDecay(**said)
        case {"kind": "cosine_decay"}:
            return CosineDecay(**said)
        case {"kind": "piecewise_constant_decay"}:
            return PiecewiseConstantDecay(tuple(said["boundaries"]), tuple(said["values"]))
        case _:
            return float(said)


def weighted(squares: FloatArray, factors: FloatArray) -> FloatArray:
    """(r,) the sum over targets of squares (r, q) times factors (q,)."""
    return _summed(squares.T * factors[:, None])


def _squares(image: FloatArray) -> FloatArray:
    """(c, q) squared lengths of the columns of (q, k, c), which are squared in place."""
    np.multiply(image, image, out=image)
    return _summed(image.swapaxes(0, 1)).T


def _product(matrix: FloatArray, columns: FloatArray) -> FloatArray:
    """(a, b) times (q, b, c): (q, a, c)."""
    q, b, c = columns.shape
    product = np.zeros((q, len(matrix), c))
    term = np.empty_like(product)
    for j in range(b):
        np.multiply(matrix[:, j, None], columns[:, j, None, :], out=term)
        product += term
    return product


def _summed(values: FloatArray) -> FloatArray:
    """The sum over the first axis, one after the other: NumPy's own adds in an order that depends on the shape."""
    total: FloatArray = values[0].copy()
    for value in values[1:]:
        total += value
    return total


def _distance(parameters: WorkingArray, reference: FloatArray) -> FloatArray:
    """(r,) Euclidean distances of parameters (r, m, q) to a reference (m, q)."""
    away = np.square(parameters - reference).reshape(len(parameters), reference.size)
    return np.sqrt(_summed(np.ascontiguousarray(away.T)))
