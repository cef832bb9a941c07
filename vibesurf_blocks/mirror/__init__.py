"""The mirror: the only writer of the tables, fed by Prefect alone. Events hint, reads tell."""
