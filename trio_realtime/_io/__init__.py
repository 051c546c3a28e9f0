"""The shell around the engine: connections, sessions and HTTP, on Trio."""
