"""Programs that show how vibesurf-blocks is used."""
