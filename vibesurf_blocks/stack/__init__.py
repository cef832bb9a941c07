"""The parts that a local stack is made of: a database, a Prefect server, and waiting for both."""
