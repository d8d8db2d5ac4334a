"""The sheets of images that the toy demos write."""

import pytest
from PIL import Image

from soma.io.checkpoint_files import write_checkpoint
from soma.models.build import build_model, use_plain_model
from soma.utils.config import load_config
from soma_demo import DEMOS
from soma_demo.panel import write_panels


@pytest.mark.slow
@pytest.mark.parametrize('task', ['segmentation', 'detection'])
def test_panels_show_the_image_the_ground_truth_and_each_method(task, toy, tmp_path, monkeypatch):
    monkeypatch.chdir(toy)
    demo, models = DEMOS[task], {}
    for method in ('soma', 'frozen'):
        config = load_config(demo.configs[method])
        use_plain_model(config)
        models[method] = demo.configs[method], demo.checkpoint(tmp_path, method)
        model = build_model(config)
        model.init_weights()
        write_checkpoint(model.state_dict(), models[method][1])
    domain = demo.panel[-1:]
    write_panels(models, domain, domain, tmp_path)
    width, height = (256, 128) if task == 'detection' else (96, 64)
    panel = Image.open(tmp_path / 'panel.png')
    assert panel.width == 4 * width + 3 * 6 and panel.height > height
    small = Image.open(tmp_path / 'readme.png')
    assert small.width == 4 * 296 + 3 * 6 and small.height > 296 * height / width
