"""What can go wrong with the database itself.

While it is away, psycopg and Procrastinate say so by what is in `UNAVAILABLE`: nothing is lost then, and whoever asked
may ask again. What an operator has to know has an exception of ours:

DatabaseError
├── BundledDatabaseError        the bundled PostgreSQL cannot run here
├── DatabaseUnreachableError    nothing answers at the database's address
└── DatabaseUnsuitableError     it answers, but is not a database that Plumbline can use
"""

import psycopg

#: The database cannot do its part at present: it is down, starting, out of room or of connections, or only lets read.
UNAVAILABLE = (psycopg.OperationalError, psycopg.errors.ReadOnlySqlTransaction)


class DatabaseError(Exception):
    """The database cannot be used; the text says why, and what to do, in words for an operator."""


class BundledDatabaseError(DatabaseError):
    """The bundled PostgreSQL cannot run here."""


class DatabaseUnreachableError(DatabaseError):
    """Nothing answers at the database's address."""


class DatabaseUnsuitableError(DatabaseError):
    """It answers, but is not a database that Plumbline can use."""
