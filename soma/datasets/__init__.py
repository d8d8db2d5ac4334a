"""Datasets: domains, label tables, converters and the toy streets."""

from .domain_dataset import DomainDataset
from .samplers import RatioSampler
from .synthetic import SyntheticDataset
from .transforms import PackDomainInputs

__all__ = ['DomainDataset', 'PackDomainInputs', 'RatioSampler', 'SyntheticDataset']
