"""What the demos run and show."""

import json

import pytest
import torch
from PIL import Image

from soma.io.checkpoint_files import read_state_dict, write_checkpoint
from soma.models.build import build_model, use_plain_model
from soma.utils.config import REPOSITORY, load_config
from soma.utils.jobs import Usage
from toy_streets import demo as package
from toy_streets.demo import DEMOS, PRETRAINED, read_metrics, run_demo, summary_table
from toy_streets.foundation import pretrain_toy
from toy_streets.panel import write_panels


def test_toy_foundation_model_has_the_public_layout(toy):
    state = read_state_dict(toy / 'checkpoints' / 'pretrained.pth')
    assert state['patch_embed.proj.weight'].shape == (64, 3, 14, 14)
    assert state['pos_embed'].shape == (1, 1 + 16 * 16, 64)
    assert {'mask_token', 'cls_token', 'norm.weight', 'blocks.5.ls2.gamma'} <= state.keys()


def test_shipped_foundation_model_is_what_the_script_would_write(toy):
    """A small file with the names, shapes and types of a pretrained one, and no fresh weights."""
    assert PRETRAINED.stat().st_size < 2e6
    shipped = read_state_dict(PRETRAINED)
    fresh = read_state_dict(toy / 'checkpoints' / 'pretrained.pth')
    assert {n: (v.shape, v.dtype) for n, v in shipped.items()} == {
        n: (v.shape, v.dtype) for n, v in fresh.items()
    }
    gamma = shipped['blocks.5.ls2.gamma']
    assert gamma.std() > 0.05 and all(value.isfinite().all() for value in shipped.values())


def test_pretraining_is_repeatable_and_learns():
    first, again = (pretrain_toy(images=1, steps=2, batch=1, seed=3) for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    other = pretrain_toy(images=1, steps=2, batch=1, seed=4)
    assert not torch.equal(first['pos_embed'], other['pos_embed'])
    with pytest.raises(ValueError, match='positive'):
        pretrain_toy(images=0)


def test_the_script_writes_a_foundation_model(tmp_path, run_here):
    script = REPOSITORY / 'projects/toy_streets/pretrain_toy.py'
    options = ('--images', 1, '--steps', 1, '--nproc', 1)
    run_here(script, tmp_path / 'toy.safetensors', *options)
    assert (
        read_state_dict(tmp_path / 'toy.safetensors').keys() == read_state_dict(PRETRAINED).keys()
    )


@pytest.mark.parametrize('task', DEMOS)
def test_jobs_name_scripts_and_configs_that_exist_and_come_after_what_they_need(task, tmp_path):
    demo = DEMOS[task]
    for jobs in (demo.preparation(tmp_path), demo.training(tmp_path)):
        done = set()
        for job in jobs:
            assert set(job.needs) <= done and job.kind in demo.seconds
            done.add(job.name)
            ((_, script, *_),) = job.commands
            assert script.startswith(str(REPOSITORY)) and script.endswith('.py')
            assert (REPOSITORY / script).is_file()
    assert all(demo.config_file(method).exists() for method in demo.methods)


@pytest.mark.parametrize('score', ['IoU', 'AP'])
def test_demo_reads_the_newest_metrics_and_makes_a_table(score, tmp_path):
    write_metrics(tmp_path, f'm{score}', 20.001)
    row = read_metrics(tmp_path)
    assert row == {'fog': 20.0, 'mean': 20.0}
    table = summary_table({'soma': row, 'full': {'fog': 10.0, 'mean': 10.0}}, 'title')
    assert [c.header for c in table.columns] == ['method', 'fog', 'mean'] and table.row_count == 2


def write_metrics(folder, key, value):
    (folder / '1').mkdir(parents=True)
    content = {'domains': {'fog': {key: value, 'x': 60.0}}, 'mean': {key: 20.0}, 'score': key[1:]}
    (folder / '1' / 'domains_test.json').write_text(json.dumps(content))


def test_a_table_stands_after_each_test(tmp_path, monkeypatch):
    tables, drawn = [], []

    def run_jobs(jobs, workers, finish, durations, **options):
        for job in jobs:
            if job.kind == 'test':
                write_metrics(tmp_path / job.name.split(': ')[1] / 'test', 'mIoU', 10 * len(drawn))
            shown = finish(job, Usage(3.4, 1.0))
            if job.kind == 'test':
                tables.append(shown.row_count)
            else:
                assert shown == '3 s'
        return {}

    monkeypatch.setattr(package, 'run_jobs', run_jobs)
    monkeypatch.setattr(package, 'write_panels', lambda models, *_: drawn.extend(models))
    summary = run_demo('segmentation', tmp_path)
    assert tables == [1, 2, 3] and drawn == list(summary) == ['soma', 'frozen', 'full']
    assert json.loads((tmp_path / 'summary.json').read_text()) == summary


def test_what_fails_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(package, 'run_jobs', lambda jobs, *_, **__: {jobs[0].name: 'no disk'})
    with pytest.raises(RuntimeError, match='Make toy streets: no disk'):
        run_demo('detection', tmp_path)
    assert not (tmp_path / 'summary.json').exists()


@pytest.mark.slow
@pytest.mark.parametrize('task', DEMOS)
def test_panels_show_the_image_the_ground_truth_and_each_method(task, toy, tmp_path, monkeypatch):
    monkeypatch.chdir(toy)
    demo, models = DEMOS[task], {}
    for method in ('soma', 'frozen'):
        config = load_config(demo.config_file(method))
        use_plain_model(config)
        models[method] = demo.config_file(method), demo.checkpoint(tmp_path, method)
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
