import numpy as np
import pytest

from service.fitting.inference.distributions import f_upper_tail, t_quantile, two_sided_p

# All by mpmath 1.3.0 with 50 to 80 digits: regularised incomplete beta function, and its continued fraction far out.
TWO_SIDED_T = [
    (1, 0.01, 0.99363401447018349),
    (1, 12.7, 0.05002432768934416),
    (1, 6e199, 1.0610329539459689e-200),
    (2, 4.5, 0.046001907994276019),
    (2, 1e120, 1.0e-240),
    (5, 1e-3, 0.99924078677219765),
    (5, 1e50, 1.8980334491124714e-249),
    (48, 2.01, 0.050069526706058247),
    (48, 7.0, 7.353108460329001e-9),
    (48, 1e5, 2.5635825332526752e-201),
    (97, 30.0, 7.0942029017737058e-51),
    (97, 150.0, 1.2454208497138358e-116),
    (1000, 12.0, 4.3240573867745275e-31),
    (99_899, 33.0, 1.554691688050638e-237),
    (1_000_000_000, 1.96, 0.049995790573729595),
    (1_000_000_000, 37.0, 1.1456516857555139e-299),
]
UPPER_F = [
    (1, 1, 1e-8, 0.99993633802297545),
    (1, 1, 1e200, 6.3661977236758135e-101),
    (1, 34, 5436385.54079785, 4.6540408524723434e-90),
    (6, 9, 330.285339234588, 4.9840305287248105e-10),
    (2, 97, 0.3, 0.74150307277824941),
    (6, 1_000_000, 10.0, 4.5045550737435061e-11),
    (99, 99_900, 1.05, 0.34714431361880778),
    (499, 9500, 3.0, 4.2305456595382835e-90),
    (10, 1_000_000, 1.1, 0.35751928792536107),
    (3, 2, 1e12, 9.9999999999916667e-13),
]
QUANTILES = [
    (1, 0.95, 12.706204736174704),
    (2, 0.99, 9.9248432009182928),
    (10, 0.9, 1.8124611228116764),
    (48, 0.95, 2.0106347576242322),
    (1_000_000_000, 0.95, 1.9599639869123254),
]


@pytest.mark.parametrize(("df", "t", "p"), TWO_SIDED_T)
def test_tails_of_t_keep_their_digits(df: int, t: float, p: float) -> None:
    np.testing.assert_allclose(two_sided_p(np.array([t, -t]), df), p, rtol=2e-13)


@pytest.mark.parametrize(("df_model", "df_residual", "f", "p"), UPPER_F)
def test_tails_of_f_keep_their_digits(df_model: int, df_residual: int, f: float, p: float) -> None:
    np.testing.assert_allclose(f_upper_tail(np.array([f]), df_model, df_residual), p, rtol=2e-13)


@pytest.mark.parametrize(("df", "level", "t"), QUANTILES)
def test_quantiles_of_t(df: int, level: float, t: float) -> None:
    assert t_quantile(df, level) == pytest.approx(t, rel=1e-14)


@pytest.mark.parametrize("level", [1e-2, 0.5, 0.95, 1.0 - 1e-12])
@pytest.mark.parametrize("df", [1, 7, 10**9])
def test_quantile_and_tail_are_inverse(df: int, level: float) -> None:
    p = two_sided_p(np.array([t_quantile(df, level)]), df)
    assert p[0] == pytest.approx(1.0 - level, rel=1e-11)


def test_one_degree_in_the_numerator_is_t_squared() -> None:
    t = np.logspace(-2, 3, 30)
    np.testing.assert_allclose(f_upper_tail(t**2, 1, 23), two_sided_p(t, 23), rtol=2e-13)


def test_the_ends_and_nan() -> None:
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(two_sided_p(np.array([0.0, np.inf, np.nan]), 3), [1.0, 0.0, np.nan])
        np.testing.assert_array_equal(f_upper_tail(np.array([0.0, np.inf, np.nan]), 2, 3), [1.0, 0.0, np.nan])
