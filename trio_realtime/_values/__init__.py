"""What users hold: conversations, messages, events, errors. Data only."""
