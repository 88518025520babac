"""``python -m service.api.openapi`` prints the OpenAPI document; it needs no database."""

import sys

from service.api.app import create_app
from service.api.document import to_text


def main() -> int:
    sys.stdout.write(to_text(create_app(None).openapi()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
