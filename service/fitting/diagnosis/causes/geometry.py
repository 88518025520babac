"""The geometry of the columns: sizes that differ, columns that explain each other, fewer rows than parameters."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from service.fitting.arrays import BoolArray, FloatArray, length
from service.fitting.descent.setting import Setting
from service.fitting.diagnosis import words
from service.fitting.diagnosis.answer import Cause
from service.fitting.diagnosis.causes.evidence import Evidence, cause, counts, half_lives, known
from service.fitting.diagnosis.registry import LEAST_SHARE
from service.fitting.inference.collinearity import conditioning
from service.fitting.model import INTERCEPT
from service.fitting.scaling import Scaling, ScalingKind

#: Belsley, Kuh and Welsch 1980, section 3.4: "strong" dependencies begin there.
_STRONG_INDEX, _STRONG_PROPORTION = 30.0, 0.5
#: Times that the condition number has to fall, or the largest eigenvalue to change, for scaling to be what matters.
_MUCH = 10.0


def not_identified(evidence: Evidence) -> Cause | None:
    """`not_identified`, whether or not it costs anything."""
    least = evidence.setting.found.unpenalised
    if least.is_full_rank:
        return None
    part = evidence.flat_part
    share = 0.0 if evidence.agrees else evidence.share_of(part)
    numbers = known(parameters=len(least.parameters), rank=least.rank, rows=least.rows_used, gap=length(part))
    model = evidence.setting.problem.model
    unknown = [term for term, found in zip(model.terms, least.identified, strict=True) if not found]
    columns = next((words.relation(of.name, of.terms) for of in least.null_directions(model.terms)), None)
    message = words.not_identified(numbers, len(model.targets), columns, penalised=evidence.setting.found.is_penalised)
    return cause("not_identified", message, numbers, share, unknown)


def unscaled(evidence: Evidence) -> Cause | None:
    """`features_unscaled`: scaled ones would end nearer in as many steps, because of what they do to the loss."""
    scaled = _scaled(evidence)
    if scaled is None:
        return None
    before, after = condition_number(evidence.setting), condition_number(scaled)
    flat = before >= _MUCH * after
    sizes = sorted((_largest(scaled), _largest(evidence.setting)))
    if not (flat or sizes[1] >= _MUCH * sizes[0] > 0.0):
        return None
    share, rate, gap = max(_scaled_ends(evidence, scaled), default=(0.0, 0.0, 0.0))
    # Nothing that has to do with steps closes a gap where the loss is flat.
    share = min(share, evidence.share_of(evidence.steep_part(evidence.away)))
    if not counts(share):
        return None
    numbers = known(condition_number=before, condition_number_scaled=after, learning_rate_scaled=rate, gap_scaled=gap)
    place = _flattest(evidence)
    named = evidence.setting.spectrum.named_terms(place)
    terms = tuple(term for term in named if term != INTERCEPT) or evidence.setting.problem.model.powers
    along = words.direction(evidence.setting.spectrum.names[place], named) if flat else None
    message = words.features_unscaled(numbers, terms, along, evidence.first_rate, evidence.whole)
    return cause("features_unscaled", message, numbers, share, terms)


def _scaled(evidence: Evidence) -> Setting | None:
    """The setting with its features scaled, and as many steps; None where they are, or cannot be."""
    problem = evidence.setting.problem
    if problem.scaling.features != "none" or not problem.model.features or not evidence.setting.spectrum.is_whole:
        return None
    kind: ScalingKind = "standard" if problem.model.intercept else "maxabs"
    return evidence.instead().with_scaling(Scaling(kind, problem.scaling.targets))


def _scaled_ends(evidence: Evidence, scaled: Setting) -> Iterator[tuple[float, float, float]]:
    """Shares, each with a learning rate in scaled units and the gap that it leaves after as many steps.

    That of the rate that was asked for; and where it does not do, of the best rate in these units instead of the best
    one in the others.
    """
    found, asked = evidence.foreseen(scaled), evidence.first_rate
    gap = None if found is None else evidence.gap_at_end(scaled, found)
    if found is None or gap is None:
        return
    yield (share := evidence.share(gap)), asked, gap
    best, unscaled = found.best_learning_rate if share < 1.0 - LEAST_SHARE else None, evidence.gap_with_best_rate
    if best is None or unscaled is None:
        return
    optimizer = replace(scaled.solver.optimizer, learning_rate=best)
    left = evidence.gap_of(scaled.with_solver(replace(scaled.solver, optimizer=optimizer), scaled.ended))
    if left is not None:
        yield evidence.share(evidence.whole - (unscaled - left)), best, left


def _largest(setting: Setting) -> float:
    return float(setting.spectrum.eigenvalues.max(initial=0.0))


def condition_number(setting: Setting) -> float:
    """Of the Hessian in descent's units: its largest eigenvalue over the least that is not 0; 1 where all are."""
    eigenvalues = setting.spectrum.eigenvalues
    positive = eigenvalues[eigenvalues > 0.0]
    return float(positive.max() / positive.min()) if len(positive) else 1.0


