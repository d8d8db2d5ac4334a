"""The names of Co-DETR in SoMA's release."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

# In this order, each on what the ones before have made of a name.
_NAMES = (
    (r'^query_head\.transformer\.query_embed\.', 'query_embedding.'),
    (r'^query_head\.transformer\.level_embeds$', 'level_embed'),
    (r'^query_head\.transformer\.enc_output_norm\.', 'memory_trans_norm.'),
    (r'^query_head\.transformer\.enc_output\.', 'memory_trans_fc.'),
    (r'^query_head\.transformer\.((?:en|de)coder)\.', r'\1.'),
    (r'^((?:en|de)coder\.layers\.\d+)\.attentions\.0\.', r'\1.self_attn.'),
    (r'^(decoder\.layers\.\d+)\.attentions\.1\.', r'\1.cross_attn.'),
    (r'^((?:en|de)coder\.layers\.\d+)\.ffns\.0\.', r'\1.ffn.'),
    (r'^decoder\.ref_point_head\.0\.', 'decoder.ref_point_head.layers.0.'),
    (r'^decoder\.ref_point_head\.2\.', 'decoder.ref_point_head.layers.1.'),
    (r'^bbox_head\.0\.', 'atss_head.'),
    (r'^roi_head\.0\.', 'roi_head.'),
    (r'^query_head\.(cls_branches|reg_branches)\.', r'bbox_head.\1.'),
    (r'^query_head\.dn_generator\.', 'dn_query_generator.'),
    (r'^query_head\.downsample\.0\.', 'downsample.conv.'),
    (r'^query_head\.downsample\.1\.', 'downsample.gn.'),
)
# What makes queries of the boxes of the auxiliary head with that number.
_QUERIES = {
    'aux_pos_trans': 'position.0',
    'aux_pos_trans_norm': 'position.1',
    'pos_feats_trans': 'content.0',
    'pos_feats_norm': 'content.1',
}
_AUXILIARY = re.compile(rf'^query_head\.transformer\.({"|".join(_QUERIES)})\.(\d)\.')


def from_co_detr_release(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Rename the tensors of Co-DETR as SoMA's release has it to the names of ``CoDETR``.

    Args:
        state: Tensors by name, of any origin.

    Returns:
        The same mapping if it does not have the release's decoder.

    Raises:
        ValueError: If a name of the release's ``query_head`` is of no part of Co-DETR.
    """
    if not any(name.startswith('query_head.transformer.') for name in state):
        return state
    # The release counts those auxiliary heads that it has, in this order.
    heads = [
        ours
        for ours, theirs in (('roi', 'roi_head.0.'), ('atss', 'bbox_head.0.'))
        if any(name.startswith(theirs) for name in state)
    ]

    def queries(match: re.Match) -> str:
        part, head = match[1], int(match[2])
        if head >= len(heads):
            raise ValueError(f'{match.string} is for auxiliary head {head}, but there are {heads}')
        return f'aux_queries.{heads[head]}.{_QUERIES[part]}.'

    renamed = {}
    for name, value in state.items():
        new = _AUXILIARY.sub(queries, name)
        for pattern, replacement in _NAMES:
            new = re.sub(pattern, replacement, new)
        renamed[new] = value
    if unknown := [name for name in renamed if name.startswith('query_head.')]:
        raise ValueError(f'{unknown[0]} is no part of Co-DETR as SoMA was released with')
    return renamed
