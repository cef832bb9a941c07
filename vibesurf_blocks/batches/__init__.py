"""Batches: a list of tasks as one piece of work. What is asked, how far it is, how it is run."""
