"""What each optimizer does with a gradient: one elementwise rule, in plain arithmetic, for every engine.

A rule takes one parameter (a number in the NumPy engines, where Numba compiles it; a tensor in the TensorFlow engine,
where XLA does), its gradient and three slots of memory, and returns the new parameter and slots. `numbers` are those of
the step (the learning rate first; see `Rule.numbers`) and `options` the rule's own, all in the working precision;
`flags` are booleans known before compilation. The order of operations is that of Keras 3.
"""

from collections.abc import Callable
from typing import Any

from service.fitting.descent.elementary import absolute, maximum, minimum, power, sign, sqrt

#: Every rule gets as many, so that one compiled loop takes them all (`numpy_step`, which writes them out).
SLOTS = 3
OPTIONS = 4
NUMBERS = 6

Update = tuple[Any, Any, Any, Any]
UpdateRule = Callable[[Any, Any, Any, Any, Any, Any, Any, Any], Update]


def plain(w: Any, g: Any, a: Any, b: Any, c: Any, numbers: Any, options: Any, flags: Any) -> Update:  # noqa: ARG001
    """w <- w - rate g. Keras `SGD` without momentum."""
    return w - g * numbers[0], a, b, c


def momentum(w: Any, g: Any, velocity: Any, b: Any, c: Any, numbers: Any, options: Any, flags: Any) -> Update:
    """v <- mu v - rate g; w <- w + v, or w + mu v - rate g after Nesterov. Keras `SGD`."""
    rate, mu = numbers[0], options[0]
    velocity = velocity * mu - g * rate
    if flags[0]:
        return w + (velocity * mu - g * rate), velocity, b, c
    return w + velocity, velocity, b, c


def rmsprop(w: Any, g: Any, square: Any, velocity: Any, mean: Any, numbers: Any, options: Any, flags: Any) -> Update:
    """s <- rho s + (1 - rho) g^2; v <- mu v + rate g / sqrt(s [- mean^2] + epsilon); w <- w - v. Keras `RMSprop`."""
    rho, rest, mu, epsilon = options[0], options[1], options[2], options[3]
    square = rho * square + rest * (g * g)
    if flags[0]:
        mean = rho * mean + rest * g
        denominator = square - mean * mean + epsilon
    else:
        denominator = square + epsilon
    velocity = mu * velocity + (numbers[0] * g) / sqrt(denominator)
    return w - velocity, square, velocity, mean


def adam(w: Any, g: Any, mean: Any, square: Any, largest: Any, numbers: Any, options: Any, flags: Any) -> Update:
    """m <- m + (1 - b1)(g - m); s <- s + (1 - b2)(g^2 - s); w <- w - alpha m / (sqrt(s) + epsilon).

    alpha = rate sqrt(1 - b2^t) / (1 - b1^t); with `amsgrad` the largest s so far stands for s. Keras `Adam`.
    """
    alpha, epsilon = numbers[1], options[2]
    mean = mean + (g - mean) * options[0]
    square = square + (g * g - square) * options[1]
    if flags[0]:
        largest = maximum(largest, square)
        return w - (mean * alpha) / (sqrt(largest) + epsilon), mean, square, largest
    return w - (mean * alpha) / (sqrt(square) + epsilon), mean, square, largest


def adamax(w: Any, g: Any, mean: Any, norm: Any, c: Any, numbers: Any, options: Any, flags: Any) -> Update:  # noqa: ARG001
    """m <- m + (1 - b1)(g - m); u <- max(b2 u, |g|); w <- w - rate m / ((1 - b1^t)(u + epsilon)). Keras `Adamax`."""
    mean = mean + (g - mean) * options[0]
    norm = maximum(options[1] * norm, absolute(g))
    return w - (numbers[0] * mean) / (numbers[1] * (norm + options[2])), mean, norm, c


