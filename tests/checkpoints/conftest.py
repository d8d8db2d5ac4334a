"""What the tests of files share."""

import pytest


@pytest.fixture
def tiny_config(tiny_config):
    """Without a validation, of which a file holds nothing."""
    tiny_config.update(dict.fromkeys(('val_cfg', 'val_dataloader', 'val_evaluator')))
    return tiny_config
