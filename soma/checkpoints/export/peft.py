"""Adapters as peft's LoRA directories."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ...adapters.low_rank import LOW_RANK
from ...adapters.saved import is_inside
from ...io.checkpoint_files import write_checkpoint
from ...io.files import CheckpointError, check_folder
from ..checkpoint import Checkpoint
from ..open import open_checkpoint

# The layers of other implementations by ours; several stand for its rows in equal parts.
_NEW = {
    'attn.qkv': ('attention.q_proj', 'attention.k_proj', 'attention.v_proj'),
    'attn.proj': ('attention.o_proj',),
    'mlp.w12': ('mlp.gate_proj', 'mlp.up_proj'),
    'mlp.w3': ('mlp.down_proj',),
}
_OLD = {
    'attn.qkv': tuple(f'attention.attention.{name}' for name in ('query', 'key', 'value')),
    'attn.proj': ('attention.output.dense',),
    'mlp.w12': ('mlp.weights_in',),
    'mlp.w3': ('mlp.weights_out',),
}
SAME = 'same'  # a model whose names are those of the adapter
_TIMM = {'mlp.w12': ('mlp.fc1',), 'mlp.w3': ('mlp.fc2',)}
NAMES = {
    'transformers': ('encoder.layer', _NEW),
    'transformers-old': ('encoder.layer', _OLD),
    'timm': ('blocks', _TIMM),
    SAME: ('', {}),
}


class LoRA(NamedTuple):
    """The change of one layer: ``scale * B A``, and of its bias.

    Attributes:
        A: Shape ``(rank, in)``.
        B: Shape ``(out, rank)``.
        bias: Shape ``(out,)``, or None if it does not change.
    """

    A: Tensor
    B: Tensor
    bias: Tensor | None


def export_peft(
    adapter: str | os.PathLike,
    out: str | os.PathLike,
    base: str | os.PathLike | None = None,
    base_model: str = 'transformers',
    base_name: str | None = None,
    force: bool = False,
) -> dict:
    """Write an adapter as a directory that ``peft.PeftModel.from_pretrained`` loads.

    The weight change ``s (B A - B0 A0)`` becomes ``s [B, -B0] [A; A0]`` of twice the rank, and the
    change of a bias peft's ``lora_bias``. What trained whole becomes peft's ``modules_to_save``;
    another head is left out. The card is ``soma_card.json``.

    Args:
        adapter: Adapter file or training checkpoint, of this package or of the original release.
        out: Directory to make.
        base: File of the pretrained weights; needed where biases have trained, and for ``'same'``.
        base_model: Whose DINOv2 it is for: ``'transformers'`` (5.18 or newer),
            ``'transformers-old'`` or ``'timm'``; or ``'same'`` for any model that has the names of
            the adapter, such as the one that it was trained in.
        base_name: Name or folder of the base model, for peft's ``base_model_name_or_path``.
        force: Accept other pretrained weights than those that the adapter was trained on.

    Returns:
        What stands in ``adapter_config.json``.

    Raises:
        FileNotFoundError: If a file does not exist.
        FileExistsError: If ``out`` exists.
        CheckpointError: If a file cannot be used, the base is not the adapter's, or ``force`` is of
            no use.
        InputError: If nothing can be written to the folder of ``out``.
    """
    out = Path(out)
    if out.exists():
        raise FileExistsError(f'{out} exists: remove it or name another directory')
    check_folder(out.parent)
    checkpoint = open_checkpoint(adapter)
    checkpoint.check_folds('exported to peft')
    card = checkpoint.card
    if card.method is None:
        raise CheckpointError(f'{adapter} holds no adapter to export')
    if not card.adapter.low_rank:
        raise CheckpointError(
            f'{adapter} is of {card.method}, which is no LoRA: merge it '
            '(tools/merge_soma_weights.py) or export the merged backbone (--to timm, --to dinov2)'
        )
    checkpoint.check_force(base, force)
    if base is None and base_model == SAME:
        raise CheckpointError(
            f'{adapter} does not tell linear layers from convolutions: name the file of the '
            'pretrained weights as base (--base)'
        )
    saved = _saved(checkpoint, base_model)
    loras = {
        name: lora
        for layer, parts in _loras(checkpoint, base, force)
        for name, lora in _rename(layer, parts, base_model)
    }
    scale = card.settings['alpha'] / (card.settings['rank'] or 1)
    config = _config(loras, scale, base_name)
    if card.modules_to_save:
        config['modules_to_save'] = [n.removeprefix(card.prefix) for n in card.modules_to_save]
    tensors = {f'base_model.model.{name}': value for name, value in saved.items()}
    for name, lora in loras.items():
        key = f'base_model.model.{name}'
        tensors |= {f'{key}.lora_A.weight': lora.A, f'{key}.lora_B.weight': lora.B}
        if config['lora_bias']:
            bias = torch.zeros(len(lora.B)) if lora.bias is None else lora.bias
            tensors[f'{key}.lora_B.bias'] = bias / scale  # which peft multiplies with

    temporary = out.with_name(f'.{out.name}.{os.getpid()}')
    try:
        write_checkpoint({'state_dict': tensors}, temporary / 'adapter_model.safetensors')
        for name, content in (('adapter_config', config), ('soma_card', card.to_dict())):
            (temporary / f'{name}.json').write_text(json.dumps(content, indent=2) + '\n')
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return config


def _config(loras: dict[str, LoRA], scale: float, base_name: str | None) -> dict:
    ranks = {name: len(lora.A) for name, lora in loras.items()}
    rank = min(ranks.values())
    others = {name: other for name, other in ranks.items() if other != rank}
    return {
        'peft_type': 'LORA',
        'task_type': None,
        'base_model_name_or_path': base_name,
        'inference_mode': True,
        'r': rank,
        'lora_alpha': scale * rank,
        'rank_pattern': {re.escape(name): other for name, other in others.items()},
        'alpha_pattern': {re.escape(name): scale * other for name, other in others.items()},
        'target_modules': sorted(loras),
        'lora_dropout': 0.0,
        'bias': 'none',
        'lora_bias': any(
            lora.bias is not None and bool(lora.bias.any()) for lora in loras.values()
        ),
    }


def _loras(
    checkpoint: Checkpoint, file: str | os.PathLike | None, force: bool
) -> Iterator[tuple[str, list[LoRA]]]:
    """Yield the layers with the change of each of their groups (three in a fused qkv)."""
    base = None if file is None else checkpoint.read_base(file, force)
    for layer, tensors in checkpoint.layers.items():
        joined = checkpoint.card.adapter.layers[0].joined(tensors)
        A, B, A0, B0 = (joined[name] for name in LOW_RANK)
        kernel = ()
        groups = len(A) // B.shape[1]
        share = (checkpoint.card.settings['rank'] or 1) / B.shape[1]  # 1 but where ranks differ
        B, B0 = share * B, share * B0
        name = layer.removeprefix(checkpoint.card.prefix)
        if base is not None:
            _check_is_called(name, base)
            weight, made_for = base.get(f'{name}.weight'), (len(B), A.shape[1])
            if weight is None or weight.flatten(1).shape != made_for:
                raise CheckpointError(
                    f'{checkpoint.path} does not fit {file}: the adapter of {layer} is made for a '
                    f'weight of {made_for}, the base has {None if weight is None else weight.shape}'
                )
            kernel = weight.shape[1:] if weight.ndim > 2 else ()
        if A0.any():
            B = torch.cat([B, -B0], dim=1)
            rows = (groups, -1, A.shape[1])
            A = torch.cat([A.view(rows), A0.view(rows)], dim=1).flatten(0, 1)
        biases = [None] * groups
        if checkpoint.card.train_bias and f'{layer}.bias' in checkpoint.tensors:
            if base is None:
                raise CheckpointError(
                    f'{checkpoint.path} holds trained biases, of which peft wants the change: name '
                    'the file of the pretrained weights as base (--base)'
                )
            change = checkpoint.tensors[f'{layer}.bias'] - base[f'{name}.bias']
            biases = change.chunk(groups)
        if kernel:
            A, B = A.unflatten(1, kernel), B[..., None, None]
        parts = zip(A.chunk(groups), B.chunk(groups), biases, strict=True)
        yield name, [LoRA(*part) for part in parts]


def _saved(checkpoint: Checkpoint, base_model: str) -> dict[str, Tensor]:
    """The tensors of the modules that trained whole, by their names in the base."""
    card = checkpoint.card
    if card.modules_to_save and base_model not in (SAME, 'timm'):
        raise CheckpointError(
            f'{checkpoint.path} has modules that trained whole ({card.modules_to_save[0]}), for '
            f'which {base_model} has other names: export it for the model that it was trained in '
            f'(base_model={SAME!r}, --base-model {SAME})'
        )
    return {
        name.removeprefix(card.prefix): value
        for name, value in checkpoint.tensors.items()
        if is_inside(name, card.modules_to_save)
    }


def _check_is_called(name: str, base: Mapping[str, Tensor]) -> None:
    """Raise a ``CheckpointError`` if the weight of a layer is read and the layer not called."""
    parent, _, leaf = name.rpartition('.')
    beside = {'in_proj': 'in_proj_weight', 'out_proj': 'in_proj_weight', 'qkv': 'q_bias'}
    is_read = leaf in beside and f'{parent}.{beside[leaf]}' in base
    if is_read or re.fullmatch(r'(.+\.)?features\.\d+\.\d+\.attn', parent):  # torchvision's Swin
        raise CheckpointError(
            f'{name}: its attention reads the weight and does not call the layer, so that peft '
            'would change nothing there: merge the adapter instead (merge_adapter)'
        )


def _rename(name: str, parts: list[LoRA], base_model: str) -> Iterator[tuple[str, LoRA]]:
    """Yield the layers of another implementation that stand for one of ours."""
    if base_model == SAME:
        yield name, parts[0] if len(parts) == 1 else _stack(parts)
        return
    blocks, table = NAMES[base_model]
    match = re.fullmatch(r'blocks\.(\d+)\.(.+)', name)
    if match is None:
        raise CheckpointError(f'{name} is no layer of a block of DINOv2, for which peft has a name')
    index, layer = match.groups()
    names = table.get(layer, (layer,))
    if len(names) == 1 < len(parts):
        parts = [_stack(parts)]
    elif len(parts) == 1 < len(names):
        parts = [LoRA(parts[0].A, *rows) for rows in _rows(parts[0], len(names))]
    for target, lora in zip(names, parts, strict=True):
        yield f'{blocks}.{index}.{target}', lora


def _stack(parts: list[LoRA]) -> LoRA:
    """One change of a fused layer from those of its groups."""
    bias = None if parts[0].bias is None else torch.cat([part.bias for part in parts])
    return LoRA(
        torch.cat([part.A for part in parts]), torch.block_diag(*[p.B for p in parts]), bias
    )


def _rows(lora: LoRA, count: int) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yield ``B`` and bias of equal parts of a layer's outputs."""
    biases = [None] * count if lora.bias is None else lora.bias.chunk(count)
    yield from zip(lora.B.chunk(count), biases, strict=True)
