"""The Alembic environment of the tables; `upgrade` runs it."""
