"""An optimizer made ready for a loop: which update rule, and the numbers it takes, step by step."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal

import numpy as np

from service.fitting.arrays import IntArray, WorkingArray
from service.fitting.descent import update_rules
from service.fitting.descent.optimizers import (
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    Adamw,
    Ftrl,
    Lion,
    Nadam,
    Optimizer,
    Rmsprop,
    Sgd,
)
from service.fitting.descent.schedules import LearningRate, rates
from service.fitting.descent.update_rules import NUMBERS, OPTIONS, RULES, SLOTS, UpdateRule

Dtype = np.dtype[np.floating[Any]]

#: How the gradient is clipped, by a code for compiled loops.
ClippingKind = Literal["none", "value", "norm", "global_norm"]
CLIPPINGS: tuple[ClippingKind, ...] = ("none", "value", "norm", "global_norm")


@dataclass(frozen=True)
class Clipping:
    """How the gradient is clipped before it is used, and to what."""

    kind: ClippingKind = "none"
    limit: float = 0.0


@dataclass(frozen=True)
class Averaging:
    """The running mean of the parameters: its momentum, and after how many updates it replaces them (0: never)."""

    momentum: float
    overwrite_every: int


@dataclass(frozen=True)
class Rule:
    """An optimizer made ready for a loop.

    Attributes
    ----------
    optimizer
        What it was made of.
    code
        The update rule's place in `RULES`.
    options, flags
        The update rule's own numbers, `OPTIONS` of them, and booleans.
    first_slots
        What the slots start at.
    slots
        How many of them the update rule uses, the first ones; the others stay as they are.
    weight_decay
        None where there is none.
    averaging
        None where no running mean of the parameters is kept.
    """

    optimizer: Optimizer
    dtype: Dtype
    code: int
    options: tuple[float, ...]
    flags: tuple[bool, ...]
    slots: int
    first_slots: tuple[float, ...]
    clipping: Clipping
    weight_decay: float | None
    averaging: Averaging | None

    @property
    def update(self) -> UpdateRule:
        return RULES[self.code]

    @property
    def learning_rate(self) -> LearningRate:
        return self.optimizer.learning_rate

    @cached_property
    def first_rate(self) -> float:
        """The learning rate of the very first update, as the working precision has it."""
        return float(rates(self.learning_rate, np.zeros(1, np.int64), self.dtype)[0])

    @cached_property
    def is_constant(self) -> bool:
        """Whether all steps have the same numbers."""
        return isinstance(self.learning_rate, float | int) and not isinstance(self.optimizer, _COUNTING)

    # A rate may come down to 0, and what is divided by it leaves the numbers then: the step says so.
    @np.errstate(all="ignore")
    def numbers(self, first: int, count: int) -> WorkingArray:
        """(count, NUMBERS) of the updates with `first` .. `first + count - 1` before them, in the working precision.

        One row where the rule `is_constant`: it stands for all.
        """
        iterations = np.arange(first, first + (1 if self.is_constant else count), dtype=np.int64)
        columns = [rates(self.learning_rate, iterations, self.dtype)]
        columns += _step_numbers(self.optimizer, columns[0], iterations, self.dtype)
        numbers = np.zeros((len(iterations), NUMBERS), self.dtype)
        for place, column in enumerate(columns):
            numbers[:, place] = column
        return numbers


#: The optimizers whose rules know how many updates there were before.
_COUNTING = (Adam, Adamw, Adamax, Nadam)


@lru_cache(maxsize=64)
def rule_of(optimizer: Optimizer, dtype: Dtype) -> Rule:
    """The rule and numbers of an optimizer, in the precision it is to work in."""
    made = _made(optimizer, dtype)
    return Rule(
        optimizer=optimizer,
        dtype=dtype,
        code=RULES.index(made.update),
        options=_padded(made.options, OPTIONS),
        flags=(made.flag,),
        slots=made.slots,
        first_slots=_padded(made.first_slots, SLOTS),
        clipping=_clipping(optimizer),
        weight_decay=optimizer.weight_decay,
        averaging=Averaging(optimizer.ema_momentum, optimizer.ema_overwrite_frequency or 0)
        if optimizer.use_ema
        else None,
    )


@dataclass(frozen=True)
class _Made:
    """The update rule of an optimizer, the slots it uses, its numbers and boolean, and what the slots start at."""

    update: UpdateRule
    slots: int
    options: tuple[float, ...] = ()
    flag: bool = False
    first_slots: tuple[float, ...] = ()


def _made(optimizer: Optimizer, dtype: Dtype) -> _Made:
    # Keras takes 1 - rho and the like of Python's numbers, but for Nadam and Lion in the working precision.
    match optimizer:
        case Sgd(momentum=0.0):
            return _Made(update_rules.plain, 0)
        case Sgd():
            return _Made(update_rules.momentum, 1, (optimizer.momentum,), optimizer.nesterov)
        case Rmsprop():
            shares = (optimizer.rho, 1.0 - optimizer.rho)
            slots, options = 3 if optimizer.centered else 2, (*shares, optimizer.momentum, optimizer.epsilon)
            return _Made(update_rules.rmsprop, slots, options, optimizer.centered)
        case Adam() | Adamw():
            rests = (1.0 - optimizer.beta_1, 1.0 - optimizer.beta_2)
            return _Made(
                update_rules.adam, 3 if optimizer.amsgrad else 2, (*rests, optimizer.epsilon), optimizer.amsgrad
            )
        case Adamax():
            return _Made(update_rules.adamax, 2, (1.0 - optimizer.beta_1, optimizer.beta_2, optimizer.epsilon))
        case Nadam():
            rests = (_rest(optimizer.beta_1, dtype), _rest(optimizer.beta_2, dtype))
            return _Made(update_rules.nadam, 2, (*rests, optimizer.epsilon))
        case Adagrad():
            first = (optimizer.initial_accumulator_value,)
            return _Made(update_rules.adagrad, 1, (optimizer.epsilon,), first_slots=first)
        case Adadelta():
            return _Made(update_rules.adadelta, 2, (optimizer.rho, 1.0 - optimizer.rho, optimizer.epsilon))
        case Lion():
            beta_1, beta_2 = optimizer.beta_1, optimizer.beta_2
            return _Made(update_rules.lion, 1, (beta_1, _rest(beta_1, dtype), beta_2, _rest(beta_2, dtype)))
        case Ftrl():
            return _made_ftrl(optimizer)


def _rest(share: float, dtype: Dtype) -> float:
    """1 - share, in the working precision."""
    return float(dtype.type(1.0) - dtype.type(share))


def _made_ftrl(optimizer: Ftrl) -> _Made:
    shrinkage = 2.0 * optimizer.l2_shrinkage_regularization_strength
    power = -optimizer.learning_rate_power
    options = (power, optimizer.l1_regularization_strength, shrinkage)
    return _Made(update_rules.ftrl, 2, options, power == 0.5, (optimizer.initial_accumulator_value,))


def _padded(numbers: tuple[float, ...], count: int) -> tuple[float, ...]:
    return numbers + (0.0,) * (count - len(numbers))


def _clipping(optimizer: Optimizer) -> Clipping:
    for kind, limit in (
        ("norm", optimizer.clipnorm),
        ("global_norm", optimizer.global_clipnorm),
        ("value", optimizer.clipvalue),
    ):
        if limit is not None:
            return Clipping(kind, limit)  # type: ignore[arg-type]
    return Clipping()


def _step_numbers(optimizer: Optimizer, rate: WorkingArray, iterations: IntArray, dtype: Dtype) -> list[WorkingArray]:
    """What a rule takes of each step beside the learning rate, computed in the working precision, as Keras does."""
    number = dtype.type
    match optimizer:
        case Adam() | Adamw():
            left_1, left_2 = (_left(beta, iterations, dtype) for beta in (optimizer.beta_1, optimizer.beta_2))
            return [rate * np.sqrt(left_2) / left_1]
        case Adamax():
            return [_left(optimizer.beta_1, iterations, dtype)]
        case Nadam():
            return _nadam_numbers(optimizer, iterations, dtype)
        case Ftrl():
            strength = number(optimizer.l2_regularization_strength) + number(optimizer.beta) / (2 * rate)
            return [2 * strength]
        case _:
            return []


def _left(beta: float, iterations: IntArray, dtype: Dtype) -> WorkingArray:
    """1 - beta^t of consecutive updates, t - 1 being before each."""
    first, count = int(iterations[0]), len(iterations)
    return _left_of_first(beta, dtype, count) if first == 0 else _left_after(beta, dtype, first, count)


@lru_cache(maxsize=8)
def _left_of_first(beta: float, dtype: Dtype, count: int) -> WorkingArray:
    """Of the first updates of all: a descent is looked at in many ways from there."""
    left = _left_after(beta, dtype, 0, count)
    left.flags.writeable = False
    return left


def _left_after(beta: float, dtype: Dtype, first: int, count: int) -> WorkingArray:
    left: WorkingArray = 1 - np.power(dtype.type(beta), np.arange(first + 1, first + count + 1).astype(dtype))
    return left


def _nadam_numbers(optimizer: Nadam, iterations: IntArray, dtype: Dtype) -> list[WorkingArray]:
    number, step = dtype.type, (iterations + 1).astype(dtype)
    now, ahead = (_nadam_share(optimizer.beta_1, number(later) + step, _WARMING_CAST) for later in (0, 1))
    product = _nadam_products(optimizer.beta_1, iterations, dtype)
    left_2 = _left(optimizer.beta_2, iterations, dtype)
    return [ahead, 1 - product * ahead, 1 - now, 1 - product, left_2]


#: Dozat's 0.96, and what it is when Keras on TensorFlow has cast it, also to float64, by way of float32.
_WARMING, _WARMING_CAST = 0.96, float(np.float32(0.96))
#: Updates after which 0.96^t is 0 to the last digit, by far.
_WARM = 1 << 14


def _nadam_share(beta: float, step: WorkingArray, warming: float) -> WorkingArray:
    """u_t (Dozat 2015, eq. 8)."""
    number = step.dtype.type
    share: WorkingArray = number(beta) * (number(1.0) - number(0.5) * np.power(number(warming), step))
    return share


def _nadam_products(beta: float, iterations: IntArray, dtype: Dtype) -> WorkingArray:
    """u_1 u_2 .. u_t for each update, t - 1 being before it."""
    warming = np.minimum(iterations, _WARM - 1)
    products: WorkingArray = np.power(dtype.type(beta), (iterations - warming).astype(dtype))
    return products * _first_nadam_products(beta, dtype)[warming]


@lru_cache(maxsize=8)
def _first_nadam_products(beta: float, dtype: Dtype) -> WorkingArray:
    products: WorkingArray = np.cumprod(_nadam_share(beta, np.arange(1, _WARM + 1).astype(dtype), _WARMING))
    return products
