"""What a config says of images without labels: how they are prepared, and their classes."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.config import Config

from ..io.files import InputError
from ..utils.config import metainfo_of, test_dataset


def test_steps(config: Config) -> list[dict]:
    """What loads an image and prepares it for the model, without its labels.

    Raises:
        InputError: If the config does not say it.
    """
    pipeline = config.get('test_pipeline') or test_dataset(config).get('pipeline') or []
    if not (steps := _without_labels(pipeline)):
        raise InputError('the config has no test_pipeline, nor a test_dataloader with one: add it')
    return steps


def _without_labels(steps: Sequence[dict]) -> list[dict]:
    """Leave out what loads labels, also of test-time augmentation, whose steps have choices."""
    steps = [step for step in steps if not step['type'].endswith('LoadAnnotations')]
    for index, step in enumerate(steps):
        if step['type'].endswith('TestTimeAug'):
            choices = [choice for one in step['transforms'] if (choice := _without_labels(one))]
            steps[index] = dict(step, transforms=choices)
    return steps


def test_classes(config: Config) -> dict:
    """The classes and colours of the data that a config tests on, whose files need not be there.

    Raises:
        InputError: If the config names no data.
    """
    if not (dataset := test_dataset(config)):
        raise InputError('neither the checkpoint nor a test_dataloader names the classes: add one')
    return metainfo_of(dataset)
