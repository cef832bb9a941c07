"""The files that start the parts elsewhere, without starting anything."""
