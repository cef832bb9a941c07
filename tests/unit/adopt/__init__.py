"""Taking over a VibeSurf database."""
