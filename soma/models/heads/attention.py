"""Attention with the parameters of mmcv's module, by PyTorch's fused kernel."""

from __future__ import annotations

import torch.nn.functional as F
from mmcv.cnn.bricks.transformer import MultiheadAttention
from torch import Tensor


def attend(
    module: MultiheadAttention,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
) -> Tensor:
    """Attention of mmcv's module, without identity and without returning its weights.

    Args:
        module: Its parameters are used.
        query: Shape ``(n, q, c)``.
        key: Shape ``(n, k, c)``.
        value: Shape ``(n, k, c)``.
        mask: True where a query sees a key, shape ``(n, 1, q, k)``.

    Returns:
        Shape ``(n, q, c)``.
    """
    attention = module.attn
    weights, biases = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
    heads = [
        F.linear(x, weight, bias).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
        for x, weight, bias in zip((query, key, value), weights, biases, strict=True)
    ]
    dropout = attention.dropout if module.training else 0.0
    out = F.scaled_dot_product_attention(*heads, attn_mask=mask, dropout_p=dropout)
    out = attention.out_proj(out.transpose(1, 2).flatten(2))
    return module.dropout_layer(module.proj_drop(out))
