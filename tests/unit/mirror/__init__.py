"""The mirror without a server."""
