"""Options of the optimizer that lead it, or its answer, away from the reference."""

from service.fitting.descent.optimizers import Ftrl
from service.fitting.diagnosis import words
from service.fitting.diagnosis.answer import Cause
from service.fitting.diagnosis.causes.evidence import Evidence, cause, counts

_CLIPPINGS = ("clipnorm", "clipvalue", "global_clipnorm")
_STRENGTHS = (
    "l1_regularization_strength",
    "l2_regularization_strength",
    "l2_shrinkage_regularization_strength",
)


def weight_decay(evidence: Evidence) -> Cause | None:
    """`weight_decay`: all parameters are drawn to 0."""
    decay = evidence.setting.solver.optimizer.weight_decay
    if not decay:
        return None
    return _without(evidence, "weight_decay", {"weight_decay": decay}, weight_decay=None)


def penalty(evidence: Evidence) -> Cause | None:
    """`optimizer_penalty`: FTRL's own."""
    optimizer = evidence.setting.solver.optimizer
    if not isinstance(optimizer, Ftrl):
        return None
    strengths = {name: getattr(optimizer, name) for name in _STRENGTHS}
    if not any(strengths.values()):
        return None
    return _without(evidence, "optimizer_penalty", strengths, **dict.fromkeys(_STRENGTHS, 0.0))


def clipping(evidence: Evidence) -> Cause | None:
    """`gradient_clipping`."""
    optimizer = evidence.setting.solver.optimizer
    limits = [limit for name in _CLIPPINGS if (limit := getattr(optimizer, name)) is not None]
    if not limits:
        return None
    return _without(evidence, "gradient_clipping", {"limit": limits[0]}, **dict.fromkeys(_CLIPPINGS))


def running_mean(evidence: Evidence) -> Cause | None:
    """`running_mean`: the answer lags behind the parameters."""
    optimizer = evidence.setting.solver.optimizer
    if not optimizer.use_ema:
        return None
    return _without(evidence, "running_mean", {"ema_momentum": optimizer.ema_momentum}, use_ema=False)


def _without(evidence: Evidence, code: str, asked: dict[str, float], **options: object) -> Cause | None:
    """What the same steps come to with other options of the optimizer."""
    gap = evidence.gap_of(evidence.with_optimizer(**options))
    share = evidence.share(gap)
    if gap is None or not counts(share):
        return None
    message = words.OPTIONS[code](asked, gap, evidence.whole)
    return cause(code, message, {**asked, "gap_without": gap}, share)
