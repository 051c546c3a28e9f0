"""Who is online, and how a push finds its receivers."""
