"""TensorFlow, imported without its greetings.

Its C++ side writes of missing GPUs and optional instructions to the process's error stream, past every setting there
is. What it wrote is shown after all where the import fails.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

_ERROR_STREAM = 2


@contextmanager
def _held_back() -> Iterator[None]:
    """Keep what is written to the process's error stream, and pass it on only where the block raises."""
    with tempfile.TemporaryFile() as kept:
        original = os.dup(_ERROR_STREAM)
        os.dup2(kept.fileno(), _ERROR_STREAM)
        try:
            yield
        except BaseException:
            kept.seek(0)
            os.write(original, kept.read())
            raise
        finally:
            os.dup2(original, _ERROR_STREAM)
            os.close(original)


# Heeded by what TensorFlow says later, though not by its greetings.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

with _held_back():
    import tensorflow as tf

    # Devices are looked for, and complained of, when they are first asked for.
    tf.config.list_logical_devices()

# A program is retraced for every new shape of data, which is what it is for.
tf.get_logger().setLevel("ERROR")

__all__ = ["tf"]
