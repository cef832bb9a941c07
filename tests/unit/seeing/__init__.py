"""Metrics, logs and the doctor's judgements, without a stack."""
