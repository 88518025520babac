"""What is left of the start: where the loss is flat, or so nearly flat that little has moved."""

import numpy as np

from service.fitting.arrays import BoolArray, FloatArray, length
from service.fitting.diagnosis import words
from service.fitting.diagnosis.answer import Cause
from service.fitting.diagnosis.causes.evidence import Evidence, cause, counts, half_lives, known
from service.fitting.diagnosis.registry import AGREEMENT

#: Of a gap along a direction: what is still of the start where no more than that has gone.
_HALF = 0.5


def start_remembered(evidence: Evidence) -> Cause | None:
    """`start_remembered`; or that the start had nothing to be remembered, by luck."""
    if evidence.end.kind == "diverged":
        return None
    start, end = _gaps(evidence)
    sizes = np.linalg.norm(start, axis=1)
    kept = (sizes > 0.0) & (np.linalg.norm(end - start, axis=1) <= _HALF * sizes)
    share = 0.0 if evidence.agrees or not kept.any() else evidence.share_of(evidence.along(kept))
    if not counts(share):
        return _lucky(evidence)
    told = _told(evidence, kept)
    numbers = _numbers(evidence, told)
    flat = bool(evidence.setting.spectrum.is_flat[told].all())
    message = words.start_remembered(numbers, _named(evidence, told), int(kept.sum() - told.sum()), flat=flat)
    return cause("start_remembered", message, numbers, share, _terms(evidence, told))


def _told(evidence: Evidence, kept: BoolArray) -> BoolArray:
    """(k,) the one of the largest gap; all flat ones if it is flat, which are no directions of their own."""
    _, end = _gaps(evidence)
    place = int(np.where(kept, np.linalg.norm(end, axis=1), -1.0).argmax())
    flat = evidence.setting.spectrum.is_flat
    return kept & flat if flat[place] else np.arange(len(kept)) == place


def _lucky(evidence: Evidence) -> Cause | None:
    """Along a direction that would keep half of a start's gap, this start had none."""
    spectrum, (start, _) = evidence.setting.spectrum, _gaps(evidence)
    keeps = half_lives(evidence.outlook.rates)
    none = np.linalg.norm(start, axis=1) <= AGREEMENT * length(evidence.setting.optimum.scaled)
    lucky: BoolArray = ~spectrum.is_flat & none & np.isfinite(keeps) & (keeps >= evidence.end.steps)
    if not lucky.any():
        return None
    told: BoolArray = np.arange(len(lucky)) == np.where(lucky, keeps, -1.0).argmax()
    numbers = _numbers(evidence, told) | {"left": None}
    message = words.start_without_gap(numbers, _named(evidence, told))
    return cause("start_remembered", message, numbers, 0.0, _terms(evidence, told))


def _gaps(evidence: Evidence) -> tuple[FloatArray, FloatArray]:
    """(k, q) along each direction, at the start and in the end."""
    setting, spectrum = evidence.setting, evidence.setting.spectrum
    return spectrum.gaps(setting.gap_at_start), spectrum.gaps(evidence.end.scaled - setting.optimum.scaled)


def _numbers(evidence: Evidence, told: BoolArray) -> dict[str, float | None]:
    start, end = (gaps[told] for gaps in _gaps(evidence))
    return known(
        gap_at_start=length(start),
        gap_at_end=length(end),
        left=(start * end).sum() / np.square(start).sum(),
        half_life_steps=half_lives(evidence.outlook.rates[told]).max(),
    )


def _terms(evidence: Evidence, told: BoolArray) -> tuple[str, ...]:
    """The terms in the names of directions, in the order of the model."""
    spectrum = evidence.setting.spectrum
    named = {term for place in np.flatnonzero(told) for term in spectrum.named_terms(int(place))}
    return tuple(term for term in spectrum.terms if term in named)


def _named(evidence: Evidence, told: BoolArray) -> str:
    spectrum, places = evidence.setting.spectrum, np.flatnonzero(told)
    if len(places) > 1:
        return f"{len(places)} directions in which the loss is flat"
    return words.direction(spectrum.names[places[0]], spectrum.named_terms(int(places[0])))