def nadam(w: Any, g: Any, mean: Any, square: Any, c: Any, numbers: Any, options: Any, flags: Any) -> Update:  # noqa: ARG001
    """m and s as in `adam`; w <- w - rate m^ / (sqrt(s^) + epsilon).

    m^ = u_t+1 m / (1 - U_t+1) + (1 - u_t) g / (1 - U_t) and s^ = s / (1 - b2^t), with u_t = b1 (1 - 0.96^t / 2) and U
    their product. Keras `Nadam`.
    """
    mean = mean + (g - mean) * options[0]
    square = square + (g * g - square) * options[1]
    ahead = (numbers[1] * mean) / numbers[2] + (numbers[3] * g) / numbers[4]
    return w - (ahead * numbers[0]) / (sqrt(square / numbers[5]) + options[2]), mean, square, c


def adagrad(w: Any, g: Any, total: Any, b: Any, c: Any, numbers: Any, options: Any, flags: Any) -> Update:  # noqa: ARG001
    """s <- s + g^2; w <- w - rate g / sqrt(s + epsilon). Keras `Adagrad`."""
    total = total + g * g
    return w - (numbers[0] * g) / sqrt(total + options[0]), total, b, c


def adadelta(w: Any, g: Any, square: Any, moved: Any, c: Any, numbers: Any, options: Any, flags: Any) -> Update:  # noqa: ARG001
    """s <- rho s + (1 - rho) g^2; d = -sqrt(u + epsilon) g / sqrt(s + epsilon); u likewise from d^2; w <- w + rate d.

    Keras `Adadelta`.
    """
    rho, rest, epsilon = options[0], options[1], options[2]
    square = rho * square + rest * (g * g)
    change = -((sqrt(moved + epsilon) * g) / sqrt(square + epsilon))
    moved = rho * moved + rest * (change * change)
    return w + numbers[0] * change, square, moved, c


def lion(w: Any, g: Any, mean: Any, b: Any, c: Any, numbers: Any, options: Any, flags: Any) -> Update:  # noqa: ARG001
    """w <- w - rate sign(b1 m + (1 - b1) g); m <- b2 m + (1 - b2) g. Keras `Lion`."""
    direction = sign(mean * options[0] + g * options[1])
    return w - numbers[0] * direction, mean * options[2] + g * options[3], b, c


def ftrl(w: Any, g: Any, total: Any, linear: Any, c: Any, numbers: Any, options: Any, flags: Any) -> Update:
    """z <- z + g + 2 l2s w - (N^p - n^p) w / rate with N = n + g^2; w <- (clip(z, -l1, l1) - z) / (N^p / rate + 2 l2).

    p = -learning_rate_power, and l2 holds beta / (2 rate). Keras `Ftrl`.
    """
    rate, exponent, l1, shrinkage = numbers[0], options[0], options[1], options[2]
    new_total = total + g * g
    if flags[0]:
        before, after = sqrt(total), sqrt(new_total)
    else:
        before, after = power(total, exponent), power(new_total, exponent)
    linear = linear + ((g + shrinkage * w) - ((after - before) / rate) * w)
    clipped = minimum(maximum(linear, -l1), l1)
    return (clipped - linear) / (after / rate + numbers[1]), new_total, linear, c


#: A rule's place here is its code, by which the compiled loops of the NumPy engines pick it.
RULES: tuple[UpdateRule, ...] = (
    plain,
    momentum,
    rmsprop,
    adam,
    adamax,
    nadam,
    adagrad,
    adadelta,
    lion,
    ftrl,
)


def decayed(w: Any, rate: Any, decay: Any) -> Any:
    """w - w decay rate: before the rule sees it. Keras `weight_decay`."""
    return w - w * decay * rate


def averaged(average: Any, w: Any, share: Any, rest: Any) -> Any:
    """The running mean of the parameters: share average + rest w, rest = 1 - share.

    `share` is 0 at the first update, and Keras's `ema_momentum` from then on.
    """
    return share * average + rest * w


def clipped_by_value(g: Any, limit: Any) -> Any:
    """Keras `clipvalue`."""
    return minimum(maximum(g, -limit), limit)


def clipped_by_norm(g: Any, norm: Any, limit: Any) -> Any:
    """`norm` is that of all g of one variable. Keras `clipnorm`."""
    return (g * limit) / maximum(norm, limit)


def clipped_by_global_norm(g: Any, norm: Any, limit: Any) -> Any:
    """`norm` is that of the g of all variables; NaN where it is not finite. Keras `global_clipnorm`."""
    return g * (limit / maximum(norm, limit) + (norm - norm))
