"""Metrics and what is made of them, in mmengine's root registries."""

from .domain_iou import DomainIoUMetric
from .hooks import DomainReportHook
from .scores import confusion_matrix

__all__ = ['DomainIoUMetric', 'DomainReportHook', 'confusion_matrix']
