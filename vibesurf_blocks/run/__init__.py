"""What happens inside one agent run: slot, steps, checkpoints, control, and what it publishes."""
