"""What of a model is frozen, adapted and trainable: counted, and shown as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rich.table import Table
from torch import nn

from ..utils.tables import as_text
from .base import Adapter
from .blocks import block_name, number_blocks, stack_name
from .layer import AdapterLayer
from .saved import saved_modules


@dataclass(frozen=True)
class AdapterReport:
    """What of a model is frozen, adapted and trainable.

    Attributes:
        layers: Dotted names of the adapted layers, or blocks.
        matrices: Number of the layers' matrices (three in a fused qkv).
        frozen_blocks: The blocks in which nothing trains: numbers, as ``start_block`` has them, or
            names where blocks are in several places.
        blocks: Number of blocks, of the kind that is adapted, or else called ``blocks``.
        frozen: Number of frozen parameters by role.
        trainable: Number of trainable parameters by role.
        rebuild_error: Of decomposed weights (SVF), the largest difference between one and what its
            components multiply to, relative to its largest entry; None without any.
        saved: Names of the modules that train whole (``modules_to_save``).
    """

    layers: tuple[str, ...]
    matrices: int
    frozen_blocks: tuple[int | str, ...]
    blocks: int
    frozen: Mapping[str, int]
    trainable: Mapping[str, int]
    rebuild_error: float | None = None
    saved: tuple[str, ...] = ()

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
        if self.saved:
            text += f'; trained whole: {", ".join(self.saved)}'
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
    targets = tuple(target for n, m in adapters.items() for target in m.targets(n))
    numbers, roles = _counted_blocks(model, targets), _adapter_roles(adapted.values())
    frozen, trainable, block_trains = Counter(), Counter(), dict.fromkeys(numbers, False)
    for name, parameter in model.named_parameters():
        block = block_name(name)
        role = roles.get(parameter) or (stack_name(name) if block in numbers else _part(name))
        frozen[role] += 0 if parameter.requires_grad else parameter.numel()
        trainable[role] += parameter.numel() if parameter.requires_grad else 0
        if block in numbers and parameter.requires_grad:
            block_trains[block] = True
    one_place = len({*map(stack_name, numbers)}) == 1
    idle = [block for block, trains in block_trains.items() if not trains]
    return AdapterReport(
        layers=targets,
        matrices=sum(layer.groups for layer in adapted.values()),
        frozen_blocks=tuple(map(numbers.get, idle)) if one_place else tuple(idle),
        blocks=len(block_trains),
        frozen=dict(frozen),
        trainable=dict(trainable),
        rebuild_error=max(errors, default=None),
        saved=tuple(saved_modules(model)),
    )


def _counted_blocks(model: nn.Module, targets: Iterable[str]) -> dict[str, int]:
    """Numbers of the blocks of a model, by name: not those of heads that have other ones."""
    stacks = {stack for name in targets if (stack := stack_name(name))}
    return {
        block: number
        for block, number in number_blocks(model).items()
        if (stack := stack_name(block)) in stacks or stack.rpartition('.')[2] == 'blocks'
    }


def _adapter_roles(layers: Iterable[AdapterLayer]) -> dict[nn.Parameter, str]:
    """The roles of the parameters of adapted layers, but of their weights."""
    roles = {}
    for layer in layers:
        names = [name for name in layer.adapter_parameters() if name != 'bias']
        for name, parameter in layer.named_parameters(recurse=False):
            if name in names:
                roles[parameter] = f'adapter {", ".join(names)}'
            elif name != 'weight':
                roles[parameter] = 'adapted biases'
    return roles


def _part(name: str) -> str:
    """The role of a parameter outside of blocks: the first part of its name, or two."""
    return '.'.join(name.split('.')[: 2 if name.startswith('backbone.') else 1])
