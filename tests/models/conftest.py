"""Fixtures of the tests of models."""

import pytest
import torch


@pytest.fixture
def same_points(monkeypatch):
    """Every row of drawn points is the same, so that the order of drawing does not count."""
    points = torch.rand(1000, 2)

    def rand(*size, device=None):
        rows, number, _ = size[0] if len(size) == 1 else size
        return points[:number].expand(rows, -1, -1).contiguous()

    monkeypatch.setattr(torch, 'rand', rand)
