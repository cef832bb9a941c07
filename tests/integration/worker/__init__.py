"""The worker: any flow, warm children, none left behind."""
