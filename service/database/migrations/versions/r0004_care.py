"""What jobs need that are cancelled, watched, answered again and cleared away."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    for statement in (_FIT, *_FIT_INDEXES, _SUBMISSION, *_SUBMISSION_INDEXES, _GLIMPSE, _GLIMPSE_STORAGE, _DATASET):
        op.execute(statement)
    for statement in _INSTALLATION:
        op.execute(statement)


# `digest` is what identical requests share, null where the answer may not be given again; `is_tiny` is whether a worker
# may take several such fits at once; `queued_at` is when a client last put it into the queue.
_FIT = """
ALTER TABLE fit
    ADD COLUMN priority smallint NOT NULL DEFAULT 0,
    ADD COLUMN digest bytea,
    ADD COLUMN is_tiny boolean NOT NULL DEFAULT false,
    ADD COLUMN cancel_requested_at timestamptz,
    ADD COLUMN queued_at timestamptz NOT NULL DEFAULT now()
"""

_FIT_INDEXES = (
    "CREATE INDEX fit_digest ON fit (digest) WHERE digest IS NOT NULL AND status = 'succeeded'",
    # What is kept for a time only goes by when it was finished.
    "CREATE INDEX fit_finished ON fit (finished_at, id) WHERE finished_at IS NOT NULL",
    # Those that failed are few, and are looked for among all that finished.
    "CREATE INDEX fit_dead ON fit (finished_at DESC, id DESC) WHERE status = 'failed'",
)

# What was submitted under an Idempotency-Key, and the fits that came of it.
_SUBMISSION = """
CREATE TABLE submission (
    key text PRIMARY KEY,
    digest bytea NOT NULL,
    fits uuid[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
)
"""

_SUBMISSION_INDEXES = (
    # A key is free again when its fits are deleted, or after a day.
    "CREATE INDEX submission_fits ON submission USING gin (fits)",
    "CREATE INDEX submission_age ON submission (created_at)",
)

# Rows of a trajectory that is not finished, few enough to be shown; as `trajectory_block` has them.
_GLIMPSE = """
CREATE TABLE trajectory_glimpse (
    fit_id uuid NOT NULL REFERENCES fit (id) ON DELETE CASCADE,
    ordinal int NOT NULL,
    account bytea,
    rows bigint NOT NULL,
    first_step bigint NOT NULL,
    last_step bigint NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (fit_id, ordinal)
)
"""
_GLIMPSE_STORAGE = "ALTER TABLE trajectory_glimpse ALTER COLUMN body SET STORAGE EXTERNAL"

# A body that is null lies in the store of files, under the dataset's id.
_DATASET = "ALTER TABLE dataset ALTER COLUMN body DROP NOT NULL"

# Whose a store of files is: two databases at one would each remove what only the other needs.
_INSTALLATION = (
    "CREATE TABLE installation (id uuid PRIMARY KEY DEFAULT gen_random_uuid())",
    "INSERT INTO installation DEFAULT VALUES",
)
