"""What a batch is asked and how far it is, without a server."""
