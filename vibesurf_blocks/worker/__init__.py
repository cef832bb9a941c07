"""The worker of type `vibesurf`: claims runs of its pool and runs each in a warm child process."""
