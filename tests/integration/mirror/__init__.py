"""Rows for runs from every entrance, whatever happens to the mirror."""
