"""One update of all parameters, compiled by Numba: the NumPy engines call it at every step.

``step(form, numbers, row, iteration, w, gradient, slots, average, fresh) -> bool``, with all parameters along one axis,
s = m q, as ``w.reshape(-1)`` has them. The gradient is the whole loss's, penalty inside, in float64 and not clipped;
it is overwritten. `w`, `slots` and `average` are changed in place, but for a step that would make a parameter
non-finite: that one leaves them as they are, and returns False.

A step of three parameters takes 10 ns, and counting references to its arrays would take ten times that: whoever calls
`step` in a loop takes the arrays as arguments and calls ``borrowed(array)`` on each before the loop, also on what is
reshaped; arrays made in the loop's own function must not be borrowed, as nothing would keep them.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numba.core import cgutils
from numba.extending import intrinsic, overload

from service.fitting.arrays import FloatArray, WorkingArray
from service.fitting.descent import elementary
from service.fitting.descent.engine import Arena
from service.fitting.descent.rules import CLIPPINGS, Rule
from service.fitting.descent.update_rules import (
    RULES,
    SLOTS,
    UpdateRule,
    averaged,
    clipped_by_global_norm,
    clipped_by_norm,
    clipped_by_value,
    decayed,
    plain,
)

# Divisions by zero give inf and NaN, as NumPy's and TensorFlow's; and what is not put into its caller is slow to call.
inlined = njit(error_model="numpy", forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)


class Form(NamedTuple):
    """What the updates of a descent have in common, as compiled code takes it. Numbers are in the working precision.

    Attributes
    ----------
    is_plain
        w <- w - rate g and nothing else.
    slots
        How many the rule uses.
    clipping
        Its place in `CLIPPINGS`; 0 is none.
    split
        Parameters along the flat axis that are a variable of their own for Keras, before the others: the intercepts.
    overwrite_every
        Updates after which the running mean takes the parameters' place; 0 is never.
    """

    is_plain: bool
    code: int
    slots: int
    options: tuple[Any, ...]
    flags: tuple[bool, ...]
    clipping: int
    limit: Any
    split: int
    decays: bool
    decay: Any
    averages: bool
    momentum: Any
    overwrite_every: int


def form_of(arena: Arena) -> Form:
    """The form of an arena's updates."""
    return form_by(arena.rule, arena.shape[2] if arena.intercept else 0)


def form_by(rule: Rule, split: int) -> Form:
    """The form of updates by a rule; see `Form.split`."""
    kept, number = rule.averaging, rule.dtype.type
    clipping = CLIPPINGS.index(rule.clipping.kind)
    return Form(
        is_plain=rule.update is plain and clipping == 0 and rule.weight_decay is None and kept is None,
        code=rule.code,
        slots=rule.slots,
        options=tuple(number(option) for option in rule.options),
        flags=rule.flags,
        clipping=clipping,
        limit=number(rule.clipping.limit),
        split=split,
        decays=rule.weight_decay is not None,
        decay=number(rule.weight_decay or 0.0),
        averages=kept is not None,
        momentum=number(0.0 if kept is None else kept.momentum),
        overwrite_every=0 if kept is None else kept.overwrite_every,
    )


def scratch(parameters: WorkingArray) -> WorkingArray:
    """`fresh`, where `step` makes its new numbers before it trusts them."""
    return np.empty((1 + SLOTS, parameters.size), parameters.dtype)


