"""The names of EoMT in its authors' public files."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

_BACKBONE, _REST = 'network.encoder.backbone.', 'network.'
# Of training, and the normalisation, which is in the config here.
_UNUSED = (
    'network.attn_mask_probs',
    'network.encoder.pixel_mean',
    'network.encoder.pixel_std',
    'criterion.empty_weight',
)


def from_eomt(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Rename the tensors of a public EoMT to the names of ``EoMT``.

    Args:
        state: Tensors by name, of any origin.

    Returns:
        The same mapping if it has no EoMT under its authors' names.

    Raises:
        ValueError: If the backbone has the names of another library, as in the files of DINOv3,
            which hold differences to its weights.
    """
    if 'network.q.weight' not in state:
        return state
    if f'{_BACKBONE}patch_embed.proj.weight' not in state:
        raise ValueError(
            'this EoMT has a backbone of transformers, perhaps as a difference to DINOv3: take one '
            'with a backbone of timm, such as those of DINOv2'
        )
    renamed = {}
    for name, value in state.items():
        if name.startswith(_BACKBONE):
            renamed[f'backbone.{name.removeprefix(_BACKBONE)}'] = value
        elif name not in _UNUSED:
            renamed[f'decode_head.{name.removeprefix(_REST)}'] = value
    return renamed
