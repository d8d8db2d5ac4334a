"""How to use a shared adapter: commands and Python for its page."""

from __future__ import annotations

import re

from ..adapters.card import BaseCard, Card
from ..io.public import WEIGHTS
from ..models.backbones.dinov2 import ARCHS
from ..models.backbones.timm_network import NO_HEAD

_SOMA = """## Use

```python
from soma.inference import Inferencer

model = Inferencer.from_pretrained('{repo}', base='{base}')  # the pretrained weights
prediction = model.predict('image.jpg')
```

soma reads the config in the file as data, and runs no code of it. Scripts take the name too:

```bash
python tools/test.py CONFIG --checkpoint {repo} --base {base}
```"""
_NO_CONFIG = """## Use

The file does not tell its config: name the one that it was trained with.

```python
from soma.inference import Inferencer

model = Inferencer('CONFIG', '{repo}', base='{base}')  # the pretrained weights
prediction = model.predict('image.jpg')
```"""
_TIMM = """### The backbone in timm

```bash
python tools/export_adapter.py --adapter {repo} --base {base} --to timm --out backbone.pth
```

```python
import torch
{layout}
backbone.load_state_dict(torch.load('backbone.pth', weights_only=True))
```"""
_PEFT = """### The adapter in peft

```bash
python tools/export_adapter.py --adapter {repo} --base {base} --to peft --base-model timm --out peft
```

```python
from peft import PeftModel

model = PeftModel.from_pretrained(backbone, 'peft')  # with the pretrained weights in backbone
```

Without `--base-model timm` it is for DINOv2 of transformers."""
_CONVERTED = re.compile(r'dinov2_(\w+_)?converted\.(pth|safetensors)')


def use_of(card: Card, repo: str) -> str:
    """Markdown on what can be done with an adapter; only what works with it.

    Args:
        card: Of the file.
        repo: Name of the model on the hub.
    """
    parts, layout = [_SOMA if card.config else _NO_CONFIG], _layout(card.base)
    if layout is not None and card.folds:
        parts.append(_TIMM)
        if card.adapter.low_rank:
            parts.append(_PEFT)
    base = public_name(card.base) or (card.base and card.base.file) or 'BASE'
    return '\n\n'.join(parts).format(repo=repo, base=base, layout=layout)


def published_base(base: BaseCard | None) -> str | None:
    """The name on the hub of DINOv2's published weights, if a base was made of them."""
    name = public_name(base) or ''
    match = re.fullmatch(r'dinov2_vit(.)14(_reg)?', name)
    if match is None:
        return None
    arch = next(arch for arch in ARCHS if arch[0] == match[1])
    return f'facebook/dinov2-{"with-registers-" if match[2] else ""}{arch}'


def public_name(base: BaseCard | None) -> str | None:
    """The name in :data:`~soma.io.public.WEIGHTS` of what a base was made of.

    Converted weights of DINOv2 are told by their sizes and the usual name of their file. Who reads
    them compares their hash.
    """
    if base is None:
        return None
    if _CONVERTED.fullmatch(base.file) and isinstance(base.arch, str) and base.arch in ARCHS:
        return f'dinov2_vit{base.arch[0]}14{"_reg" if base.registers else ""}'
    return next((name for name, weights in WEIGHTS.items() if weights.file == base.file), None)


def _layout(base: BaseCard | None) -> str | None:
    """Python that makes the backbone in timm; None if it is another one, or not known."""
    if base is None:
        return None
    if base.timm_options is not None:
        options = ''.join(f', {n}={v!r}' for n, v in (NO_HEAD | dict(base.timm_options)).items())
        return f'import timm\n\nbackbone = timm.create_model({base.arch!r}{options})'
    arch = ARCHS.get(base.arch) if isinstance(base.arch, str) else base.arch
    known = base.img_size is not None and arch is not None
    if not known or base.registers or not all(isinstance(v, int | float) for v in arch.values()):
        return None
    sizes = {'img_size': tuple(base.img_size), 'patch_size': base.patch_size}
    options = {**sizes, 'init_values': 1e-5, **arch, 'num_classes': 0}
    return (
        'from timm.models.vision_transformer import VisionTransformer\n\nbackbone = '
        'VisionTransformer(\n' + ''.join(f'    {n}={v!r},\n' for n, v in options.items()) + ')'
    )
