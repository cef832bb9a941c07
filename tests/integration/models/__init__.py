"""Models on a running stack: profiles, their rows, and what a submit makes of them."""
