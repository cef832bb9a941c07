"""Tests of vibesurf-blocks."""
