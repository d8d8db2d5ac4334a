"""Adapters and merged models for other software."""
