"""Bring datasets into shape: converters, checks, fractals."""
