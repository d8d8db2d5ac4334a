"""The methods, one file each; importing them registers them."""

from . import bitfit, dora, lora, mica, milora, pissa, rein, soma, svf

__all__ = ['bitfit', 'dora', 'lora', 'mica', 'milora', 'pissa', 'rein', 'soma', 'svf']
