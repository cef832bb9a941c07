"""How long what has ended is kept: prunes it in Prefect, the tables and the workspace."""
