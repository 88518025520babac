"""Where a descent ended, with all that another one needs to go on from there as if it had never stopped."""

from dataclasses import asdict, astuple, dataclass
from typing import Any

import numpy as np

from service.fitting.arrays import FloatArray, WorkingArray
from service.fitting.model import INTERCEPT
from service.fitting.packing import pack, unpack
from service.fitting.scaling import Scale, Units


@dataclass(frozen=True)
class StreamState:
    """The state of NumPy's PCG64, between two permutations."""

    state: int
    inc: int
    has_uint32: int
    uinteger: int

    @classmethod
    def of(cls, stream: np.random.Generator) -> "StreamState":
        held = stream.bit_generator.state
        return cls(held["state"]["state"], held["state"]["inc"], held["has_uint32"], held["uinteger"])

    def stream(self) -> np.random.Generator:
        """A stream that draws what comes next."""
        state, inc, has_uint32, uinteger = astuple(self)
        bits = np.random.PCG64()
        bits.state = {
            "bit_generator": "PCG64",
            "state": {"state": state, "inc": inc},
            "has_uint32": has_uint32,
            "uinteger": uinteger,
        }
        return np.random.Generator(bits)


@dataclass(frozen=True)
class Identity:
    """What a descent belonged to, by digests: where two are equal, what goes by them may be taken over.

    Attributes
    ----------
    plan
        Of the data, the units and the batch plan: its place in the plan.
    memory
        Of the optimizer's kind and what it keeps of its past steps: slots, running mean and number of updates, where
        the units are the same too.
    arithmetic
        Of everything that a step is computed from: what the closed form is computed from (`Origin`).
    """

    plan: str
    memory: str
    arithmetic: str


@dataclass(frozen=True, eq=False)
class Origin:
    """The state that a closed form counts from: that of the first of a row of descents, each going on from the last.

    Attributes
    ----------
    since
        Steps taken since.
    parameters, slots
        (m, q) and (SLOTS, m, q), as they were then.
    """

    since: int
    parameters: WorkingArray
    slots: WorkingArray


@dataclass(frozen=True, eq=False)
class Course:
    """What of a descent is not its parameters.

    Attributes
    ----------
    identity
        What it belonged to.
    iterations
        Updates that the optimizer had made, those of the descents it went on from included.
    taken
        Steps of the batch plan that had been taken.
    orders
        The stream of row orders before that of the plan's current epoch; None where rows are taken in order.
    slots, average
        (SLOTS, m, q) and (m, q), working precision.
    epoch_squares
        (2, q), over the batches of the plan's current epoch so far.
    origin
        None where steps were taken one by one.
    """

    identity: Identity
    iterations: int
    taken: int
    orders: StreamState | None
    slots: WorkingArray
    average: WorkingArray
    epoch_squares: FloatArray
    origin: Origin | None


@dataclass(frozen=True, eq=False)
class Standing:
    """Where a fit ended.

    Attributes
    ----------
    parameters
        (m, q) in the units below: in descent's and its working precision after a descent, else in the user's.
    units
        Of the fit that ended here.
    course
        None where no steps were taken.
    """

    terms: tuple[str, ...]
    targets: tuple[str, ...]
    parameters: WorkingArray
    units: Units
    course: Course | None

    @classmethod
    def at(cls, terms: tuple[str, ...], targets: tuple[str, ...], parameters: FloatArray) -> "Standing":
        """At parameters (m, q) in the user's units, with nothing behind it."""
        intercept = terms[0] == INTERCEPT
        scales = [Scale(np.zeros(k), np.ones(k)) for k in (len(terms) - int(intercept), len(targets))]
        return cls(terms, targets, parameters, Units(scales[0], scales[1], intercept), None)

    def parameters_in(self, units: Units) -> FloatArray:
        """(m, q) in other units; the very same numbers where those are no others."""
        parameters = self.parameters.astype(np.float64)
        return parameters if self.is_in(units) else units.to_scaled(self.units.to_user(parameters))

    def is_in(self, units: Units) -> bool:
        """Whether these are the units it ended in."""
        pairs = zip(_scales(self.units), _scales(units), strict=True)
        return all(np.array_equal(own, other) for own, other in pairs)

    def to_bytes(self) -> bytes:
        """A few hundred bytes, and some ten numbers a coefficient."""
        course = self.course
        plain = {
            "terms": self.terms,
            "targets": self.targets,
            "intercept": self.units.intercept,
            "dtype": self.parameters.dtype.name,
            "course": None if course is None else _plain(course),
        }
        arrays = {"parameters": self.parameters} | dict(zip(_SCALES, _scales(self.units), strict=True))
        if course is not None:
            arrays |= {"slots": course.slots, "average": course.average, "epoch_squares": course.epoch_squares}
            if course.origin is not None:
                arrays |= {"origin": course.origin.parameters, "origin.slots": course.origin.slots}
        # float32 is exact in float64, and comes back as it was.
        return pack(plain, {name: array.astype(np.float64, copy=False) for name, array in arrays.items()})

    @classmethod
    def from_bytes(cls, body: bytes) -> "Standing":
        """The inverse of `to_bytes`."""
        plain, arrays = unpack(body)
        dtype = np.dtype(plain["dtype"])
        working = {name: array.astype(dtype) for name, array in arrays.items() if name not in _DOUBLE}
        features, targets = (
            Scale(*(arrays[name] for name in _SCALES[:2])),
            Scale(*(arrays[name] for name in _SCALES[2:])),
        )
        return cls(
            terms=tuple(plain["terms"]),
            targets=tuple(plain["targets"]),
            parameters=working["parameters"],
            units=Units(features, targets, plain["intercept"]),
            course=None if plain["course"] is None else _course(plain["course"], working, arrays["epoch_squares"]),
        )


_SCALES = ("features.centre", "features.spread", "targets.centre", "targets.spread")
#: Float64 whatever the working precision is.
_DOUBLE = (*_SCALES, "epoch_squares")


def _scales(units: Units) -> tuple[WorkingArray, ...]:
    return units.features.centre, units.features.spread, units.targets.centre, units.targets.spread


def _plain(course: Course) -> dict[str, Any]:
    return {
        "identity": asdict(course.identity),
        "iterations": course.iterations,
        "taken": course.taken,
        "orders": None if course.orders is None else asdict(course.orders),
        "since": None if course.origin is None else course.origin.since,
    }


def _course(plain: dict[str, Any], working: dict[str, WorkingArray], epoch_squares: FloatArray) -> Course:
    since, orders = plain["since"], plain["orders"]
    return Course(
        identity=Identity(**plain["identity"]),
        iterations=plain["iterations"],
        taken=plain["taken"],
        orders=None if orders is None else StreamState(**orders),
        slots=working["slots"],
        average=working["average"],
        epoch_squares=epoch_squares,
        origin=None if since is None else Origin(since, working["origin"], working["origin.slots"]),
    )
