"""An optimizer's update rule, in a program: our own function, and the numbers that it takes at each update."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from service.fitting.descent import elementary, update_rules
from service.fitting.descent.optimizers import Adam, Adamax, Adamw, Ftrl, Nadam, Optimizer, Usual
from service.fitting.descent.rules import Rule
from service.fitting.descent.schedules import CosineDecay, ExponentialDecay, LearningRate, PiecewiseConstantDecay
from service.fitting.replay.literals import listed, number
from service.fitting.replay.program import source

_CLIPPED: dict[str, Callable[..., Any]] = {
    "value": update_rules.clipped_by_value,
    "norm": update_rules.clipped_by_norm,
    "global_norm": update_rules.clipped_by_global_norm,
}


def functions(rule: Rule) -> list[Callable[..., Any]]:
    """Our functions that an update is made of."""
    chosen: list[Callable[..., Any]] = [rule.update]
    if rule.weight_decay is not None:
        chosen.insert(0, update_rules.decayed)
    if rule.clipping.kind != "none":
        chosen.insert(0, _CLIPPED[rule.clipping.kind])
    if rule.averaging is not None:
        chosen.append(update_rules.averaged)
    return chosen


def elementary_names(rule: Rule, *others: str) -> str:
    """What they need of NumPy, where it has the same names as with us; and `others`."""
    used = {name for function in functions(rule) for name in function.__code__.co_names if hasattr(elementary, name)}
    return ", ".join(sorted({*used, *others}))


def definitions(rule: Rule, iterations: int, intercept: bool) -> list[str]:
    """The functions, with what they take: `OPTIONS`, `FLAGS` and `step_numbers()`."""
    name, optimizer = rule.update.__name__, rule.optimizer
    constants = [
        *_in_words(optimizer),
        f"OPTIONS = {listed(f'number({number(option)})' for option in rule.options)}",
        f"FLAGS = {list(rule.flags)}",
    ]
    return [
        *(source(function) for function in functions(rule)),
        "\n".join(constants),
        *_schedule(rule.learning_rate),
        *_share(optimizer),
        f'def step_numbers():\n    """What `{name}` takes at each update, the learning rate first."""\n'
        f"{_body(_numbers(optimizer, iterations))}",
        *_clipping(rule, intercept),
    ]


def _body(lines: list[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)


def _in_words(optimizer: Optimizer) -> list[str]:
    """The options as they were asked for: not all of them can be told from the numbers that the rule takes."""
    usual = {field.name for field in fields(Usual)}
    own = [field.name for field in fields(optimizer) if field.name not in {*usual, "kind", "learning_rate"}]
    if not own:
        return []
    return [f"# {', '.join(f'{name} = {getattr(optimizer, name)!r}' for name in own)}."]


def _schedule(rate: LearningRate) -> list[str]:
    match rate:
        case ExponentialDecay():
            power = f"number(iteration) / number({rate.decay_steps})"
            power = f"np.floor({power})" if rate.staircase else f"({power})"
            body = [f"return {_n(rate.initial_learning_rate)} * {_n(rate.decay_rate)} ** {power}"]
        case CosineDecay():
            body = _cosine(rate)
        case PiecewiseConstantDecay():
            body = [
                f"boundaries = {listed(map(str, rate.boundaries), '    ')}",
                f"values = {listed(map(number, rate.values), '    ')}",
                "return number(values[np.searchsorted(boundaries, iteration)])",
            ]
        case _:
            return []
    described = f'"""Keras\'s `{type(rate).__name__}`, after so many updates."""'
    return [f"def learning_rate(iteration):\n{_body([described, *body])}"]


def _cosine(decay: CosineDecay) -> list[str]:
    initial, length, alpha = _n(decay.initial_learning_rate), _n(decay.decay_steps), _n(decay.alpha)
    down = [
        f"cosine = (1 + np.cos(number(np.pi) * step / {length})) / 2",
        f"return top * ((1 - {alpha}) * cosine + {alpha})",
    ]
    if decay.warmup_target is None:
        return [f"top, step = {initial}, number(min(iteration, {decay.decay_steps}))", *down]
    steps = decay.warmup_steps
    return [
        f"top = {_n(decay.warmup_target)}",
        f"if iteration < {steps}:",
        f"    return (top - {initial}) * (number(iteration) / {_n(steps)}) + {initial}",
        f"step = number(min(iteration - {steps}, {decay.decay_steps}))",
        *down,
    ]


def _share(optimizer: Optimizer) -> list[str]:
    if not isinstance(optimizer, Nadam):
        return []
    return [
        'def share(t, base):\n    """What update t keeps of the running mean (Dozat 2015, eq. 8)."""\n'
        f"    return {_n(optimizer.beta_1)} * (1 - number(0.5) * number(base) ** number(t))"
    ]


def _numbers(optimizer: Optimizer, iterations: int) -> list[str]:
    asked = optimizer.learning_rate
    rate = _n(asked) if isinstance(asked, float | int) else "learning_rate(iteration)"
    before, given = _given(optimizer, iterations)
    counted = f"for iteration in count({iterations or ''}):"
    return [*before, counted, *(f"    {line}" for line in (f"rate = {rate}", *given))]


def _given(optimizer: Optimizer, iterations: int) -> tuple[list[str], list[str]]:
    """What comes before the loop over updates, and in it, once the rate is known."""
    t = "t = number(iteration + 1)"
    match optimizer:
        case Adam() | Adamw():
            corrected = f"np.sqrt(1 - {_n(optimizer.beta_2)} ** t) / (1 - {_n(optimizer.beta_1)} ** t)"
            return [], [t, f"yield rate, rate * {corrected}"]
        case Adamax():
            return [], [t, f"yield rate, 1 - {_n(optimizer.beta_1)} ** t"]
        case Nadam():
            left = f"1 - product * ahead, 1 - now, 1 - product, 1 - {_n(optimizer.beta_2)} ** t"
            shares = ["now, ahead = share(t, cast), share(t + 1, cast)", "product = product * share(t, 0.96)"]
            cast = "cast = np.float32(0.96)  # as Keras on TensorFlow has it everywhere but in the product"
            before = [cast, "product = number(1)", *_product_so_far(iterations)]
            return before, [t, *shares, f"yield rate, ahead, {left}"]
        case Ftrl():
            strength = f"{_n(optimizer.l2_regularization_strength)} + {_n(optimizer.beta)} / (2 * rate)"
            return [], [f"yield rate, 2 * ({strength})"]
        case _:
            return [], ["yield (rate,)"]


def _product_so_far(iterations: int) -> list[str]:
    if not iterations:
        return []
    return [f"for t in range(1, {iterations + 1}):", "    product = product * share(t, 0.96)"]


def _clipping(rule: Rule, intercept: bool) -> list[str]:
    clipping = rule.clipping
    limit = _n(clipping.limit)
    match clipping.kind:
        case "none":
            return []
        case "value":
            body = [f"return clipped_by_value(gradient, {limit})"]
        case "global_norm":
            body = [f"return clipped_by_global_norm(gradient, sqrt((gradient**2).sum()), {limit})"]
        case "norm" if intercept:
            body = [
                "parts = gradient[:1], gradient[1:]  # two variables for Keras, each with a norm of its own",
                f"return np.vstack([clipped_by_norm(part, sqrt((part**2).sum()), {limit}) for part in parts])",
            ]
        case "norm":
            body = [f"return clipped_by_norm(gradient, sqrt((gradient**2).sum()), {limit})"]
    return [f"def clipped(gradient):\n{_body(body)}"]


def _n(value: float) -> str:
    return f"number({number(value)})"
