"""What happens inside a run, without a server."""
