"""Commands and options, without a server."""
