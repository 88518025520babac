"""Datasets, fits and what was recorded along them."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    for statement in (_DATASET, _FIT, *_FIT_INDEXES, _TRAJECTORY_BLOCK):
        op.execute(statement)


_DATASET = """
CREATE TABLE dataset (
    id text PRIMARY KEY,
    rows bigint NOT NULL,
    columns json NOT NULL,
    body bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
)
"""

_FIT = """
CREATE TABLE fit (
    id uuid PRIMARY KEY,
    status text NOT NULL CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    version bigint NOT NULL DEFAULT 1,
    attempt int NOT NULL DEFAULT 0,
    dataset_id text NOT NULL REFERENCES dataset (id),
    request json NOT NULL,
    task json NOT NULL,
    labels jsonb NOT NULL DEFAULT '{}',
    progress json,
    result json,
    error json,
    job_id bigint,
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    finished_at timestamptz
)
"""

_FIT_INDEXES = (
    # Lists go newest first, by page; with and without one status.
    "CREATE INDEX fit_newest ON fit (created_at DESC, id DESC)",
    "CREATE INDEX fit_status ON fit (status, created_at DESC, id DESC)",
    "CREATE INDEX fit_labels ON fit USING gin (labels jsonb_path_ops)",
    # A dataset may be deleted once no fit refers to it.
    "CREATE INDEX fit_dataset ON fit (dataset_id)",
)

_TRAJECTORY_BLOCK = """
CREATE TABLE trajectory_block (
    fit_id uuid NOT NULL REFERENCES fit (id) ON DELETE CASCADE,
    ordinal int NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (fit_id, ordinal)
)
"""
