"""What a workflow may be and how it is decided, without a server."""
