"""Why a number does not exist, in words: what stands beside every NaN of this room."""

from collections.abc import Sequence

from service.fitting.inference.degrees import Degrees

PENALISED = (
    "A penalised fit is biased; its standard errors would not mean what they say. The least-squares fit's are had "
    "without the penalty."
)
NO_TERMS = "There is no term beside the intercept for F to test."
NO_RANK = "All terms are 0 throughout: no coefficient is determined, and there is nothing for F to test."
CONSTANT = "The target takes one value only: there is no variation to explain."
ZERO = "The target is 0 throughout: there is nothing to explain."
EXACT = "All residuals are 0: t, F and the likelihood would be infinite."
ROUNDING = (
    "The residuals are no larger than the rounding of the numbers in float64. F and the likelihood would measure that "
    "alone, and the standard errors do."
)
OUT_OF_RANGE = "Some numbers are too large or too small for float64."
ONE_CLUSTER = "All rows belong to one cluster: clustered standard errors need two at least."
PENALISED_ROWS = (
    "A penalised fit is biased; studentised residuals and what is built on them would not mean what they say. The "
    "least-squares fit's are had without the penalty."
)
NO_RESIDUALS = "All residuals are 0: there is nothing to compare them with."
ONE_DEGREE = "One degree of freedom is left, and none without a row: nothing is known of its fit without the row."
OTHERS_EXACT = "Without one of the rows the others would be fitted exactly: that row is infinitely far off."
NO_WEIGHT = "Rows of weight 0 take no part in the fit."
MUST_PASS = "A fit passes through such rows whatever they are; their residuals say nothing."
MOST_ROWS_NAMED = 5


def saturated(degrees: Degrees) -> str:
    """Why there is no variance."""
    rows = _counted(degrees.observations, "row")
    if degrees.rank == degrees.parameters:
        known = f"determine{_s(degrees.observations)} {_counted(degrees.rank, 'coefficient')} exactly"
    else:
        known = f"determine{_s(degrees.observations)} {degrees.rank} of {degrees.parameters} dimensions exactly"
    return f"{rows} {known}: no degree of freedom is left to estimate a variance."


def full_leverage(rows: Sequence[int], consequence: str) -> str:
    """Rows that the fit must go through, and what that means for what divides by 1 - leverage."""
    return f"{_named(rows)} {'has' if len(rows) == 1 else 'have'} leverage 1. {consequence}"


def divided_by_nothing(kind: str) -> str:
    """What leverage 1 means for HC2 and HC3."""
    return f"{kind.upper()} divides by 1 - leverage, and does not exist where such rows take part."


def not_estimable(rows: Sequence[int], degrees: Degrees) -> str:
    """New rows that no combination of the data's rows makes."""
    known = f"rank {degrees.rank} of {degrees.parameters}"
    return (
        f"{_named(rows)} {'is' if len(rows) == 1 else 'are'} not determined by the data ({known}): no interval there."
    )


def together(sentences: Sequence[str]) -> str | None:
    """One text, or None where nothing is to be said."""
    return " ".join(dict.fromkeys(sentences)) or None


def _named(rows: Sequence[int]) -> str:
    """Rows by their numbers, from 0 as everywhere."""
    if len(rows) == 1:
        return f"Row {rows[0]}"
    shown = [str(row) for row in rows[:MOST_ROWS_NAMED]]
    if len(rows) > MOST_ROWS_NAMED:
        shown.append(f"{len(rows) - MOST_ROWS_NAMED} more")
    return f"Rows {', '.join(shown[:-1])} and {shown[-1]}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _s(number: int) -> str:
    return "s" if number == 1 else ""
