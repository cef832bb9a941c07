"""What surrounds Prefect, without a server."""
