"""Why a program's answer differs from the reference, in one sentence made of facts that were checked."""

import numpy as np

from service.fitting.others.printed import Omission, Printed, Spectrum
from service.fitting.others.standing import NOTHING_BELOW, Standing
from service.fitting.reference.solved import MOST_DIGITS

#: With so many digits there is nothing to explain.
ENOUGH_DIGITS = 12.0
#: Fitted values that agree so far are called the same.
SAME_FITTED_DIGITS = 8.0
#: Digits by which rounding may exceed a bound's order of magnitude, for the constants the bound leaves out.
MARGIN = 1.0
#: What is left of a column's length after the columns before it are taken out, where it is rounding alone.
ROUNDING_SHARE = 1e-12


def failed(failure: Exception) -> str:
    """What a program that raised is reported with."""
    text = " ".join(str(failure).split())
    return f"Stops with {type(failure).__name__}{': ' + _shortened(text) if text else ''}."


def reason(standing: Standing) -> str:
    """One line."""
    return " ".join(f"{_reason(standing)}{_reported_rank(standing)}".split())


def _reason(standing: Standing) -> str:
    printed, facts = standing.printed, standing.facts
    if not np.isfinite(standing.estimate).all():
        return _overflow(standing)
    if printed.omissions:
        return _left_out(standing)
    if printed.counted < facts.rank:
        return _rank_too_low(standing)
    if printed.counted > facts.rank:
        return _rank_too_high(standing)
    if facts.rank < facts.parameters:
        return _short_rank(standing)
    return _full_rank(standing)


def _overflow(standing: Standing) -> str:
    terms = standing.question.terms
    missing = [term for term, row in zip(terms, standing.estimate, strict=True) if not np.isfinite(row).all()]
    return f"Has no finite number for {_listed(missing)}: its arithmetic leaves the range of float64."


def _agreement(standing: Standing) -> str:
    digits, uncounted = standing.fewest_digits, standing.uncounted_terms
    told = f"{digits:.1f} digits" if digits >= 1.0 else "less than one digit"
    agrees = f"Agrees to {'every digit' if digits >= MOST_DIGITS else told}"
    if not uncounted:
        return agrees
    return f"{agrees} but for {_listed(uncounted)}, whose part in the fitted values is below {NOTHING_BELOW:.0e}"


# R's missing coefficients.


def _left_out(standing: Standing) -> str:
    printed, facts = standing.printed, standing.facts
    if printed.rows == 0:
        return "Leaves every coefficient out (NA): no row has a weight above 0."
    rounding = ROUNDING_SHARE if printed.counted >= facts.rank else 0.0
    return f"Leaves {_omitted(printed, rounding)}; {_beside_omissions(standing, facts.rank)}."


def _omitted(printed: Printed, rounding: float) -> str:
    """Each column with the reason; shares below `rounding` are nothing."""
    zero = [o for o in printed.omissions if o.is_zero]
    rest = [o for o in printed.omissions if not o.is_zero]
    unseen = [o for o in rest if np.isnan(o.share)]
    explained = [o for o in rest if o.share < rounding]
    near = [o for o in rest if o.share >= rounding]
    parts = [
        _omission(zero, "it is 0 in every row", "they are 0 in every row"),
        _omission(
            explained, "it is a combination of the columns before it", "each is a combination of columns before it"
        ),
        _omission(near, *_nearly_explained(near)),
        _omission(unseen, *(_too_few_rows(printed.rows),) * 2),
    ]
    return "; leaves ".join(part for part in parts if part)


def _omission(omissions: list[Omission], why_it: str, why_they: str) -> str:
    if not omissions:
        return ""
    return f"{_listed([o.term for o in omissions])} out (NA): {why_it if len(omissions) == 1 else why_they}"


def _nearly_explained(near: list[Omission]) -> tuple[str, str]:
    share = max((o.share for o in near), default=0.0)
    limit = "less than R's limit of 1e-07"
    return (
        f"only {share:.2g} of its length is left beside the columns before it, {limit}",
        f"at most {share:.2g} of their lengths is left beside the columns before them, {limit}",
    )


def _too_few_rows(rows: int) -> str:
    return f"{rows} row{'s determine' if rows > 1 else ' determines'} no more than {_plural(rows, 'coefficient')}"


def _beside_omissions(standing: Standing, rank: int) -> str:
    if standing.printed.counted < rank:
        return f"the reference tells {'it' if len(standing.printed.omissions) == 1 else 'them'} apart"
    same = standing.digits_of_fitted_values >= SAME_FITTED_DIGITS
    if standing.printed.counted == rank:
        return f"the reference is the solution of least norm{', with the same fitted values' if same else ''}"
    return f"takes the rank for {standing.printed.counted} where it is {rank}"


# Ranks that differ.


def _ranks(standing: Standing) -> str:
    """In the program's terms: the rank of what it takes singular values of."""
    counted, rank, spectrum = standing.printed.counted, standing.facts.rank, standing.printed.spectrum
    if spectrum is None or spectrum.kept == counted:
        return f"Takes the rank for {counted} where it is {rank}"
    return f"Takes the rank of {spectrum.of} for {spectrum.kept} where it is {rank - (counted - spectrum.kept)}"


def _reported_rank(standing: Standing) -> str:
    """A second rank, where the program reports another than it works with."""
    spectrum = standing.printed.spectrum
    if spectrum is None or spectrum.kept == standing.printed.rank:
        return ""
    return f" It reports rank {standing.printed.rank}, by another rule."


