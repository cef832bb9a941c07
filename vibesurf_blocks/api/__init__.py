"""The documented REST API over the tables and Prefect."""
