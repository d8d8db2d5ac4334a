"""Metrics, in mmengine's root registry."""

from .domain_iou import DomainIoUMetric, confusion_matrix

__all__ = ['DomainIoUMetric', 'confusion_matrix']