def _rank_too_low(standing: Standing) -> str:
    spectrum = standing.printed.spectrum
    if spectrum is None or spectrum.kept == len(spectrum.singular_values) or spectrum.singular_values[0] == 0.0:
        return f"{_ranks(standing)}."
    rule = f"singular values below {spectrum.cutoff:.2g} of the largest count as 0"
    return f"{_ranks(standing)}: {rule}, and {_smallness(spectrum)}."


def _smallness(spectrum: Spectrum) -> str:
    """Which it is: a column so short that a singular value must be small, or columns that nearly depend."""
    largest = float(spectrum.singular_values[0])
    shortest, longest = int(spectrum.sizes.argmin()), int(spectrum.sizes.argmax())
    if spectrum.sizes[shortest] <= spectrum.cutoff * largest:
        times = spectrum.sizes[shortest] / spectrum.sizes[longest]
        return f"column {spectrum.terms[shortest]} is {_ratio(times)} of {spectrum.terms[longest]}'s size"
    return f"the first that it drops is {_ratio(spectrum.singular_values[spectrum.kept] / largest)} of it"


def _rank_too_high(standing: Standing) -> str:
    spectrum = standing.printed.spectrum
    if spectrum is None or spectrum.kept == 0:
        return f"{_ranks(standing)}."
    if spectrum.rounding:
        return f"{_ranks(standing)}: what rounding leaves of {_listed(list(spectrum.rounding))} counts as data."
    share = _ratio(float(spectrum.singular_values[spectrum.kept - 1] / spectrum.singular_values[0]))
    return f"{_ranks(standing)}: a singular value {share} of the largest, rounding to the reference, counts."


# The same rank.


def _short_rank(standing: Standing) -> str:
    digits = standing.fewest_digits
    if digits >= ENOUGH_DIGITS:
        return f"{_agreement(standing)}: of many solutions it gives the one of least norm, too."
    if not standing.digits_of_fitted_values >= SAME_FITTED_DIGITS:
        return f"{_agreement(standing)}; its fitted values differ, too."
    if _centres(standing) and standing.question.terms[0] in standing.facts.not_identified:
        return "Same fitted values, another member of the solution set: it keeps the intercept out of the norm."
    if digits < 1.0:
        return "Same fitted values, another member of the solution set."
    return f"{_agreement(standing)}, its fitted values to {standing.digits_of_fitted_values:.1f}."


def _full_rank(standing: Standing) -> str:
    digits = standing.fewest_digits
    if digits >= ENOUGH_DIGITS:
        return f"{_agreement(standing)}."
    return f"{_agreement(standing)}{_loss(standing, MOST_DIGITS - digits)}."


def _loss(standing: Standing, lost: float) -> str:
    """What accounts for the lost digits: the first of the terms of the bound that is large enough.

    The relative error of a backward stable solution is about eps (K / cos t + K^2 tan t) in norm, with the condition
    number K and the angle t between targets and fitted values (Golub and Van Loan, 4th ed., section 5.3.7), and for a
    single coefficient more by as much as its part in the fitted values is smaller.
    """
    condition, of = _condition(standing)
    tangent, worst = standing.tangent, standing.worst_term
    about = f": about {lost:.0f} are lost to the condition number {condition:.2g} of {of}"
    first = np.log10(condition) + MARGIN
    if lost <= first:
        return f"{about}{_at_one_size(standing, condition)}, without refinement"
    in_norm = first + max(0.0, np.log10(tangent))
    if lost <= in_norm:
        return f": about {lost:.0f} are lost because the residuals are {tangent:.2g} times the fitted values"
    in_norm = max(in_norm, first + np.log10(condition) + np.log10(tangent))
    if lost <= in_norm:
        return f"{about}, which counts twice because the residuals are {tangent:.2g} times the fitted values"
    number = f"; the condition number of {of} is {condition:.2g}"
    if lost <= in_norm + np.log10(standing.smallness_of_worst):
        part = 1.0 / standing.smallness_of_worst
        return f", fewest for {worst}, whose part in the fitted values is {part:.2g} of the largest{number}"
    return f", fewest for {worst}{number}"


def _condition(standing: Standing) -> tuple[float, str]:
    """The one that bounds the program's error: singular values feel the columns' sizes, Householder QR does not."""
    spectrum = standing.printed.spectrum
    if spectrum is None:
        return standing.facts.condition_number, "the design"
    s = spectrum.singular_values
    return (float(s[0] / s[-1]) if s.size else 1.0), spectrum.of


def _at_one_size(standing: Standing, condition: float) -> str:
    """What the condition number could be, where the columns' sizes make most of it."""
    equilibrated = standing.facts.condition_number
    if _centres(standing) or not condition > 100.0 * equilibrated:
        return ""
    return f" ({equilibrated:.2g} with columns of one size)"


def _centres(standing: Standing) -> bool:
    """Whether the program takes the intercept out by centring, so that its singular values are not the design's."""
    spectrum = standing.printed.spectrum
    return spectrum is not None and len(spectrum.terms) < len(standing.question.terms)


# Words.


def _ratio(value: float) -> str:
    return f"{value:.2g}" if value > 0.0 else "less than 1e-300"


def _listed(terms: list[str]) -> str:
    shown = terms if len(terms) <= 4 else [*terms[:3], f"{len(terms) - 3} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _shortened(text: str, longest: int = 160) -> str:
    return text.rstrip(".") if len(text) <= longest else f"{text[:longest].rstrip()}.."
