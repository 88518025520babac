"""Where descents begin and end, for others to go on from there; trajectories in parts that each can be read alone."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    for statement in (_STATES, _ITERATIONS, _PARTS, _STORAGE):
        op.execute(statement)


# Numbers of a descent's state as the core packs them: what a fit was given to start from, and where it ended.
_STATES = "ALTER TABLE fit ADD COLUMN start_state bytea, ADD COLUMN end_state bytea"

# No fit has gone on from another yet: its optimizer's updates are its own steps.
_ITERATIONS = """
UPDATE fit
SET result = jsonb_set(result::jsonb, '{report,outcome,iterations}', result::jsonb #> '{report,outcome,steps}')
WHERE result IS NOT NULL
"""

# Trajectories of revision 0001 are one NPZ archive cut into blocks: their new columns are null. With the first part of
# a newer one comes what the rows of all parts are told by.
_PARTS = """
ALTER TABLE trajectory_block
    ADD COLUMN account bytea,
    ADD COLUMN rows bigint,
    ADD COLUMN first_step bigint,
    ADD COLUMN last_step bigint
"""

# Noise does not compress: trying costs more than writing.
_STORAGE = "ALTER TABLE trajectory_block ALTER COLUMN body SET STORAGE EXTERNAL"
