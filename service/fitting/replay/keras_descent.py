"""A descent, once more, in Keras: its own model, loss and optimizer."""

from collections.abc import Mapping
from dataclasses import fields

from service.fitting.descent.going_on import Beginning, begin
from service.fitting.descent.optimizers import Nadam, Optimizer, Usual
from service.fitting.descent.schedules import (
    CosineDecay,
    ExponentialDecay,
    LearningRate,
    PiecewiseConstantDecay,
    Schedule,
)
from service.fitting.replay.batches import batches, in_words, steps
from service.fitting.replay.literals import listed, matrix, number
from service.fitting.replay.program import answer, arrays, assemble, data, header, imports, scaling
from service.fitting.replay.replayed import Replayed
from service.fitting.solver import Descent

Option = LearningRate | bool | int | tuple[float, ...] | None

_CLASSES = {
    "sgd": "SGD",
    "rmsprop": "RMSprop",
    "adam": "Adam",
    "adamw": "AdamW",
    "adamax": "Adamax",
    "nadam": "Nadam",
    "adagrad": "Adagrad",
    "adadelta": "Adadelta",
    "lion": "Lion",
    "ftrl": "Ftrl",
}
#: Options that Keras casts to the parameters' precision, which TensorFlow does by way of float32.
_CAST = {"learning_rate", "momentum", "beta_1", "beta_2", "weight_decay", "initial_accumulator_value"}
#: What Keras calls the memory of each optimizer, in the order of our slots.
_MEMORY: Mapping[str, tuple[str, ...]] = {
    "sgd": ("momentums",),
    "rmsprop": ("_velocities", "_momentums", "_average_gradients"),
    "adam": ("_momentums", "_velocities", "_velocity_hats"),
    "adamw": ("_momentums", "_velocities", "_velocity_hats"),
    "adamax": ("_m", "_u"),
    "nadam": ("_momentums", "_velocities"),
    "adagrad": ("_accumulators",),
    "adadelta": ("_accumulated_grads", "_accumulated_delta_vars"),
    "lion": ("_momentums",),
    "ftrl": ("_accumulators", "_linears"),
}


def keras_descent(replayed: Replayed, descent: Descent) -> str:
    """The program."""
    beginning = begin(replayed.problem, descent, replayed.ended)
    summary = f"{replayed.steps} steps of {descent.optimizer.kind}, {in_words(beginning.plan)}."
    paragraphs = [
        header(replayed, summary, _particulars(beginning), "Keras"),
        imports(replayed, ["from itertools import islice"], ["import keras"]),
        *data(replayed),
        f'keras.config.set_floatx("{descent.dtype}")',
        *_loss(replayed),
        *_penalty(descent),
        batches(beginning, descent.drop_last),
        arrays(replayed),
        *scaling(replayed),
        _model(replayed, descent, beginning),
        _optimizer(replayed, descent),
        *_memory(beginning),
        _loop(replayed, beginning),
        _end(replayed, descent),
        *answer(replayed),
    ]
    return assemble(paragraphs)


def _particulars(beginning: Beginning) -> list[str]:
    told = ["Sums are rounded in another order than by Plumbline's engines: the last digits differ."]
    if beginning.iterations or beginning.plan.begun:
        told.append("It goes on from where another fit ended, whose state stands here as numbers.")
    return told


def _loss(replayed: Replayed) -> list[str]:
    return [] if replayed.task.loss == "mse" else [_SUM_OF_SQUARES]


_SUM_OF_SQUARES = '''class SumOfSquares(keras.losses.Loss):
    """Keras's own losses take the mean over targets."""

    def call(self, y_true, y_pred):
        return keras.ops.sum(keras.ops.square(y_true - y_pred), axis=-1)'''


def _penalty(descent: Descent) -> list[str]:
    if descent.penalty is None or descent.dtype == "float32":
        return []
    return [
        'def penalty(kernel):\n    """`keras.regularizers.L2`, whose strength Keras would round to float32."""\n'
        f"    return {number(descent.penalty.strength)} * keras.ops.sum(keras.ops.square(kernel))"
    ]


def _regularizer(descent: Descent) -> str:
    if descent.penalty is None:
        return ""
    plain = f"keras.regularizers.L2({number(descent.penalty.strength)})"
    return f", kernel_regularizer={plain if descent.dtype == 'float32' else 'penalty'}"


def _model(replayed: Replayed, descent: Descent, beginning: Beginning) -> str:
    model = replayed.task.model
    bias = "" if model.intercept else ", use_bias=False"
    start = beginning.state.parameters
    lines = [
        f"layer = keras.layers.Dense({len(model.targets)}{bias}{_regularizer(descent)})",
        f"model = keras.Sequential([keras.Input(({len(model.powers)},)), layer])",
        f"kernel = np.array({matrix(start[int(model.intercept) :])})",
    ]
    if model.intercept:
        lines.append(f"bias = np.array({listed(number(value) for value in start[0])})")
    lines.append(f"layer.set_weights([{'kernel, bias' if model.intercept else 'kernel'}])")
    return "\n".join(lines)


