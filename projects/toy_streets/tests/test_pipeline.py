"""The demo's way, smaller: streets, conversion, pretraining, training, test."""

import json

import pytest
import torch

from soma.checkpoints import convert_dinov2_file
from soma.checkpoints.export.onnx import export_onnx
from soma.datasets.prepare.convert import convert_dataset
from soma.io.checkpoint_files import read_state_dict, write_checkpoint
from soma.models.build import build_model, use_plain_model
from soma.utils.config import REPOSITORY, load_config
from toy_streets import DIVERSE_WEATHER_STYLES, write_toy_streets
from toy_streets.demo import DEMOS, draw_panel, read_metrics, summary_table
from toy_streets.foundation import pretrain_toy


@pytest.fixture(scope='session')
def toy(tmp_path_factory):
    """A folder with ``data/toy`` and ``checkpoints`` as the demo makes them."""
    root = tmp_path_factory.mktemp('toy')
    data, weights = root / 'data' / 'toy', root / 'checkpoints'
    write_toy_streets(data, 2, (96, 64), domains=['gta', 'bdd100k'], sources=['gta'])
    convert_dataset('gta', data / 'gta')
    write_checkpoint(pretrain_toy(images=2, steps=2, batch=2), weights / 'pretrained.pth')
    convert_dinov2_file(
        weights / 'pretrained.pth', weights / 'dinov2_toy_converted.pth', (256, 256), 16
    )
    return root


def test_toy_foundation_model_has_the_public_layout(toy):
    state = read_state_dict(toy / 'checkpoints' / 'pretrained.pth')
    assert state['patch_embed.proj.weight'].shape == (64, 3, 14, 14)
    assert state['pos_embed'].shape == (1, 1 + 16 * 16, 64)
    assert {'mask_token', 'cls_token', 'norm.weight', 'blocks.5.ls2.gamma'} <= state.keys()


def test_pretraining_is_repeatable_and_learns():
    first, again = (pretrain_toy(images=1, steps=2, batch=1, seed=3) for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    other = pretrain_toy(images=1, steps=2, batch=1, seed=4)
    assert not torch.equal(first['pos_embed'], other['pos_embed'])
    with pytest.raises(ValueError, match='positive'):
        pretrain_toy(images=0)


@pytest.mark.parametrize('head', ['mask2former', 'semfpn'])
def test_toy_model_trains_from_the_pretrained_file_and_exports(
    toy, head, build_runner, tmp_path, monkeypatch
):
    monkeypatch.chdir(toy)
    name = f'soma_dinov2-toy_{head}_gta2all_256x256.py'
    config = load_config(REPOSITORY / 'configs' / 'toy' / name)
    options = {
        'work_dir': str(tmp_path),
        'train_cfg.max_iters': 2,
        **dict.fromkeys(('val_cfg', 'val_dataloader', 'val_evaluator')),
        'train_dataloader': dict(batch_size=2),
        'default_hooks.checkpoint.interval': 2,
        'log_level': 'WARNING',
        'launcher': 'none',
    }
    build_runner(config, options).train()
    done = export_onnx(config, tmp_path / 'iter_2.pth', tmp_path / 'x.onnx')
    print(f'{head}: onnxruntime differs from PyTorch by {done.difference:.1e}')
    assert done.size == (256, 256) and done.difference <= 1e-3
    with pytest.raises(RuntimeError, match=r'250 x 300 pixels .* multiples of the patch'):
        export_onnx(config, tmp_path / 'iter_2.pth', tmp_path / 'y.onnx', (250, 300))


@pytest.mark.parametrize('task', DEMOS)
def test_demo_steps_name_scripts_and_configs_that_exist(task, tmp_path):
    steps = DEMOS[task].steps(tmp_path)
    assert all((REPOSITORY / 'tools' / step.command[0]).exists() for step in steps)
    assert all(DEMOS[task].config_file(method).exists() for method in DEMOS[task].methods)


@pytest.mark.parametrize('score', ['IoU', 'AP'])
def test_demo_reads_the_newest_metrics_and_makes_a_table(score, tmp_path):
    (tmp_path / '1').mkdir()
    key = f'm{score}'
    content = {'domains': {'fog': {key: 20.001, 'x': 60.0}}, 'mean': {key: 20.0}, 'score': score}
    (tmp_path / '1' / 'domains_test.json').write_text(json.dumps(content))
    row = read_metrics(tmp_path)
    assert row == {'fog': 20.0, 'mean': 20.0}
    table = summary_table({'soma': row, 'full': {'fog': 10.0, 'mean': 10.0}}, 'title')
    assert [c.header for c in table.columns] == ['method', 'fog', 'mean'] and table.row_count == 2


def test_demo_draws_boxes_beside_the_truth(toy, tmp_path, monkeypatch):
    monkeypatch.chdir(toy)
    write_toy_streets(toy / 'data/toy_weather', 1, (96, 64), domains=DIVERSE_WEATHER_STYLES)
    demo = DEMOS['detection']
    for method in demo.methods:
        config = load_config(demo.config_file(method))
        use_plain_model(config)
        write_checkpoint(build_model(config).state_dict(), demo.checkpoint(tmp_path, method))
    sheet = draw_panel(demo, tmp_path)
    height, width = sheet.shape[:2]
    assert width == 4 * 96 + 3 * 6 and height > len(demo.panel) * 64
