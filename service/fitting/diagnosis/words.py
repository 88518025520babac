"""Causes in words: one or two plain sentences with the user's own names and at most four numbers.

Numbers are rounded to three digits, and large counts are said in millions. Gaps are in the user's units.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from math import ceil, floor, isfinite, log10

from service.fitting.outcome import OutcomeKind

Numbers = Mapping[str, float | None]

#: Longer names are cut in the middle; longer sums of names are replaced by a list of them.
_LONGEST_NAME, _LONGEST_SUM = 40, 80
#: Of more names than that the first two are said.
_MOST_NAMES = 3
#: What a term is multiplied by in a sum of terms.
_FACTOR = re.compile(r"(?:^|[+-] |^-)\d[\d.e+-]* ")
#: Terms of a relation that is written out: it has a number for each but one.
_MOST_RELATED = 5


# Numbers and names.


def number(value: float | None, digits: int = 3) -> str:
    """Rounded to so many digits: ``0.898``, ``1.5e-7``, ``39 900``."""
    if value is None or not isfinite(value):
        return "an unknown number"
    text = f"{value:.{digits}g}"
    if "e" not in text:
        return text
    if 1.0 <= abs(value) < 1e6:
        return _grouped(float(text))
    mantissa, exponent = text.split("e")
    return f"{mantissa}e{int(exponent)}"


def count(value: float | None) -> str:
    """What is counted: ``100``, ``12 345``, ``1.38 million``."""
    if value is None or not isfinite(value) or value >= 1e12:
        return number(value)
    for scale, word in ((1e9, "billion"), (1e6, "million")):
        if value >= scale:
            return f"{number(value / scale)} {word}"
    return _grouped(value) if value == round(value) else number(value)


def steps(value: float | None) -> str:
    """``1 step``, ``1.38 million steps``."""
    return _counted(value, "step")


def name(text: str) -> str:
    """A column's name, cut in the middle where it is long."""
    if len(text) <= _LONGEST_NAME:
        return text
    last = _LONGEST_NAME // 3
    return f"{text[: _LONGEST_NAME - 1 - last]}…{text[-last:]}"


def listed(names: Sequence[str]) -> str:
    """``x1``, ``x1 and x2``, ``x1, x2 and x3``, ``x1, x2 and 8 others``."""
    short = [name(text) for text in names]
    if len(short) > _MOST_NAMES:
        short = [*short[:2], f"{len(names) - 2} others"]
    return short[0] if len(short) == 1 else f"{', '.join(short[:-1])} and {short[-1]}"


def direction(text: str, terms: Sequence[str]) -> str:
    """A direction by its name; or by the terms in it, the largest part first, where it is long or they are many.

    The name holds one number at most.
    """
    if len(text) <= _LONGEST_SUM and len(terms) <= _MOST_NAMES and len(_FACTOR.findall(text)) <= 1:
        return text
    return f"a sum of {listed(terms)}"


def relation(text: str, terms: Sequence[str]) -> str:
    """What columns have to do with each other: ``x3 = 2 x1 - x2 + 1``, or only which they are where they are many."""
    if len(text) <= _LONGEST_SUM and len(terms) <= _MOST_RELATED:
        return text
    return f"{listed(terms)} explain each other exactly"


