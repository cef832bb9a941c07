"""All use of the Prefect API, in the project's words; an upgrade of Prefect touches this."""
