"""A trained model, ready to segment pictures."""

from __future__ import annotations

import copy
import os

import numpy as np
import torch
from mmengine.config import Config
from mmseg.apis import inference_model, init_model
from mmseg.datasets import CityscapesDataset

from ..adapters import merge_adapter
from ..config import load_config
from ..files import read_checkpoint, state_dict_of


class Inferencer:
    """Segments pictures with the ``test_pipeline`` of a config.

    Args:
        config: File or config.
        checkpoint: File whose keys are exactly the model's.
        device: Where to run; the first GPU, or the CPU without one, if None.

    Raises:
        FileNotFoundError: If a file does not exist.
        ValueError: If the checkpoint is not this config's.

    Attributes:
        classes: Names of the classes.
        palette: RGB colour of each class.
    """

    def __init__(
        self, config: str | os.PathLike | Config, checkpoint: str, device: str | None = None
    ) -> None:
        device = device or ('cuda:0' if torch.cuda.is_available() else 'cpu')
        # mmseg changes the config that it is given.
        config = copy.deepcopy(config) if isinstance(config, Config) else load_config(config)
        model = init_model(config, None, device='cpu')
        content = read_checkpoint(checkpoint)
        try:
            model.load_state_dict(state_dict_of(content, checkpoint))
        except RuntimeError as error:
            raise ValueError(f'{checkpoint} is not of this config: {error}') from error
        merge_adapter(model)
        self.model = model.to(device).eval()
        meta = content.get('meta', {}).get('dataset_meta') or CityscapesDataset.METAINFO
        self.classes, self.palette = meta['classes'], np.array(meta['palette'], np.uint8)

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
