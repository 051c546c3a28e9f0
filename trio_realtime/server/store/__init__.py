"""What the server remembers: an interface, and databases behind it."""
