"""Why `plumbline serve` does not start or go on."""


class SupervisorError(Exception):
    """The service cannot run; the text says why, and what to do, in words for an operator."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
