"""From the contract's optimizers and schedules to the domain's, which have the same names."""

from typing import Any, get_args

from service.api.schemas import optimizer as asked
from service.fitting.descent import optimizers, schedules
from service.fitting.errors import InvalidProblem

_OPTIMIZERS = {optimizer.kind: optimizer for optimizer in get_args(optimizers.Optimizer)}
_CLIPPINGS = ("clipnorm", "clipvalue", "global_clipnorm")
_OPTIMIZER = ("solver", "optimizer")
_RATE = (*_OPTIMIZER, "learning_rate")


def optimizer_of(asked_optimizer: asked.Optimizer) -> optimizers.Optimizer:
    """The domain's optimizer.

    Raises
    ------
    InvalidProblem
        Two ways of clipping at once; a schedule whose options do not go together.
    """
    options: dict[str, Any] = dict(asked_optimizer)
    _check_clipping(options)
    options["learning_rate"] = _learning_rate(asked_optimizer.learning_rate)
    optimizer: optimizers.Optimizer = _OPTIMIZERS[asked_optimizer.kind](**options)
    return optimizer


def _check_clipping(options: dict[str, Any]) -> None:
    given = [name for name in _CLIPPINGS if options[name] is not None]
    if len(given) > 1:
        raise InvalidProblem(
            (*_OPTIMIZER, given[1]),
            f"The gradient is clipped by {given[0]} already.",
            f"at most one of {', '.join(_CLIPPINGS)}; null for the others",
        )


def _learning_rate(rate: asked.LearningRate) -> schedules.LearningRate:
    match rate:
        case asked.ExponentialDecay():
            return schedules.ExponentialDecay(**dict(rate))
        case asked.CosineDecay():
            return _cosine(rate)
        case asked.PiecewiseConstantDecay():
            return _piecewise(rate)
        case _:
            return rate


def _cosine(decay: asked.CosineDecay) -> schedules.CosineDecay:
    if decay.warmup_target is None and decay.warmup_steps > 0:
        message = f"There is nothing to go up to in {decay.warmup_steps} updates."
        raise InvalidProblem((*_RATE, "warmup_target"), message, "a number above 0, or warmup_steps of 0")
    if decay.warmup_target is not None and decay.warmup_steps == 0:
        message = f"There is no update to go up to {decay.warmup_target:g} in."
        raise InvalidProblem((*_RATE, "warmup_steps"), message, "at least 1, or a warmup_target of null")
    return schedules.CosineDecay(**dict(decay))


def _piecewise(decay: asked.PiecewiseConstantDecay) -> schedules.PiecewiseConstantDecay:
    boundaries, values = tuple(decay.boundaries), tuple(decay.values)
    if len(values) != len(boundaries) + 1:
        message = f"{len(boundaries)} boundaries part {len(boundaries) + 1} pieces, and there are {len(values)} values."
        raise InvalidProblem((*_RATE, "values"), message, f"{len(boundaries) + 1} numbers")
    for place in range(1, len(boundaries)):
        if boundaries[place] <= boundaries[place - 1]:
            message = f"{boundaries[place]} does not come after {boundaries[place - 1]}."
            raise InvalidProblem((*_RATE, "boundaries", place), message, f"more than {boundaries[place - 1]}")
    return schedules.PiecewiseConstantDecay(boundaries, values)
