"""Standard errors, residual standard deviation, R squared and F beside NIST's certified values."""

import numpy as np
import pytest

from service.fitting.comparison import matching_digits
from service.fitting.inference.infer import infer
from service.fitting.inference.options import Inference
from service.fitting.reference.least_squares import least_squares
from tests.fitting.inference.recorded import NIST, nist_problem


@pytest.mark.parametrize("name", NIST)
def test_to_13_digits(name: str) -> None:
    text = NIST[name]
    design, y = nist_problem(name)
    terms = tuple(str(j) for j in range(len(text["beta"])))
    inferred = infer(least_squares(design, y), y, Inference(), terms, ("y",), design.intercept, None, False)
    [summary] = inferred.summary
    found = [*(spread.std_error for spread in inferred.spreads), summary.residual_sd, summary.r_squared]
    certified = [*text["sd"], text["residual_sd"], text["r_squared"]]
    if float(text["residual_sd"]) > 0.0:
        found.append(summary.f)
        certified.append(text["f"])
    else:
        assert np.isnan(summary.f)
        assert summary.f_p == 0.0
        assert summary.reason is not None
    assert matching_digits(np.array(found), np.array(certified, dtype=np.float64)).min() >= 13.0
