"""Several hosts: two APIs, two workers, two mirrors, one Prefect server with Redis."""
