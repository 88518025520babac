"""Which fit another one is a remedy of."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    for statement in (_PARENT, _CHILDREN):
        op.execute(statement)


# No foreign key: where a fit comes from stays true when that one is deleted, and neither waits for the other.
_PARENT = "ALTER TABLE fit ADD COLUMN parent uuid"

# Most fits have none: the index holds the few that do.
_CHILDREN = "CREATE INDEX fit_parent ON fit (parent, created_at DESC, id DESC) WHERE parent IS NOT NULL"
