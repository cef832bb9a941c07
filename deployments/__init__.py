"""What the first start puts on a Prefect server; `prefect.yaml` says the same for the CLI."""
