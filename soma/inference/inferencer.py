"""A trained model, ready to segment pictures."""

from __future__ import annotations

import copy
import os

import numpy as np
import torch
from mmengine.config import Config
from mmseg.apis import inference_model, init_model
from mmseg.datasets import CityscapesDataset

from ..checkpoints import load_plain
from ..config import load_config, use_plain_model


class Inferencer:
    """Segments pictures with the ``test_pipeline`` of a config.

    Args:
        config: File or config.
        checkpoint: Training checkpoint, adapter file or merged file; adapters are folded in.
        device: Where to run; the first GPU, or the CPU without one, if None.
        backbone: File of the base weights of an adapter; the one of the config's ``init_cfg`` if
            None.
        force: Accept other base weights than those that the adapter was trained on.

    Raises:
        FileNotFoundError: If a file does not exist.
        CheckpointError: If the checkpoint is not this config's.

    Attributes:
        classes: Names of the classes.
        palette: RGB colour of each class.
    """

    def __init__(
        self,
        config: str | os.PathLike | Config,
        checkpoint: str | os.PathLike,
        device: str | None = None,
        backbone: str | os.PathLike | None = None,
        force: bool = False,
    ) -> None:
        device = device or ('cuda:0' if torch.cuda.is_available() else 'cpu')
        # mmseg changes the config that it is given.
        config = copy.deepcopy(config) if isinstance(config, Config) else load_config(config)
        pretrained = use_plain_model(config)
        model = init_model(config, None, device='cpu')
        card = load_plain(model, checkpoint, backbone or pretrained, force)
        self.model = model.to(device).eval()
        known = {**card} if card.get('classes') else {**CityscapesDataset.METAINFO}
        self.classes = known['classes']
        if not known.get('palette'):
            known['palette'] = np.random.default_rng(0).integers(0, 256, (len(self.classes), 3))
        self.palette = np.array(known['palette'], np.uint8)

    def __call__(self, image: str | np.ndarray) -> np.ndarray:
        """Segment a picture.

        Args:
            image: File, or array ``(h, w, 3)`` in BGR order as OpenCV reads it.

        Returns:
            Class of each pixel, shape ``(h, w)``, uint8.
        """
        loader = self.model.cfg.test_pipeline[0]
        kind = loader['type']
        result = inference_model(self.model, image)
        loader['type'] = kind  # for an array, mmseg has set another one
        return result.pred_sem_seg.data.squeeze(0).cpu().numpy().astype(np.uint8)
