"""The causes that are known by a code: what each one means, how its share is computed, and which numbers it gives.

`docs/causes.md` and the service's catalogue say what stands here. Of causes with the same share of the gap the one that
stands first here comes first: what the others follow from.
"""

from collections.abc import Mapping
from dataclasses import dataclass

#: Of the gap; a cause that less would be gone without is not said.
LEAST_SHARE = 0.01
#: A fit agrees with its reference where the gap between them is no more than this times the reference's own size.
AGREEMENT = 1e-6


@dataclass(frozen=True)
class Kind:
    """A cause as it is documented.

    Attributes
    ----------
    meaning, share
        What it says, and how much of the gap is put down to it.
    numbers
        By their names. "gap" is the Euclidean distance of coefficients to the reference in the user's units where
        nothing else is said, and "(none)" is said of what is None.
    each_term
        What a number named ``"with the mistake: <term>"`` is, for kinds that have one for every term.
    """

    meaning: str
    share: str
    numbers: Mapping[str, str]
    each_term: str | None = None


_STEPS = "Steps that were taken, or are to be."
_RATE = "The learning rate that was asked for; of a schedule, that of the first step."
_FREE = "0: it explains what is seen, and the gap would be the same without it."


def _without(what: str) -> str:
    return f"1 - the gap without it / the gap, the gap without it being that of {what}."


