"""Prometheus metrics: what each part counts, and how the API comes by what the others count."""
