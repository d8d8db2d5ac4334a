"""The methods, one file each; importing them registers them."""

from . import (
    bitfit,
    corda,
    dora,
    lora,
    lora_null,
    mica,
    milora,
    olora,
    osf,
    pissa,
    recyclelora,
    rein,
    soma,
    svf,
)

__all__ = [
    'bitfit',
    'corda',
    'dora',
    'lora',
    'lora_null',
    'mica',
    'milora',
    'olora',
    'osf',
    'pissa',
    'recyclelora',
    'rein',
    'soma',
    'svf',
]
