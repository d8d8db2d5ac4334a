"""What of a model is frozen, adapted and trainable: counted, and shown as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from rich.table import Table
from torch import nn

from ..utils.tables import as_text
from .base import Adapter
from .blocks import block_index, block_name
from .layer import AdapterLayer


@dataclass(frozen=True)
class AdapterReport:
    """What of a model is frozen, adapted and trainable.

    Attributes:
        layers: Dotted names of the adapted layers, or blocks.
        matrices: Number of the layers' matrices (three in a fused qkv).
        frozen_blocks: The ``blocks.<i>`` in which nothing trains: indices, or names where blocks
            are in several places.
        blocks: Number of blocks.
        frozen: Number of frozen parameters by role.
        trainable: Number of trainable parameters by role.
        rebuild_error: Of decomposed weights (SVF), the largest difference between one and what its
            components multiply to, relative to its largest entry; None without any.
    """

    layers: tuple[str, ...]
    matrices: int
    frozen_blocks: tuple[int | str, ...]
    blocks: int
    frozen: Mapping[str, int]
    trainable: Mapping[str, int]
    rebuild_error: float | None = None

    def __str__(self) -> str:
        """The report as a table."""
        table = Table()
        table.add_column('role')
        table.add_column('parameters frozen', justify='right')
        table.add_column('trainable', justify='right')
        for role in self.frozen:
            table.add_row(role, f'{self.frozen[role]:,}', f'{self.trainable[role]:,}')
        frozen, trainable = sum(self.frozen.values()), sum(self.trainable.values())
        table.add_section()
        share = trainable / max(frozen + trainable, 1)
        table.add_row('total', f'{frozen:,}', f'{trainable:,} ({share:.1%})')
        matrices = f' ({self.matrices} matrices)' if self.matrices else ''
        text = f'{len(self.layers)} {"layers" if matrices else "blocks"}{matrices} adapted'
        if self.blocks:
            blocks = ', '.join(map(str, self.frozen_blocks)) or 'none'
            text += f'; {len(self.frozen_blocks)} of {self.blocks} blocks frozen whole: {blocks}'
        if self.rebuild_error is not None:
            text += f'; largest error of rebuilding a weight: {self.rebuild_error:.1e}'
        return f'{text}\n{as_text(table, 88)}'


def adapter_report(model: nn.Module) -> AdapterReport:
    """Count what of a model is frozen, adapted and trainable.

    The role of a parameter is ``adapter`` for what an adapter adds to a layer, ``adapted biases``,
    ``blocks`` for the rest of a transformer's blocks, and else the first part of its name (two
    parts in a ``backbone``).

    Args:
        model: Any module.

    Returns:
        The report.
    """
    adapters = {n: m for n, m in model.named_modules() if isinstance(m, Adapter)}
    adapted = {n: m for n, m in adapters.items() if isinstance(m, AdapterLayer)}
    errors = [m.rebuild_error for m in adapted.values() if hasattr(m, 'rebuild_error')]
    frozen, trainable, block_trains = Counter(), Counter(), {}
    for name, parameter in model.named_parameters():
        role = _role(name, adapted)
        frozen[role] += 0 if parameter.requires_grad else parameter.numel()
        trainable[role] += parameter.numel() if parameter.requires_grad else 0
        if (block := block_name(name)) is not None:
            block_trains[block] = block_trains.get(block, False) or parameter.requires_grad
    one_place = len({block.rpartition('.')[0] for block in block_trains}) == 1
    idle = [block for block, trains in block_trains.items() if not trains]
    return AdapterReport(
        layers=tuple(target for n, m in adapters.items() for target in m.targets(n)),
        matrices=sum(layer.groups for layer in adapted.values()),
        frozen_blocks=tuple(map(block_index, idle)) if one_place else tuple(idle),
        blocks=len(block_trains),
        frozen=dict(frozen),
        trainable=dict(trainable),
        rebuild_error=max(errors, default=None),
    )


def _role(name: str, adapted: Mapping[str, AdapterLayer]) -> str:
    """The role of a parameter in the report."""
    module, _, leaf = name.rpartition('.')
    if module in adapted and leaf != 'weight':
        names = [n for n in adapted[module].adapter_parameters() if n != 'bias']
        return f'adapter {", ".join(names)}' if leaf in names else 'adapted biases'
    if block_index(name) is not None:
        return f'{name.rpartition("blocks.")[0]}blocks'
    return '.'.join(name.split('.')[:2]) if name.startswith('backbone.') else name.split('.')[0]
