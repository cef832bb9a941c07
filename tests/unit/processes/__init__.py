"""The fork server and its children."""
