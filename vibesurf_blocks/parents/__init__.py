"""What batches and workflows have in common: a flow run that has agent runs as its children."""
