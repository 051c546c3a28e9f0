"""Where the application is asked and told."""
