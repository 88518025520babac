"""The rows of each step, in a program: the batch plan spelled out."""

from dataclasses import asdict
from textwrap import dedent, indent

from service.fitting.descent.going_on import Beginning
from service.fitting.descent.plan import BatchPlan


def batches(beginning: Beginning, drop_last: bool) -> str:
    """`batches()`, which gives the rows of one step after the other."""
    plan = beginning.plan
    end, note = "ROWS", ""
    if drop_last and plan.rows % plan.batch_size:
        end, note = f"ROWS - {plan.batch_size - 1}", "  # a short last batch is left out"
    lines = [
        f"{_stream(beginning)}while True:",
        f"    order = {'stream.permutation(ROWS)' if plan.reshuffles else 'np.arange(ROWS)'}",
        f"    for first in range(0, {end}, {plan.batch_size}):{note}",
        f"        yield order[first : first + {plan.batch_size}]",
    ]
    return 'def batches():\n    """The rows of each step."""\n' + indent("\n".join(lines), "    ")


def _stream(beginning: Beginning) -> str:
    if not beginning.plan.reshuffles:
        return ""
    if beginning.orders is None:
        return f"stream = np.random.Generator(np.random.PCG64({beginning.plan.seed}))\n"
    held = asdict(beginning.orders)
    return dedent(f"""\
        bits = np.random.PCG64()
        bits.state = {{  # where the fit that this one goes on from had got to
            "bit_generator": "PCG64",
            "state": {{"state": {held["state"]}, "inc": {held["inc"]}}},
            "has_uint32": {held["has_uint32"]},
            "uinteger": {held["uinteger"]},
        }}
        stream = np.random.Generator(bits)
        """)


def steps(plan: BatchPlan, count: int) -> str:
    """The expression for the rows of all `count` steps of a descent."""
    first = plan.into_epoch
    return f"islice(batches(), {first}, {first + count})" if first else f"islice(batches(), {count})"


def in_words(plan: BatchPlan) -> str:
    """Which rows make a step."""
    if plan.batch_size == plan.rows:
        return "all rows at each step"
    order = f"in a new order every epoch, from the seed {plan.seed}" if plan.reshuffles else "in their order"
    return f"{plan.batch_size} rows at a step, {order}"
