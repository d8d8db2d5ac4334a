"""What the benchmarks share: fair timing, and the plain way that ours is measured against."""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import soma  # isort: skip  # noqa: F401, first: it is to be in place when mmcv.ops is imported
import torch
from mmcv.ops import multi_scale_deform_attn
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import PixelData
from mmseg.models import BaseSegmentor
from mmseg.structures import SegDataSample
from rich.table import Table
from torch import Tensor, nn

from soma.io.files import write_json
from soma.ops.install import install_attention
from soma.ops.ms_deform_attn import ms_deform_attn
from soma.utils.config import REPOSITORY, load_config
from soma.utils.tables import as_text

install_attention()


def take_turns(ways: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each way; they take turns, so that what disturbs one disturbs all.

    Args:
        ways: Functions by name; each runs once before, to warm up.
        repeats: Number of rounds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats + 1):
        for name, function in ways.items():
            start = time.perf_counter()
            function()
            if repeat:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


@contextmanager
def kept_bytes(present: Iterable[Tensor]) -> Iterator[dict[int, int]]:
    """Note the memory that autograd keeps for a backward pass, in bytes by address.

    Args:
        present: Tensors that are there anyway, which do not count.

    Yields:
        What was kept in the body so far.
    """
    addresses, kept = {tensor.data_ptr() for tensor in present}, {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in addresses:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        yield kept


def updates_of(hook: Hook, model: nn.Module) -> Callable[[], None]:
    """Make the hook of an average ready for a model; returns what updates it once."""
    runner = SimpleNamespace(
        model=model,
        iter=10,
        max_iters=1000,
        optim_wrapper=SimpleNamespace(should_update=lambda: True),
        _resume=False,
    )
    for moment in ('before_run', 'before_train'):
        getattr(hook, moment)(runner)
    return lambda: hook.after_train_iter(runner, 0)


def adamw_by_parameter(parameters: Iterable[nn.Parameter], config: Config) -> torch.optim.AdamW:
    """The plain optimizer: the config's settings, one group a parameter."""
    settings = {k: v for k, v in config.optim_wrapper.optimizer.items() if k != 'type'}
    return torch.optim.AdamW([{'params': [p]} for p in parameters], **settings)


class TwoPathLinear(nn.Module):
    """The plain adapter: a low-rank path beside a frozen linear layer, as two small products.

    Args:
        layer: The frozen layer; its bias trains, as in SoMA.
        rank: Of the path.
    """

    def __init__(self, layer: nn.Linear, rank: int = 16) -> None:
        super().__init__()
        self.layer = layer
        layer.weight.requires_grad_(False)
        self.A = nn.Parameter(0.02 * torch.randn(rank, layer.in_features))
        self.B = nn.Parameter(0.02 * torch.randn(layer.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., in)`` to ``(..., out)``."""
        return self.layer(x) + (x @ self.A.T) @ self.B.T


class TwoPathQKV(nn.Module):
    """The same for a fused qkv: a path for each of the three."""

    def __init__(self, layer: nn.Linear, rank: int = 16) -> None:
        super().__init__()
        self.layer = layer
        layer.weight.requires_grad_(False)
        parts = [nn.Linear(layer.in_features, layer.out_features // 3) for _ in range(3)]
        self.A = nn.ParameterList(0.02 * torch.randn(rank, p.in_features) for p in parts)
        self.B = nn.ParameterList(0.02 * torch.randn(p.out_features, rank) for p in parts)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., in)`` to ``(..., out)``."""
        paths = [(x @ A.T) @ B.T for A, B in zip(self.A, self.B, strict=True)]
        return self.layer(x) + torch.cat(paths, dim=-1)


def read_config(arch: str, **options) -> Config:
    """The config of SoMA on GTA, with Mask2Former, for an arch of DINOv2 (``S``, ``B``, ``L``)."""
    name = f'soma_dinov2-{arch}_mask2former_gta2cbm_512x512.py'
    config = load_config(REPOSITORY / 'configs/soma' / name, options)
    config.model.backbone.init_cfg = None  # random weights take as long
    return config


def build(config: Config) -> BaseSegmentor:
    """The segmentor of a config."""
    init_default_scope('mmseg')
    model = MODELS.build(config.model)
    if hasattr(model.decode_head, 'init_weights'):  # not EoMT's
        model.decode_head.init_weights()
    return model.train()


def use_mmseg(model: Config) -> None:
    """Put mmseg's and mmdet's own segmentor and head into the config of a model."""
    model.type = 'EncoderDecoder'
    model.test_cfg.pop('batch_windows', None)
    if model.decode_head.type == 'LeanMask2FormerHead':
        model.decode_head.type = 'Mask2FormerHead'
        pixel_decoder = model.decode_head.pixel_decoder
        pixel_decoder.type = 'mmdet.MSDeformAttnPixelDecoder'
        model.backbone.pyramid = pixel_decoder.pop('pyramid')


def build_plain(config: Config) -> BaseSegmentor:
    """The same in the plain way: mmseg's segmentor and head, low-rank paths beside the layers."""
    config = copy.deepcopy(config)
    start = config.model.backbone.adapter.start_block
    rank = config.model.backbone.adapter.rank
    use_mmseg(config.model)
    config.model.backbone.adapter = None
    model = build(config)
    model.backbone.requires_grad_(False)
    for block in model.backbone.blocks[start:]:
        block.attn.qkv = TwoPathQKV(block.attn.qkv, rank)
        block.attn.proj = TwoPathLinear(block.attn.proj, rank)
        block.mlp.fc1 = TwoPathLinear(block.mlp.fc1, rank)
        block.mlp.fc2 = TwoPathLinear(block.mlp.fc2, rank)
        for path in (block.attn.qkv, block.attn.proj, block.mlp.fc1, block.mlp.fc2):
            path.layer.bias.requires_grad_(True)
    return model


@contextmanager
def plain_attention() -> Iterator[None]:
    """Let mmcv compute deformable attention by its own formula."""
    multi_scale_deform_attn.multi_scale_deformable_attn_pytorch = ms_deform_attn.__wrapped__
    try:
        yield
    finally:
        multi_scale_deform_attn.multi_scale_deformable_attn_pytorch = ms_deform_attn


def streets(num: int, size: int) -> tuple[Tensor, list[SegDataSample]]:
    """Random images ``(num, 3, size, size)`` and labels of 19 classes in blobs."""
    torch.manual_seed(0)
    samples = []
    for _ in range(num):
        shape = (size, size)
        sample = SegDataSample(metainfo=dict(img_shape=shape, ori_shape=shape, pad_shape=shape))
        labels = torch.randint(19, (size // 32, size // 32))
        labels = labels.repeat_interleave(32, 0).repeat_interleave(32, 1)
        sample.gt_sem_seg = PixelData(data=labels[None])
        samples.append(sample)
    return torch.randn(num, 3, size, size), samples


def report(rows: list[dict], title: str) -> None:
    """Print rows as a table."""
    table = Table(title=title)
    for name in rows[0] if rows else ():
        table.add_column(name)
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    print(as_text(table))


def main(measure: Callable[[], list[dict]], title: str) -> None:
    """Command line of one benchmark: measure, print the table, write the rows."""
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument('--json', type=Path, help='write the rows to this file')
    args = parser.parse_args()
    rows = measure()
    report(rows, title)
    if args.json:
        write_json(dict(rows=rows), args.json)
