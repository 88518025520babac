"""PostgreSQL: the bundled server, the schema and its migrations."""