@intrinsic
def borrowed(_: Any, array: Any) -> Any:
    """The same array, whose owner it does not keep alive; see the module's first lines."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        view.meminfo = cgutils.get_null_value(view.meminfo.type)
        view.parent = cgutils.get_null_value(view.parent.type)
        return view._getvalue()

    return array(array), generate


# Numba wants the signatures of both to be alike, and a lambda has no annotations.
@overload(elementary.sqrt)
def _sqrt(x):  # type: ignore[no-untyped-def]  # noqa: ARG001
    return lambda x: np.sqrt(x)


@overload(elementary.power)
def _power(x, exponent):  # type: ignore[no-untyped-def]  # noqa: ARG001
    return lambda x, exponent: np.power(x, exponent)


@overload(elementary.absolute)
def _absolute(x):  # type: ignore[no-untyped-def]  # noqa: ARG001
    return lambda x: np.abs(x)


@overload(elementary.sign)
def _sign(x):  # type: ignore[no-untyped-def]  # noqa: ARG001
    return lambda x: np.sign(x)


@overload(elementary.maximum)
def _maximum(x, y):  # type: ignore[no-untyped-def]  # noqa: ARG001
    return lambda x, y: np.maximum(x, y)


@overload(elementary.minimum)
def _minimum(x, y):  # type: ignore[no-untyped-def]  # noqa: ARG001
    return lambda x, y: np.minimum(x, y)


@inlined
def _unchanged(code: int, w: Any, g: Any, a: Any, b: Any, c: Any, numbers: Any, options: Any, flags: Any) -> Any:  # noqa: ARG001
    return w, a, b, c


def _either(code_of_rule: int, rule: UpdateRule, others: Any) -> Any:
    """One compiled function of `rule` and `others`, by the code that it takes first."""
    compiled = inlined(rule)

    @inlined
    def update(code: int, w: Any, g: Any, a: Any, b: Any, c: Any, numbers: Any, options: Any, flags: Any) -> Any:
        if code == code_of_rule:
            return compiled(w, g, a, b, c, numbers, options, flags)
        return others(code, w, g, a, b, c, numbers, options, flags)

    return update


_update = _unchanged
for _code, _rule in enumerate(RULES):
    _update = _either(_code, _rule, _update)

_by_rate, _decayed, _averaged = inlined(plain), inlined(decayed), inlined(averaged)
_by_value, _by_norm = inlined(clipped_by_value), inlined(clipped_by_norm)
_by_global_norm = inlined(clipped_by_global_norm)
_VALUE, _NORM, _GLOBAL_NORM = (CLIPPINGS.index(kind) for kind in ("value", "norm", "global_norm"))


@inlined
def _norm(gradient: FloatArray, first: int, last: int, zero: Any) -> Any:
    """Summed in the precision of `zero`."""
    total = zero
    for i in range(first, last):
        g = type(zero)(gradient[i])
        total += g * g
    return np.sqrt(total)


@inlined
def _clip(form: Form, gradient: FloatArray, zero: Any) -> None:
    size, limit, number = len(gradient), form.limit, type(zero)
    if form.clipping == _VALUE:
        for i in range(size):
            gradient[i] = _by_value(number(gradient[i]), limit)
    elif form.clipping == _GLOBAL_NORM:
        norm = _norm(gradient, 0, size, zero)
        for i in range(size):
            gradient[i] = _by_global_norm(number(gradient[i]), norm, limit)
    else:
        for first, last in ((0, form.split), (form.split, size)):
            norm = _norm(gradient, first, last, zero)
            for i in range(first, last):
                gradient[i] = _by_norm(number(gradient[i]), norm, limit)


@inlined
def _general(
    form: Form,
    numbers: WorkingArray,
    row: int,
    iteration: int,
    w: WorkingArray,
    gradient: FloatArray,
    slots: WorkingArray,
    average: WorkingArray,
    fresh: WorkingArray,
) -> bool:
    """`step`, whatever the form."""
    size, number = len(w), w.dtype.type
    now = (numbers[row, 0], numbers[row, 1], numbers[row, 2], numbers[row, 3], numbers[row, 4], numbers[row, 5])
    if form.clipping:
        _clip(form, gradient, number(0.0))
    finite = True
    for i in range(size):
        value = _decayed(w[i], now[0], form.decay) if form.decays else w[i]
        g, a, b, c = number(gradient[i]), slots[0, i], slots[1, i], slots[2, i]
        value, a, b, c = _update(form.code, value, g, a, b, c, now, form.options, form.flags)
        fresh[0, i], fresh[1, i], fresh[2, i], fresh[3, i] = value, a, b, c
        finite = finite and np.isfinite(value)
    if not finite:
        return False
    for i in range(size):
        w[i] = fresh[0, i]
    for slot in range(form.slots):
        for i in range(size):
            slots[slot, i] = fresh[slot + 1, i]
    if form.averages:
        _average(form, iteration, w, average)
    return True


@inlined
def _average(form: Form, iteration: int, w: WorkingArray, average: WorkingArray) -> None:
    number = w.dtype.type
    share = number(0.0) if iteration == 1 else form.momentum
    overwrites = form.overwrite_every > 0 and iteration % form.overwrite_every == 0
    for i in range(len(w)):
        average[i] = _averaged(average[i], w[i], share, number(1.0) - share)
        if overwrites:
            w[i] = average[i]


@inlined
def _plain(form: Form, rate: Any, w: WorkingArray, gradient: FloatArray, fresh: WorkingArray) -> bool:
    """`step` where the form is plain."""
    size, number, finite = len(w), w.dtype.type, True
    for i in range(size):
        value = _by_rate(w[i], number(gradient[i]), rate, rate, rate, (rate,), form.options, form.flags)[0]
        fresh[0, i] = value
        finite = finite and np.isfinite(value)
    if finite:
        for i in range(size):
            w[i] = fresh[0, i]
    return finite


@inlined
def step(
    form: Form,
    numbers: WorkingArray,
    row: int,
    iteration: int,
    w: WorkingArray,
    gradient: FloatArray,
    slots: WorkingArray,
    average: WorkingArray,
    fresh: WorkingArray,
) -> bool:
    """One update; whether all parameters are finite after it.

    Parameters
    ----------
    numbers, row
        `Rule.numbers` of some steps, and which row of them is this step's.
    iteration
        This update's number, from 1, those of earlier descents included.
    w, gradient, slots, average, fresh
        (s,), (s,) float64, (SLOTS, s), (s,), and what `scratch` gives.
    """
    if form.is_plain:
        return bool(_plain(form, numbers[row, 0], w, gradient, fresh))
    return bool(_general(form, numbers, row, iteration, w, gradient, slots, average, fresh))
