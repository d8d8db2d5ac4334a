"""Datasets: domains, label tables and converters."""

from importlib.util import find_spec

from ..registration import register

register()

from .bilateral import BilateralFilter
from .corrupt import Corrupt
from .domain_dataset import DomainDataset
from .episodes import CocoMaskDataset, EpisodeDataset, PascalMaskDataset
from .pixmix import PixMix
from .samplers import RatioSampler
from .transforms import PackDomainInputs

__all__ = [
    'BilateralFilter',
    'CocoMaskDataset',
    'Corrupt',
    'DomainDataset',
    'EpisodeDataset',
    'PackDomainInputs',
    'PascalMaskDataset',
    'PixMix',
    'RatioSampler',
]

if find_spec('mmdet') is not None:
    from .domain_coco import DomainCocoDataset
    from .domain_voc import DomainVOCDataset
    from .transforms import PackDomainDetInputs

    __all__ += ['DomainCocoDataset', 'DomainVOCDataset', 'PackDomainDetInputs']
