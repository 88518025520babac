"""A descent, once more, in NumPy: the update rule is our own function, and all around it is spelled out plainly."""

from service.fitting.descent.going_on import Beginning, begin
from service.fitting.replay import rule_text
from service.fitting.replay.batches import batches, in_words, steps
from service.fitting.replay.literals import listed, matrix, number
from service.fitting.replay.program import answer, arrays, assemble, data, header, imports, scaling
from service.fitting.replay.replayed import Replayed
from service.fitting.solver import Descent

_MANY_STEPS = 1_000_000


def numpy_descent(replayed: Replayed, descent: Descent) -> str:
    """The program."""
    beginning = begin(replayed.problem, descent, replayed.ended)
    rule = beginning.rule
    extra = ("sqrt",) if rule.clipping.kind in ("norm", "global_norm") else ()
    elementary = rule_text.elementary_names(rule, *extra)
    packages = [f"from numpy import {elementary}"] if elementary else []
    paragraphs = [
        header(replayed, _summary(replayed, descent, beginning), _particulars(replayed, beginning), "NumPy"),
        imports(replayed, ["from itertools import count, islice"], packages),
        *data(replayed),
        f"number = np.{descent.dtype}  # what everything is computed in",
        *rule_text.definitions(rule, beginning.iterations, replayed.task.model.intercept),
        batches(beginning, descent.drop_last),
        arrays(replayed),
        *scaling(replayed),
        _working_arrays(replayed),
        _start(beginning),
        _loop(replayed, descent, beginning),
        _end(replayed, beginning),
        *answer(replayed),
    ]
    return assemble(paragraphs)


def _summary(replayed: Replayed, descent: Descent, beginning: Beginning) -> str:
    return f"{replayed.steps} steps of {descent.optimizer.kind}, {in_words(beginning.plan)}."


def _particulars(replayed: Replayed, beginning: Beginning) -> list[str]:
    rule, dtype = beginning.rule.update.__name__, beginning.solver.dtype
    told = [
        f"`{rule}` is the very function that Plumbline runs, here on whole arrays. The rest says plainly, in {dtype}, "
        "what its engines do in quicker ways: sums are rounded in another order, and the last digits differ."
    ]
    if replayed.steps > _MANY_STEPS:
        told.append("Here every step is taken, some ten thousand a second: that may take long.")
    if beginning.iterations or beginning.plan.begun:
        told.append("It goes on from where another fit ended, whose state stands here as numbers.")
    return told


def _working_arrays(replayed: Replayed) -> str:
    model = replayed.task.model
    design = "np.hstack([np.ones((ROWS, 1)), x])" if model.intercept else "x"
    lines = [f"design, y = {design}.astype(number), y.astype(number)"]
    if model.weights is not None:
        lines.append("weights = weights.astype(number)")
    return "\n".join(lines)


def _start(beginning: Beginning) -> str:
    state, rule = beginning.state, beginning.rule
    intercept = "the intercept's row, then " if beginning.problem.model.intercept else ""
    lines = [
        f"# Parameters: {intercept}a row for each other term, and a column for each target.",
        f"w = np.array({matrix(state.parameters)}, number)",
    ]
    if beginning.iterations:
        kept = "\n".join(f"np.array({matrix(slot)}, number)," for slot in state.slots)
        lines.append(f"slots = [\n{kept}\n]")
    else:
        first = listed(number(value) for value in rule.first_slots)
        lines.append(f"slots = [np.full_like(w, value) for value in {first}]")
    if rule.averaging is not None:
        kept = f"np.array({matrix(state.average)}, number)" if beginning.iterations else "np.zeros_like(w)"
        lines.append(f"mean = {kept}")
    return "\n".join(lines)


def _loop(replayed: Replayed, descent: Descent, beginning: Beginning) -> str:
    rule = beginning.rule
    gradient = "clipped(gradient)" if rule.clipping.kind != "none" else "gradient"
    body = [
        "residual = design[rows] @ w - y[rows]",
        f"gradient = {_gradient(replayed)}",
        *_penalty(replayed, descent),
        *_decay(rule.weight_decay),
        f"w, *slots = {rule.update.__name__}(w, {gradient}, *slots, now, OPTIONS, FLAGS)",
        *_mean(beginning),
    ]
    pairs = f"zip({steps(beginning.plan, replayed.steps)}, step_numbers())"
    head = f"for rows, now in {pairs}:"
    if rule.averaging is not None:
        head = f"for iteration, (rows, now) in enumerate({pairs}, start={beginning.iterations + 1}):"
    return "\n".join([head, *(f"    {line}" for line in body)])


def _gradient(replayed: Replayed) -> str:
    residual = "residual" if replayed.task.model.weights is None else "(weights[rows] * residual)"
    factor = "(2 / residual.size)" if replayed.task.loss == "mse" else "2"
    return f"{factor} * design[rows].T @ {residual}"


def _penalty(replayed: Replayed, descent: Descent) -> list[str]:
    if descent.penalty is None:
        return []
    penalised = "[1:]" if replayed.task.model.intercept else "[:]"
    return [f"gradient{penalised} += 2 * number({number(descent.penalty.strength)}) * w{penalised}"]


def _decay(weight_decay: float | None) -> list[str]:
    return [] if weight_decay is None else [f"w = decayed(w, now[0], number({number(weight_decay)}))"]


def _mean(beginning: Beginning) -> list[str]:
    kept = beginning.rule.averaging
    if kept is None:
        return []
    lines = [
        f"kept = number({number(kept.momentum)} if iteration > 1 else 0.0)",
        "mean = averaged(mean, w, kept, 1 - kept)",
    ]
    if kept.overwrite_every:
        lines += [f"if iteration % {kept.overwrite_every} == 0:", "    w = mean"]
    return lines


def _end(replayed: Replayed, beginning: Beginning) -> str:
    averaged = beginning.rule.averaging is not None and beginning.iterations + replayed.steps > 0
    found = "mean" if averaged else "w"
    lines = [f"{found} = {found}.astype(float)"]
    if replayed.task.model.intercept:
        lines.append(f"intercept, coefficients = {found}[0], {found}[1:]")
    else:
        lines.append(f"coefficients = {found}")
    return "\n".join(lines)
