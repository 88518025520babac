"""The table of what is compared with Keras: optimizers, schedules, batch plans and problems, and how."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from service.fitting.arrays import FloatArray, IntArray
from service.fitting.descent.arena import arena_of
from service.fitting.descent.closed_form import ClosedFormEngine, is_affine
from service.fitting.descent.engine import Arena, Block, Engine
from service.fitting.descent.going_on import Beginning, begin
from service.fitting.descent.numpy_engine import NumpyRowsEngine
from service.fitting.descent.numpy_statistics import NumpyStatisticsEngine
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
from service.fitting.descent.schedules import CosineDecay, ExponentialDecay, PiecewiseConstantDecay, Schedule
from service.fitting.descent.start import GlorotUniform, draw
from service.fitting.descent.tensorflow_engine import TensorflowEngine
from service.fitting.penalty import L2
from service.fitting.problem import Problem
from service.fitting.solver import Descent, Precision
from tests.fitting.descent.keras_paths import KerasModel, Path
from tests.fitting.descent.problems import random_problem

STEPS = 200
ROWS, FEATURES = 23, 3

SCHEDULES: tuple[Schedule, ...] = (
    ExponentialDecay(0.1, 30, 0.7),
    ExponentialDecay(0.1, 30, 0.7, staircase=True),
    CosineDecay(0.1, 150, 0.05),
    CosineDecay(0.001, 100, 0.1, warmup_target=0.1, warmup_steps=40),
    PiecewiseConstantDecay((50, 120), (0.1, 0.03, 0.07)),
)

#: Each with Keras's defaults, and with none of them; what every optimizer takes; every schedule.
OPTIMIZERS: tuple[Optimizer, ...] = (
    Sgd(),
    Sgd(0.02, 0.9),
    Sgd(0.02, 0.9, nesterov=True),
    Rmsprop(),
    Rmsprop(0.01, 0.8, 0.5, 1e-3, centered=True),
    Adam(),
    Adam(0.01, 0.8, 0.95, 0.02, amsgrad=True),
    Adamw(),
    Adamw(0.01, 0.8, 0.95, 0.02, amsgrad=True, weight_decay=0.1),
    Adamax(),
    Adamax(0.01, 0.8, 0.95, 0.02),
    Nadam(),
    Nadam(0.01, 0.8, 0.95, 0.02),
    Adagrad(),
    Adagrad(0.1, 0.5, 1e-3),
    Adadelta(),
    Adadelta(0.5, 0.8, 1e-3),
    Lion(),
    Lion(0.01, 0.8, 0.95),
    Ftrl(),
    Ftrl(0.1, -0.5, 0.2, 0.01, 0.02, 0.03, 0.4),
    Ftrl(0.1, -0.3, 0.2, 0.01, 0.02, 0.03, 0.4),
    Sgd(0.05, weight_decay=0.1),
    Sgd(0.05, clipvalue=0.2),
    Sgd(0.05, clipnorm=0.5),
    Sgd(0.05, global_clipnorm=0.5),
    Sgd(0.05, use_ema=True),
    Sgd(0.05, use_ema=True, ema_momentum=0.8, ema_overwrite_frequency=7),
    Adam(0.01, weight_decay=0.1, clipnorm=0.5, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=30),
    *(Sgd(schedule) for schedule in SCHEDULES),
    Ftrl(SCHEDULES[0], beta=0.4),
)

PLANS: dict[str, dict[str, Any]] = {
    "full": {"epochs": STEPS},
    "cyclic": {"epochs": STEPS, "max_steps": STEPS, "batch_size": 5, "drop_last": True},
    "short last batch": {"epochs": STEPS, "max_steps": STEPS, "batch_size": 5},
    "shuffled": {"epochs": STEPS, "max_steps": STEPS, "batch_size": 5, "shuffle": True, "seed": 3},
}


@dataclass(frozen=True)
class Shape:
    """How many targets a problem has, and whether weights, and a penalty."""

    targets: int
    weighted: bool = False
    # A strength that float32 holds: Keras rounds it.
    penalty: L2 | None = None

    def problem(self) -> Problem:
        # Where a gradient is no more than rounding, Lion's sign of it is chance; and what divides by the gradient's own
        # size can take steps too long to be stable there, so that rounding grows a millionfold. With this seed a small
        # change of the start grows to 1.4 times itself at most, by every optimizer and plan of the table, and float32
        # stays within 1e-5 of float64.
        return random_problem(seed=23, rows=ROWS, features=FEATURES, targets=self.targets, weighted=self.weighted)


SHAPES = (Shape(1), Shape(3), Shape(1, weighted=True), Shape(3, weighted=True, penalty=L2(0.0625)))

#: The engines that can do it, by the arena.
Engines = dict[str, tuple[Callable[[Arena], bool], Callable[[Arena], Engine]]]
NUMPY: Engines = {
    "rows": (lambda _: True, NumpyRowsEngine),
    "statistics": (lambda arena: not arena.plan.reshuffles, NumpyStatisticsEngine),
    "closed form": (lambda arena: is_affine(arena.rule) and not arena.plan.reshuffles, ClosedFormEngine),
}
TENSORFLOW: Engines = {"tensorflow": (lambda _: True, TensorflowEngine)}


@dataclass(frozen=True)
class Case:
    """One optimizer on one problem in one precision, by whatever plan."""

    optimizer: Optimizer
    shape: Shape
    precision: Precision

    def keras(self) -> Callable[[str], Path]:
        """Where Keras goes, by the name of the plan."""
        model = KerasModel(self.shape.problem(), self.shape.penalty, self.optimizer, self.precision)

        def path(plan: str) -> Path:
            descent = self._descent(plan)
            start = draw(GlorotUniform(), descent.seed, FEATURES, self.shape.targets, intercept=True)
            return model.path(start, list(islice(_batches(descent), STEPS)))

        return path

    def check(self, plan: str, engines: Engines, expected: Path) -> None:
        """That the engines go there too."""
        arena, beginning = self.begin(plan)
        orders = beginning.row_orders().for_steps(0, STEPS)
        for name, (suits, make) in engines.items():
            if suits(arena):
                block = make(arena).advance(beginning.state, STEPS, orders, np.arange(1, STEPS + 1))
                self._compare(f"{name}, {plan}", arena, block, expected)

    def begin(self, plan: str) -> tuple[Arena, Beginning]:
        """What an engine is made for, and begins with."""
        problem = self.shape.problem()
        beginning = begin(problem, self._descent(plan))
        optimum: FloatArray = np.linalg.lstsq(problem.design().plain(), problem.y)[0].astype(np.float64)
        return arena_of(beginning, optimum), beginning

    def _compare(self, what: str, arena: Arena, block: Block, expected: Path) -> None:
        tolerance = 1e-10 if self.precision == "float64" else 1e-5
        scale = np.abs(expected[0]).max()
        np.testing.assert_allclose(
            block.rows.parameters, expected[0], rtol=0, atol=tolerance * scale, err_msg=f"{self}, {what}"
        )
        losses = _batch_losses(arena, block)
        np.testing.assert_allclose(losses, expected[1], rtol=tolerance * 10, err_msg=f"{self}, {what}")

    def _descent(self, plan: str) -> Descent:
        return Descent(
            dtype=self.precision,
            optimizer=self.optimizer,
            start=GlorotUniform(),
            penalty=self.shape.penalty,
            **PLANS[plan],
        )


def _batches(descent: Descent) -> Any:
    """Rows of each batch, worked out here and not by the code under test."""
    size = min(descent.batch_size or ROWS, ROWS)
    stream = np.random.Generator(np.random.PCG64(descent.seed))
    while True:
        order = stream.permutation(ROWS) if descent.shuffle else np.arange(ROWS)
        for first in range(0, ROWS, size):
            chosen: IntArray = order[first : first + size]
            if len(chosen) == size or not descent.drop_last:
                yield chosen


def _batch_losses(arena: Arena, block: Block) -> FloatArray:
    rows = arena.plan.rows_of(arena.plan.batch_of(block.rows.step))
    residuals, penalties = block.rows.batch_squares.sum(axis=2).T
    losses: FloatArray = residuals / (rows * arena.shape[2]) + penalties
    return losses
