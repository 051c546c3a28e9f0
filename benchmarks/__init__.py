"""Measurements: the SDK beside the npm SDK, against a neutral responder."""
