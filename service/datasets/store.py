"""Datasets in the database: each once, under the digest of its content."""

import json

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
        return None if row is None else Dataset.from_bytes(row["columns"], row["rows"], row["body"])


async def insert(connection: Connection, dataset: Dataset) -> str:
    """Store the dataset unless its content is there already, and return its id. The caller commits."""
    await connection.execute(_INSERT, [dataset.digest, dataset.rows, json.dumps(dataset.names), dataset.to_bytes()])
    return dataset.digest


_SELECT = "SELECT rows, columns, body FROM dataset WHERE id = %s"

_INSERT = """
INSERT INTO dataset (id, rows, columns, body) VALUES (%s, %s, %s, %s)
ON CONFLICT (id) DO NOTHING
"""
