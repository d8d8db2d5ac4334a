"""Necks."""

from .lean_channel_mapper import LeanChannelMapper

__all__ = ['LeanChannelMapper']
