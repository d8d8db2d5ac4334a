"""Layers of a vision transformer that timm lacks under DINOv2's names."""

import torch.nn.functional as F
from timm.models.vision_transformer import Attention
from torch import Tensor, nn


class SwiGLU(nn.Module):
    """Feed-forward network of the giant DINOv2: ``w3(silu(a) * b)`` with ``a, b = w12(x)``.

    Args:
        in_features: Width of the transformer.
        hidden_features: Width of a plain network's hidden layer; two thirds of it are used,
            rounded up to a multiple of 8 (arXiv 2002.05202).
    """

    def __init__(self, in_features: int, hidden_features: int, **unused) -> None:
        super().__init__()
        hidden = (int(hidden_features * 2 / 3) + 7) // 8 * 8
        self.w12 = nn.Linear(in_features, 2 * hidden)
        self.w3 = nn.Linear(hidden, in_features)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, tokens, dim)`` to the same shape."""
        gate, value = self.w12(x).chunk(2, dim=-1)
        return self.w3(F.silu(gate) * value)


class XFormersAttention(Attention):
    """timm's attention with the kernel of xformers (``pip install soma[xformers]``)."""

    def forward(self, x: Tensor, attn_mask: Tensor | None = None, **kwargs) -> Tensor:
        """Map ``(n, tokens, dim)`` to the same shape; with a mask, as timm's attention does."""
        if attn_mask is not None:
            return super().forward(x, attn_mask, **kwargs)
        from xformers.ops import memory_efficient_attention

        n, tokens, dim = x.shape
        qkv = self.qkv(x).reshape(n, tokens, 3, self.num_heads, dim // self.num_heads)
        return self.proj(memory_efficient_attention(*qkv.unbind(2)).reshape(n, tokens, dim))
