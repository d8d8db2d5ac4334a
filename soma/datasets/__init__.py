"""Datasets: domains, label tables and converters."""

from importlib.util import find_spec

from ..registration import register

register()

from .bilateral import BilateralFilter
from .domain_dataset import DomainDataset
from .pixmix import PixMix
from .samplers import RatioSampler
from .synthetic import SyntheticDataset
from .transforms import PackDomainInputs

__all__ = [
    'BilateralFilter',
    'DomainDataset',
    'PackDomainInputs',
    'PixMix',
    'RatioSampler',
    'SyntheticDataset',
]

if find_spec('mmdet') is not None:
    from .domain_voc import DomainVOCDataset
    from .synthetic_boxes import SyntheticBoxDataset
    from .transforms import PackDomainDetInputs

    __all__ += ['DomainVOCDataset', 'PackDomainDetInputs', 'SyntheticBoxDataset']
