"""How much is held, counted over all that a value leads to."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from service.fitting.arrays import FloatArray
from service.fitting.data import Dataset
from service.fitting.descent.setting import Setting
from service.fitting.exact import references
from service.fitting.model import Model
from service.fitting.problem import Problem
from service.fitting.solver import Descent
from service.jobs.held_bytes import held_bytes

BIG = np.zeros(1000)


@dataclass(frozen=True)
class _Pair:
    one: FloatArray
    other: Callable[[], FloatArray]


def _holding(array: FloatArray) -> Callable[[], FloatArray]:
    return lambda: array


def test_arrays_are_found_wherever_they_are_held() -> None:
    own, closed = np.zeros(10), np.zeros(100)
    assert held_bytes(OrderedDict(a=[_Pair(own, _holding(closed))])) == 880


def test_what_is_held_twice_counts_once() -> None:
    own = np.zeros(10)
    assert held_bytes([own, own], {"again": own}) == 80


def test_a_view_holds_all_that_it_is_a_view_of() -> None:
    whole = np.zeros((10, 10))
    assert held_bytes(whole[:2]) == held_bytes(whole[:2], whole[3:, 1]) == 800
    assert held_bytes(np.frombuffer(bytes(80)).reshape(2, 5)) == 80


def test_the_rest_of_the_program_is_not_held() -> None:
    assert held_bytes(_Pair(np.zeros(1), lambda: BIG)) == 8


def test_a_setting_holds_its_rows_and_what_was_made_of_them() -> None:
    dataset = Dataset.from_columns({"x": list(range(1000)), "y": list(range(1000))})
    problem = Problem(dataset, Model(("x",), ("y",)))
    setting = Setting.of(problem, Descent(), references(problem, None))
    before = held_bytes(setting)
    assert dataset.values.nbytes < before < 4 * dataset.values.nbytes
    products = setting.with_solver(replace(setting.solver, batch_size=1)).products
    assert held_bytes(setting) >= before + products.nbytes