def _flattest(evidence: Evidence) -> int:
    """Among directions with an eigenvalue far below the largest one, that of the largest gap; else the least of all."""
    spectrum = evidence.setting.spectrum
    eigenvalues = np.where(spectrum.is_flat, np.inf, spectrum.eigenvalues)
    gaps = np.linalg.norm(spectrum.gaps(evidence.away), axis=1)
    far = _MUCH * eigenvalues <= spectrum.eigenvalues.max()
    return int(np.where(far, gaps, -1.0).argmax() if far.any() else eigenvalues.argmin())


def collinear(evidence: Evidence) -> Cause | None:
    """`collinear_features`: some columns nearly explain each other, and the gap is where they do."""
    least, terms = evidence.setting.found.unpenalised, evidence.setting.problem.model.terms
    if least.rows_used < len(terms):
        return None
    indices, proportions = conditioning(least)
    together = _dependent(indices, proportions, np.array([term != INTERCEPT for term in terms]))
    chosen = _slow(evidence, together)
    share = evidence.share_of(part := evidence.along(chosen)) if chosen.any() else 0.0
    if not counts(share):
        return None
    numbers = known(
        condition_index=np.nanmax(indices) if least.is_full_rank else None,
        half_life_steps=half_lives(evidence.outlook.rates[chosen]).max(),
        gap=length(part),
    )
    named = tuple(term for term, taken in zip(terms, together, strict=True) if taken and term != INTERCEPT)
    return cause("collinear_features", words.collinear_features(numbers, named), numbers, share, named)


def _dependent(indices: FloatArray, proportions: FloatArray, are_features: BoolArray) -> BoolArray:
    """(m,) the columns that strong dependencies hold most of the variance of, two features at least; else none.

    Where there are several strong ones, a column's proportions in them are added (Belsley, Kuh and Welsch 1980,
    section 3.4); a column that others explain exactly has no variance to share.
    """
    strong = np.nan_to_num(indices, nan=np.inf) >= _STRONG_INDEX
    held = np.nan_to_num(proportions[strong].sum(axis=0), nan=1.0) >= _STRONG_PROPORTION
    found: BoolArray = held & (strong.any() and (held & are_features).sum() >= 2)
    return found


def _slow(evidence: Evidence, together: BoolArray) -> BoolArray:
    """(k,) the directions of the spectrum that are mostly of some columns, and slow or flat."""
    spectrum = evidence.setting.spectrum
    mostly = np.square(spectrum.vectors[together]).sum(axis=0) >= 0.5
    slow: BoolArray = mostly & (spectrum.eigenvalues * _STRONG_INDEX**2 <= spectrum.eigenvalues.max(initial=0.0))
    return slow
