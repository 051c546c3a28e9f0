"""What a logged-in client can do, by topic. `IMClient` inherits all of it."""
