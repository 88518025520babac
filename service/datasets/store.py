"""Datasets in the database: each once, under the digest of its content."""

import json
from typing import Any

from service.database.pool import Connection, Pool
from service.fitting.data import Dataset


class DatasetStore:
    """Reads datasets. They are written by `insert`, inside the transaction of what needs them."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def get(self, dataset_id: str) -> Dataset | None:
        """Return the dataset with this digest, or None where there is none."""
        async with self._pool.connection() as connection:
            # Binary: as text, PostgreSQL would send two hexadecimal characters a byte.
            cursor = await connection.execute(_SELECT, [dataset_id], binary=True)
            row = await cursor.fetchone()
        return None if row is None else Dataset.from_bytes(row["columns"], row["rows"], row["body"], dataset_id)

    async def has(self, dataset_id: str) -> bool:
        """Whether there is a dataset with this digest."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute("SELECT FROM dataset WHERE id = %s", [dataset_id])
            return cursor.rowcount > 0


async def insert(connection: Connection, dataset: Dataset) -> str:
    """Store the dataset unless its content is there already, and return its id. The caller commits."""
    await connection.execute(INSERT, values(dataset))
    return dataset.digest


def values(dataset: Dataset) -> dict[str, Any]:
    """What `INSERT` says of the dataset, for those who make it part of a statement of their own."""
    return {
        "dataset_id": dataset.digest,
        "rows": dataset.rows,
        "columns": json.dumps(dataset.names),
        "body": dataset.to_bytes(),
    }


_SELECT = "SELECT rows, columns, body FROM dataset WHERE id = %s"

INSERT = """
INSERT INTO dataset (id, rows, columns, body) VALUES (%(dataset_id)s, %(rows)s, %(columns)s, %(body)s)
ON CONFLICT (id) DO NOTHING
"""