def _grouped(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ")


def _counted(value: float | None, noun: str) -> str:
    return f"{count(value)} {noun}" if value == 1.0 else f"{count(value)} {noun}s"


def _instead(without: float | None, gap: float) -> str:
    return f"as many steps would leave a gap of {number(without)} instead of {number(gap)}."


# Agreement.


def agrees(numbers: Numbers) -> str:
    """`agrees`."""
    digits, gap = numbers["digits"], numbers["gap"]
    if gap == 0.0:
        return "The fit agrees with the reference to the last digit."
    return f"The fit agrees with the reference: {number(digits, 2)} digits match, and the gap is {number(gap)}."


# The learning rate.


def learning_rate_above_best(numbers: Numbers, gap: float) -> str:
    """`learning_rate_too_large` of one that is stable."""
    rate, best = (number(numbers[of]) for of in ("learning_rate", "best_learning_rate"))
    return f"The learning rate {rate} is large for these data: with {best} {_instead(numbers['gap_with_best'], gap)}"


def learning_rate_too_large(numbers: Numbers, *, diverged: bool) -> str:
    """`learning_rate_too_large`."""
    rate = f"The learning rate {number(numbers['learning_rate'])}"
    left = f"the numbers left the range of the precision after {steps(numbers['steps'])}"
    if numbers["largest_stable_learning_rate"] is None:
        return f"{rate} is too large: {left}."
    largest, best = (_from_below(numbers[of]) for of in ("largest_stable_learning_rate", "best_learning_rate"))
    known = f"Gaps shrink below {largest}, and quickest with {best}."
    return f"{rate} is too large: {left if diverged else 'gaps grow from step to step'}. {known}"


def learning_rate_too_small(numbers: Numbers, gap: float) -> str:
    """`learning_rate_too_small`."""
    rate, best = (number(numbers[of]) for of in ("learning_rate", "best_learning_rate"))
    return f"The learning rate {rate} is small for these data: with {best} {_instead(numbers['gap_with_best'], gap)}"


def learning_rate_schedule(numbers: Numbers, gap: float) -> str:
    """`learning_rate_schedule`."""
    first, last = (number(numbers[of]) for of in ("first_learning_rate", "last_learning_rate"))
    return (
        f"The schedule takes the learning rate from {first} down to {last} before the fit has arrived. With the first "
        f"rate throughout {_instead(numbers['gap_without'], gap)}"
    )


def numbers_out_of_range(numbers: Numbers, precision: str) -> str:
    """`numbers_out_of_range`."""
    return (
        f"After {steps(numbers['steps'])} a number left the range of {precision}, which ends at "
        f"{number(numbers['largest'])}, though the learning rate is small enough: data or start are too large."
    )


# Options of the optimizer.


def weight_decay(asked: Numbers, without: float, gap: float) -> str:
    """`weight_decay`."""
    decay = number(asked["weight_decay"])
    return f"A weight decay of {decay} draws all parameters towards 0 at each step. Without it {_instead(without, gap)}"


def optimizer_penalty(_: Numbers, without: float, gap: float) -> str:
    """`optimizer_penalty`."""
    return (
        "FTRL's own penalties lead away from the reference, which has none. Without them "
        f"{_instead(without, gap)}"
    )  # fmt: skip


def gradient_clipping(asked: Numbers, without: float, gap: float) -> str:
    """`gradient_clipping`."""
    return f"Gradients are cut to {number(asked['limit'])}. Without that {_instead(without, gap)}"


def running_mean(asked: Numbers, without: float, gap: float) -> str:
    """`running_mean`."""
    momentum = number(asked["ema_momentum"])
    return (
        f"The answer is a running mean of the parameters (momentum {momentum}), which lags behind them. They "
        f"themselves have a gap of {number(without)} instead of {number(gap)}."
    )


#: Of what an option of the optimizer does: the option as asked for, the gap without it and the gap.
OPTIONS: Mapping[str, Callable[[Numbers, float, float], str]] = {
    "weight_decay": weight_decay,
    "optimizer_penalty": optimizer_penalty,
    "gradient_clipping": gradient_clipping,
    "running_mean": running_mean,
}


# The columns.


def not_identified(numbers: Numbers, targets: int, columns: str | None, *, penalised: bool) -> str:
    """`not_identified`; `columns` is the first relation between them."""
    rank, parameters, rows = (numbers[of] or 0.0 for of in ("rank", "parameters", "rows"))
    choice = "the penalty decides about the rest" if penalised else "descent keeps the rest of its start"
    if rows < parameters or columns is None:
        each = " of each target" if targets > 1 else ""
        found = f"{_counted(rows, 'row')} determine{'s' if rows == 1.0 else ''} {count(rank)} of {count(parameters)}"
        more = _counted(parameters - rank, "more independent row")
        return (
            f"{found} parameters{each}: many weights fit equally well, and {choice}. {more} would determine them all."
        )
    also = ", among other relations" if parameters > rank + 1.0 else ""
    return f"{columns} on every row{also}: many weights fit equally well, and {choice}."


def features_unscaled(numbers: Numbers, terms: Sequence[str], flat: str | None, rate: float, gap: float) -> str:
    """`features_unscaled`; `flat` is the direction along which scaling makes the loss steeper, None where all are."""
    before, after = (number(numbers[of]) for of in ("condition_number", "condition_number_scaled"))
    scaled = numbers["gap_scaled"]
    then = f"As many steps would then leave a gap of {number(scaled)}"
    if numbers["learning_rate_scaled"] != rate:
        then += f", at a learning rate of {number(numbers['learning_rate_scaled'])}."
    else:
        then += "." if _FACTOR.search(flat or "") else f" instead of {number(gap)}."
    if flat is None:
        return f"The size of {listed(terms)} does not suit the learning rate, and features can be scaled. {then}"
    return (
        f"Along {flat} the loss is nearly flat beside the rest: the condition number is {before}, and {after} "
        f"with the features scaled. {then}"
    )


def collinear_features(numbers: Numbers, terms: Sequence[str]) -> str:
    """`collinear_features`."""
    index, half_life = numbers["condition_index"], numbers["half_life_steps"]
    if index is None:
        return (
            f"{listed(terms)} explain each other exactly: along what makes no difference to any row the loss is flat, "
            "and no number of steps closes the gap."
        )
    slow = "" if half_life is None else f", and the gap halves only every {_rounded(half_life)}"
    return (
        f"{listed(terms)} nearly explain each other (condition index {number(index)}): along what tells them apart the "
        f"loss is nearly flat{slow}."
    )


# Batches and precision.


def fixed_batch_order_bias(numbers: Numbers) -> str:
    """`fixed_batch_order_bias`."""
    bias, size = number(numbers["bias"]), numbers["batch_size"]
    return (
        f"Batches of {_counted(size, 'row')} that come in the same order in every epoch lead to a place {bias} away "
        "from the reference, however many steps are taken."
    )


def gap_carried_by_batches(numbers: Numbers, slowest: str | None, gap: float) -> str:
    """`gap_carried_by_batches`; `slowest` is the direction with the largest gap."""
    size, half_life = _counted(numbers["batch_size"], "row"), numbers["half_life_steps"]
    into = slowest or "directions where it hardly fades"
    fades = "" if half_life is None or _FACTOR.search(into) else f", where it halves only every {_rounded(half_life)}"
    return f"Batches of {size} carry a gap into {into}{fades}. By all rows {_instead(numbers['gap_by_all_rows'], gap)}"


def minibatch_noise_floor(numbers: Numbers) -> str:
    """`minibatch_noise_floor`."""
    sd, limit = numbers["sd"], numbers["sd_in_the_limit"]
    size = f"Shuffled batches of {_counted(numbers['batch_size'], 'row')}"
    lasting = ""
    if limit is not None and sd is not None:
        lasting = ", however many steps are taken" if limit > 0.5 * sd else ", and more steps lessen that"
    return (
        f"{size} move the fit about: it ends {number(sd)} (one standard deviation) from its mean end{lasting}. The "
        f"mean end is {number(numbers['gap_of_mean'])} from the reference."
    )


_OPTIMIZERS = {
    "rmsprop": "RMSprop",
    "adam": "Adam",
    "adamw": "AdamW",
    "adamax": "Adamax",
    "nadam": "Nadam",
    "adagrad": "Adagrad",
    "adadelta": "Adadelta",
    "lion": "Lion",
    "ftrl": "FTRL",
}


def adaptive_step_floor(numbers: Numbers, optimizer: str, gap: float) -> str:
    """`adaptive_step_floor`."""
    rate, tenth = (number(numbers[of]) for of in ("learning_rate", "gap_with_tenth"))
    round_it = f"do not shrink as the gradient does: at the learning rate {rate} it goes round the reference"
    come = f"With a tenth of that rate from here on it comes to a gap of {tenth} instead of {number(gap)}"
    return f"The steps of {_OPTIMIZERS[optimizer]} {round_it}. {come}."


def precision_floor(numbers: Numbers, precision: str, agreement: float, gap: float) -> str:
    """`float32_floor` and `float64_floor`."""
    lowest, exact = numbers["floor"] or 0.0, number(numbers["gap_in_exact_arithmetic"])
    first = f"The gap cannot be brought below {number(lowest)} in {precision} here"
    if agreement < lowest:
        first = f"{number(agreement)} cannot be reached in {precision} here: the floor is {number(lowest)}"
    return f"{first}. Without rounding, the same steps would leave a gap of {exact} instead of {number(gap)}."


# How far it has come.

_ENDED_BY: Mapping[OutcomeKind, str] = {
    "converged": "A stop rule",
    "time_limit": "The time limit",
    "cancelled": "A cancel",
}


def stopped_early(numbers: Numbers, gap: float, kind: OutcomeKind) -> str:
    """`stopped_early`."""
    taken, asked = (count(numbers[of]) for of in ("steps", "steps_asked"))
    left = f"{number(numbers['gap_after_all'])} instead of {number(gap)}"
    return f"{_ENDED_BY[kind]} ended it after {taken} of {asked} steps: all of them would have left a gap of {left}."


def too_few_steps(numbers: Numbers, slowest: str | None, gap: float, *, followed: bool) -> str:
    """`too_few_steps`; `slowest` has the largest gap, and `followed` is whether more steps were looked at."""
    taken, half_life = numbers["steps"] or 0.0, numbers["half_life_steps"]
    first = f"{steps(taken)} {'is' if taken == 1.0 else 'are'} too few"
    if half_life is not None:
        only = " only" if half_life > taken else ""
        first += f": along {slowest} the gap halves{only} every {_rounded(half_life)}"
    needed = [
        f"{count(_from_above(value))} until {what}"
        for value, what in (
            (numbers["steps_needed"], "the whole gap is a thousandth of the start's"),
            (numbers["steps_to_agree"], "the fit agrees"),
        )
        if value is not None and value > taken
    ]
    if needed and not followed:
        told = needed[:1] if _FACTOR.search(slowest or "") else needed
        return f"{first}. It takes {', and '.join(told)}."
    more = "Ten times as many" if followed else "More of them"
    return f"{first}. {more} would leave a gap of {number(numbers['gap_with_more'])} instead of {number(gap)}."


def start_remembered(numbers: Numbers, along: str, others: int, *, flat: bool) -> str:
    """`start_remembered`; `others` is how many other directions have kept at least half."""
    left, gap = numbers["left"] or 0.0, number(numbers["gap_at_start"])
    still = "still where it started" if left > 0.9 else "still nearer to its start than to the reference"
    never = "which no number of steps closes" if flat else f"which halves every {_rounded(numbers['half_life_steps'])}"
    slow = f", {never}" if flat or numbers["half_life_steps"] is not None else ""
    which = "others" if _FACTOR.search(along) else _counted(float(others), "other direction")
    more = f" At least half is left along {which} too." if others else ""
    return f"Along {along} the fit is {still}: {100.0 * left:.4g} % of a gap of {gap} is left{slow}.{more}"


def start_without_gap(numbers: Numbers, along: str) -> str:
    """`start_remembered` of a start that was lucky."""
    half_life = _rounded(numbers["half_life_steps"])
    return f"The start had no gap along {along}, which halves only every {half_life}: another start would keep its own."


def unexplained(numbers: Numbers) -> str:
    """`unexplained`."""
    gap = number(numbers["gap"])
    return f"What keeps the fit {gap} from the reference could not be computed in the time that there is for it."


# What is seen.


def loss_is_before_update(numbers: Numbers) -> str:
    """`loss_is_before_update`."""
    epoch, batch, loss = (number(numbers[of], 6) for of in ("epoch_loss", "batch_loss", "loss"))
    if epoch == batch:
        return f"Keras prints the loss from before the last update, {epoch}. The loss of the final weights is {loss}."
    return (
        f"Keras prints losses from before each update: {epoch} as the mean of the last epoch, {batch} for its last "
        f"batch. The loss of the final weights on all rows is {loss}."
    )


_PAIRS = (
    "With predictions of shape (n, 1) and targets of shape (n,) every prediction is compared with every target of its "
    "batch, and the fit goes to their mean"
)


def target_shape_broadcast(ends: Sequence[tuple[str, float, float]]) -> str:
    """`target_shape_broadcast`; terms, each with where it would have ended, and where it did."""
    said = [f"{name(term)} at {number(mistaken)} instead of {number(end)}" for term, mistaken, end in ends]
    return f"{_PAIRS}: it would end with {' and '.join(said)}."


def broadcast_of_one_row() -> str:
    """The same where it makes no difference."""
    return f"{_PAIRS}. With batches of 1 row that is the same."


def broadcast_not_computed() -> str:
    """The same where it could not be computed."""
    return f"{_PAIRS}. Where that ends could not be computed in the time that there is for it."


def _from_above(value: float) -> float:
    """Three digits of a number of steps, none too few."""
    unit = 10.0 ** max(floor(log10(value)) - 2, 0)
    return ceil(value / unit) * unit


def _from_below(value: float | None) -> str:
    """Three digits of a number that is only good below itself."""
    if value is None or value == 0.0:
        return number(value)
    unit = 10.0 ** (floor(log10(abs(value))) - 2)
    return number(floor(value / unit * (1.0 + 1e-12)) * unit)


def _rounded(half_life: float | None) -> str:
    """Steps that are no whole number."""
    value = None if half_life is None else float(f"{half_life:.3g}")
    return steps(value)
