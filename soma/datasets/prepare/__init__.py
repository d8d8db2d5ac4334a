"""Bring datasets into shape: converters and checks."""
