"""Metrics, readiness and the doctor, on a live stack."""
