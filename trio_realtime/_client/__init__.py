"""The client as its user meets it: operations, queries, plugins of our own."""
