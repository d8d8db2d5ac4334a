"""Datasets: domains, label tables, converters and the toy streets."""

from .domain_dataset import DomainDataset

__all__ = ['DomainDataset']
