"""The browser of a session."""
