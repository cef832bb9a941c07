"""Tests of the parts of the local stack."""
