"""Metrics and what is made of them, in mmengine's root registries."""

from importlib.util import find_spec

from ..registration import register

register()

from .domain_iou import DomainIoUMetric
from .dump import DumpPredictions
from .episode_iou import EpisodeIoUMetric
from .report_hook import DomainReportHook
from .scores import confusion_matrix

__all__ = [
    'DomainIoUMetric',
    'DomainReportHook',
    'DumpPredictions',
    'EpisodeIoUMetric',
    'confusion_matrix',
]

if find_spec('mmdet') is not None:
    from .domain_voc import DomainVOCMetric

    __all__ += ['DomainVOCMetric']
