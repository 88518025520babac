"""What jobs need that are cancelled, watched, answered again and cleared away."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    for statement in (_FIT, *_FIT_INDEXES, _SUBMISSION, _GLIMPSE, _GLIMPSE_STORAGE, _DATASET):
        op.execute(statement)


# `digest` is what identical requests share, null where the answer may not be given again; `is_tiny` is whether a worker
# may take several such fits at once.
_FIT = """
ALTER TABLE fit
    ADD COLUMN priority smallint NOT NULL DEFAULT 0,
    ADD COLUMN digest bytea,
    ADD COLUMN is_tiny boolean NOT NULL DEFAULT false,
    ADD COLUMN cancel_requested_at timestamptz
"""

_FIT_INDEXES = (
    "CREATE INDEX fit_digest ON fit (digest) WHERE digest IS NOT NULL AND status = 'succeeded'",
    # What is kept for a time only goes by when it was finished.
    "CREATE INDEX fit_finished ON fit (finished_at) WHERE finished_at IS NOT NULL",
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
