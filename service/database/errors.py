"""What can go wrong with the database itself.

DatabaseError
├── BundledDatabaseError        the bundled PostgreSQL cannot run here
├── DatabaseUnreachableError    nothing answers at the database's address
└── DatabaseUnsuitableError     it answers, but is not a database that Plumbline can use
"""


class DatabaseError(Exception):
    """The database cannot be used; the text says why, and what to do, in words for an operator."""


class BundledDatabaseError(DatabaseError):
    """The bundled PostgreSQL cannot run here."""


class DatabaseUnreachableError(DatabaseError):
    """Nothing answers at the database's address."""


class DatabaseUnsuitableError(DatabaseError):
    """It answers, but is not a database that Plumbline can use."""
