"""Hours of ordinary work, and what the stack uses meanwhile: `python -m tests.chaos.soak`."""
