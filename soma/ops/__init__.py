"""What mmcv's compiled module would provide, out of torchvision's and PyTorch's own operators."""

from soma.ops.install import install_attention, install_ops

__all__ = ['install_attention', 'install_ops']
