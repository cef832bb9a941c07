"""Who is told of what, without a server."""
