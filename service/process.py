"""How the service's own processes begin: what they log, and with which settings they run."""

import logging
import sys

from pydantic import ValidationError

from service.settings import Settings, explain

UNUSABLE_SETTINGS = 2


def begin() -> Settings:
    """Set up logging and return the settings; exits with 2, and says why, where they cannot be used."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("procrastinate").setLevel(logging.WARNING)
    # While the database is away it warns every second of what is said once elsewhere.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    try:
        return Settings()
    except ValidationError as error:
        print(explain(error), file=sys.stderr)
        sys.exit(UNUSABLE_SETTINGS)