CAUSES: Mapping[str, Kind] = {
    "agrees": Kind(
        "The fit is where the reference is: the gap is at most a millionth of the reference's size, or "
        "a millionth where that is 0.",
        "0: there is no gap to share.",
        {
            "gap": "The gap.",
            "digits": "The least number of matching digits of a coefficient that is at least a thousandth of its "
            "target's largest one.",
        },
    ),
    "learning_rate_too_large": Kind(
        "Gaps grow from step to step, because the learning rate is above the largest stable one; or it is stable, and "
        "the best one, which is smaller, ends nearer in as many steps.",
        "1 where the descent diverged; else " + _without("as many steps with the best learning rate"),
        {
            "learning_rate": _RATE,
            "largest_stable_learning_rate": "Below it gaps shrink (none: no closed form says it).",
            "best_learning_rate": "With it the slowest gap shrinks quickest (none: no closed form says it).",
            "gap_with_best": "The gap after as many steps with that one (none: it is no smaller, or not known).",
            "steps": "Steps that were taken, or are to be; where it diverged, up to the last finite one.",
        },
    ),
    "numbers_out_of_range": Kind(
        "A step met a number beyond what the precision can hold, though the learning rate is below the largest "
        "stable one: the data, the start or the targets are too large for their squares.",
        "1: without those numbers there is no such end.",
        {"steps": "Steps up to the last finite one.", "largest": "The largest size of a number that can be held."},
    ),
    "not_identified": Kind(
        "The rows determine fewer directions than there are parameters. Along the others the loss is flat: descent "
        "does not move there, and the reference is the solution of least norm among many that fit as well.",
        "1 - the gap without the part of it that lies along flat directions / the gap. 0 where nothing does; it is "
        "said all the same.",
        {
            "parameters": "Parameters for each target.",
            "rank": "How many directions the rows determine: as many rows are independent.",
            "rows": "Rows with a weight above 0.",
            "gap": "The gap's part along directions in which the loss is flat.",
        },
    ),
    "weight_decay": Kind(
        "The optimizer lessens all parameters at each step (AdamW does unless it is told not to): it leads to "
        "somewhere else than the reference.",
        _without("as many steps without the decay"),
        {"weight_decay": "The share, times the learning rate.", "gap_without": "The gap without the decay."},
    ),
    "optimizer_penalty": Kind(
        "The optimizer has a penalty of its own (FTRL's l1, l2 or shrinkage): it leads to somewhere else than the "
        "reference, which has none.",
        _without("as many steps with those strengths 0"),
        {
            "l1_regularization_strength": "As asked for.",
            "l2_regularization_strength": "As asked for.",
            "l2_shrinkage_regularization_strength": "As asked for.",
            "gap_without": "The gap without the penalties.",
        },
    ),
    "gradient_clipping": Kind(
        "Gradients longer than a limit are cut, which makes steps shorter, and moves the end where batches are cut "
        "differently.",
        _without("as many steps without clipping"),
        {"limit": "The clipnorm, clipvalue or global_clipnorm.", "gap_without": "The gap without clipping."},
    ),
    "running_mean": Kind(
        "The answer is a running mean of the parameters (use_ema), which lags behind them.",
        _without("the parameters themselves after as many steps"),
        {"ema_momentum": "As asked for.", "gap_without": "The gap of the parameters themselves."},
    ),
    "learning_rate_schedule": Kind(
        "The schedule brings the learning rate down before the descent has arrived.",
        _without("as many steps with the rate of the first one"),
        {
            "first_learning_rate": "That of the first step.",
            "last_learning_rate": "That of the last step.",
            "gap_without": "The gap with the first rate throughout.",
        },
    ),
    "features_unscaled": Kind(
        "The columns of the design differ in size, or lie far from 0, so that the loss is steep along some and nearly "
        "flat along others, and no learning rate suits both. Standardised columns (or, without an intercept, such "
        "with a largest size of 1) end nearer in as many steps.",
        _without("as many steps with scaled features, at the learning rate asked for")
        + " Or (the gap with the best learning rate - that of scaled features with their best one) / the gap, where "
        "that is more. At most the share of the gap's part along directions in which the loss is not flat; and said "
        "only where scaling lessens the condition number, or changes the largest eigenvalue, ten times or more.",
        {
            "condition_number": "Of the Hessian in the units that descent runs in: its largest eigenvalue over the "
            "least that is not 0.",
            "condition_number_scaled": "The same with the features scaled.",
            "learning_rate_scaled": "The learning rate that the scaled fit is computed with.",
            "gap_scaled": "The gap after as many steps with the features scaled.",
        },
    ),
    "collinear_features": Kind(
        "Columns nearly explain each other, or do: by Belsley, Kuh and Welsch (1980), a condition index of at least "
        "30 that at least two features have a variance proportion of at least 0.5 in. Along what hardly tells them "
        "apart the loss is nearly flat, scaled or not.",
        "1 - the gap without the part of it that lies along the slow or flat directions of those columns / the gap.",
        {
            "condition_index": "The largest one (none: they explain each other exactly).",
            "half_life_steps": "Steps in which the gap along the slowest of those directions halves (none: it never "
            "does).",
            "gap": "The gap's part along those directions.",
        },
    ),
    "learning_rate_too_small": Kind(
        "A larger learning rate ends nearer in as many steps.",
        _without(
            "as many steps with the best learning rate; where no closed form says it, with the best of 10, 100 and "
            "1000 times the rate"
        ),
        {
            "learning_rate": _RATE,
            "best_learning_rate": "With it the slowest gap shrinks quickest; or the best that was tried.",
            "gap_with_best": "The gap after as many steps with that one.",
            "steps_needed": "With that one, until the gap over all parameters in the units descent runs in is a "
            "thousandth of the start's (none: never, or nobody can say).",
        },
    ),
    "fixed_batch_order_bias": Kind(
        "Batches that come in the same order in every epoch pull the descent to a place of their own, which is not "
        "the reference, however long it runs.",
        "1 - the gap without the distance between that place and the reference / the gap; flat directions apart.",
        {"bias": "That distance, in the user's units.", "batch_size": "Rows of a batch."},
    ),
    "gap_carried_by_batches": Kind(
        "On the way, each batch of a fixed order moves the fit along directions that all rows together would leave "
        "alone: gaps are carried from one into another, where they fade slowly. So fits by batches of another size, or "
        "in another order, end elsewhere.",
        "1 - (the gap after as many steps by all rows + the bias of the fixed order) / the gap.",
        {
            "batch_size": "Rows of a batch.",
            "half_life_steps": "Of the direction with the largest gap in the end: steps in which it halves (none: it "
            "is no constant).",
            "gap_by_all_rows": "The gap after as many steps by all rows.",
        },
    ),
    "minibatch_noise_floor": Kind(
        "Shuffled batches keep the parameters moving about: one end differs from another by chance.",
        "1 - the gap of the mean over all row orders / the gap.",
        {
            "sd": "Of the end: the root of the sum of all coefficients' variances over row orders.",
            "sd_in_the_limit": "The same where the descent goes on for ever (none: it leads nowhere).",
            "gap_of_mean": "The gap of the mean end.",
            "batch_size": "Rows of a batch.",
        },
    ),
    "adaptive_step_floor": Kind(
        "The optimizer divides its steps by the size of the gradient, so they do not shrink as the gradient does: it "
        "goes round the reference at a distance that the learning rate sets.",
        "1 - the gap with a tenth of the learning rate from here on / the gap.",
        {"learning_rate": _RATE, "gap_with_tenth": "The gap after as many steps more with a tenth of the rate."},
    ),
    "float32_floor": Kind(
        "The gap is at the rounding of single precision: steps that would bring the parameters nearer are rounded "
        "away.",
        "1 - the gap in exact arithmetic / the gap, but no more than floor / gap.",
        {
            "floor": "Below which the gap cannot be brought in this precision.",
            "gap_in_exact_arithmetic": "The gap that the same steps without rounding would leave.",
        },
    ),
    "float64_floor": Kind(
        "The same for double precision, which shows where the data are badly conditioned.",
        "1 - the gap in exact arithmetic / the gap, but no more than floor / gap.",
        {
            "floor": "Below which the gap cannot be brought in this precision.",
            "gap_in_exact_arithmetic": "The gap that the same steps without rounding would leave.",
        },
    ),
    "stopped_early": Kind(
        "A stop rule, a time limit or a cancel ended it before all the steps that were asked for.",
        _without("all steps that were asked for"),
        {
            "steps": "Steps that were taken.",
            "steps_asked": "Steps that were asked for.",
            "gap_after_all": "The gap that would have been left after them.",
        },
    ),
    "too_few_steps": Kind(
        "The descent is on its way, and there are not enough steps for it to arrive.",
        _without("infinitely many steps of the same kind; for adaptive optimizers, ten times as many"),
        {
            "steps": _STEPS,
            "half_life_steps": "Of the direction with the largest gap in the end: steps in which it halves (none: it "
            "is no constant).",
            "steps_needed": "Until the gap over all parameters in the units descent runs in is a thousandth of the "
            "start's (none: never, or nobody can say).",
            "steps_to_agree": "Until the gap is a millionth of the reference's size (none: never, or nobody can say).",
            "gap_with_more": "The gap after infinitely many, or ten times as many.",
        },
    ),
    "start_remembered": Kind(
        "Along some directions the fit is where it started, or nearer to its start than to the reference: the loss "
        "is flat there, or so nearly flat that hardly anything has moved. Starts that differ end differently; one "
        "that has no gap there by luck has none in the end.",
        "1 - the gap without the part of it along directions that have kept at least half of the start's gap / the "
        "gap. 0 where a start had no gap along a direction that keeps it.",
        {
            "gap_at_start": "Along the direction that has kept the largest gap (or would keep it), in the units "
            "descent runs in.",
            "gap_at_end": "The same in the end.",
            "left": "What share of the start's gap is left (none: there was none).",
            "half_life_steps": "Steps in which a gap there halves (none: it never does).",
        },
    ),
    "unexplained": Kind(
        "What keeps the fit from the reference could not be computed in the time that there is for it.",
        "What the other causes leave.",
        {"gap": "The gap."},
    ),
    "loss_is_before_update": Kind(
        "The loss that Keras prints for a batch is that before its update, and the loss of an epoch is the mean of "
        "those: it belongs to no one set of weights, and is not the loss of the final ones.",
        _FREE,
        {
            "epoch_loss": "As printed for the last epoch.",
            "batch_loss": "As printed for the last batch.",
            "loss": "Of the final weights, on all rows.",
        },
    ),
    "target_shape_broadcast": Kind(
        "What the same request would have come to, had predictions of shape (n, 1) met targets of shape (n,): every "
        "prediction is compared with every target of its batch, and the fit goes to the mean of the targets. Asked "
        'for by "explain": ["broadcast"].',
        _FREE,
        {
            "loss": "Of that end on all rows, shapes right (none: it could not be computed).",
            "printed_loss": "The loss that the mistake prints there, all rows being one batch (none: likewise).",
        },
        each_term="Where that coefficient would have ended (none: it could not be computed).",
    ),
}

#: By which causes of the same share are put in order.
RANK: Mapping[str, int] = {code: place for place, code in enumerate(CAUSES)}
