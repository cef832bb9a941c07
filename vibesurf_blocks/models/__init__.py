"""Language models: the profiles that name them, and the clients that talk to them."""
