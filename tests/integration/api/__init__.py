"""The REST API on a running stack."""
