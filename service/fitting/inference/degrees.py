"""How many rows there are to learn from, and how many of them the coefficients use up."""

from dataclasses import dataclass

from service.fitting.reference.least_squares import LeastSquares


@dataclass(frozen=True)
class Degrees:
    """Degrees of freedom of a fit.

    Attributes
    ----------
    observations
        n: rows with a positive weight.
    parameters, rank
        m, and how many of them are independent.
    intercept
        1 with an intercept, 0 without.
    """

    observations: int
    parameters: int
    rank: int
    intercept: int

    @classmethod
    def of(cls, solution: LeastSquares) -> "Degrees":
        """Of a solution."""
        return cls(solution.rows_used, len(solution.parameters), solution.rank, int(solution.design.intercept))

    @property
    def model(self) -> int:
        """Rank less the intercept."""
        return self.rank - self.intercept

    @property
    def residual(self) -> int:
        """n less rank. A penalty can give more rank than there are rows; nothing is left then either."""
        return max(self.observations - self.rank, 0)

    @property
    def about_mean(self) -> int:
        """n less the intercept, which the total sum of squares uses up."""
        return self.observations - self.intercept