def _optimizer(replayed: Replayed, descent: Descent) -> str:
    optimizer, doubled = descent.optimizer, descent.dtype == "float64"
    loss = '"mse"' if replayed.task.loss == "mse" else 'SumOfSquares(reduction="sum")'
    options = _options(optimizer).items()
    lines = [f"    {name}={_option(value, '    ', doubled and name in _CAST)}," for name, value in options]
    noted = ["# What Keras casts is rounded to float32 on the way, unless it is NumPy's."] if doubled else []
    call = [f"optimizer = keras.optimizers.{_CLASSES[optimizer.kind]}(", *lines, ")"]
    return "\n".join([*noted, *call, f"model.compile(optimizer, {loss})"])


def _options(optimizer: Optimizer) -> dict[str, Option]:
    """The optimizer's own options, and those of the usual ones that were asked for."""
    usual = [field.name for field in fields(Usual) if getattr(optimizer, field.name) != field.default]
    if optimizer.use_ema:
        usual.append("ema_momentum")
    own = [name for name in _names(optimizer) if name not in {field.name for field in fields(Usual)}]
    return {name: getattr(optimizer, name) for name in dict.fromkeys([*own, *usual])}


def _names(options: Optimizer | Schedule) -> list[str]:
    return [field.name for field in fields(options) if field.name != "kind"]


def _option(value: Option, indent: str, doubled: bool) -> str:
    """An option's value; `doubled` where it must be NumPy's to stay a float64."""
    inner = indent + "    "
    match value:
        case float():
            return f"np.float64({number(value)})" if doubled else number(value)
        case tuple():
            return listed((_option(item, inner, doubled) for item in value), indent)
        case ExponentialDecay() | CosineDecay() | PiecewiseConstantDecay():
            lines = [f"{inner}{name}={_option(getattr(value, name), inner, doubled)}," for name in _names(value)]
            return "\n".join([f"keras.optimizers.schedules.{type(value).__name__}(", *lines, f"{indent})"])
        case _:
            return repr(value)


def _memory(beginning: Beginning) -> list[str]:
    """The optimizer's state, where it goes on from another fit's."""
    optimizer, state, rule = beginning.solver.optimizer, beginning.state, beginning.rule
    if not beginning.iterations:
        return []
    held = dict(zip(_MEMORY[optimizer.kind][: rule.slots], state.slots, strict=False))
    if rule.averaging is not None:
        held["_model_variables_moving_average"] = state.average
    parts = "value[1:], value[0]" if beginning.problem.model.intercept else "value,"
    lines = [
        "# Where that fit's optimizer had got to.",
        "optimizer.build(model.trainable_variables)",
        f"optimizer.iterations.assign({beginning.iterations})",
        *_product(optimizer, beginning.iterations),
        "memory = {",
        *(f'    "{name}": np.array({matrix(value)}),' for name, value in held.items()),
        "}",
        "for name, value in memory.items():",
        f"    for variable, part in zip(getattr(optimizer, name), ({parts})):",
        "        variable.assign(part)",
    ]
    return ["\n".join(lines)]


def _product(optimizer: Optimizer, iterations: int) -> list[str]:
    if not isinstance(optimizer, Nadam):
        return []
    shares = f"{number(optimizer.beta_1)} * (1 - 0.5 * 0.96**t) for t in range(1, {iterations + 1})"
    return [f"optimizer._u_product.assign(np.prod([{shares}]))"]


def _loop(replayed: Replayed, beginning: Beginning) -> str:
    weights = "" if replayed.task.model.weights is None else ", sample_weight=weights[rows, 0]"
    lines = [
        f"for rows in {steps(beginning.plan, replayed.steps)}:",
        f"    model.train_on_batch(x[rows], y[rows]{weights})",
    ]
    if beginning.rule.averaging is not None and beginning.iterations + replayed.steps > 0:
        lines.append("optimizer.finalize_variable_values(model.trainable_variables)  # the running mean, as `fit` does")
    return "\n".join(lines)


def _end(replayed: Replayed, descent: Descent) -> str:
    if replayed.task.model.intercept:
        lines = ["coefficients, intercept = layer.get_weights()"]
    else:
        lines = ["[coefficients] = layer.get_weights()"]
    if descent.dtype == "float32":
        lines.append(_AS_DOUBLE[replayed.task.model.intercept])
    return "\n".join(lines)


_AS_DOUBLE = {
    True: "coefficients, intercept = coefficients.astype(float), intercept.astype(float)",
    False: "coefficients = coefficients.astype(float)",
}
