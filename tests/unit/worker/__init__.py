"""What a worker decides, without Prefect."""
