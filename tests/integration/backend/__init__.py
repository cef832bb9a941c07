"""Tasks that are handed to a VibeSurf backend."""
