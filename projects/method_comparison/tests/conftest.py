"""A made-up comparison with results, and one of tiny models that runs."""

import copy
from pathlib import Path

import pytest

from method_comparison import Comparison, Recipe, read_recipe
from method_comparison.configs import config_text
from method_comparison.recipe import Method, Setting
from soma.checkpoints import convert_dinov2_file

UNSEEN = ('citys', 'fog', 'snow')
CONFIG = """
model = dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='base.pth')))
train_cfg = dict(max_iters=350)
"""


@pytest.fixture
def comparison(tmp_path):
    methods = {name: Method(Path('x.py'), note=f'A note on {name}.') for name in ('frozen', 'soma')}
    settings = {n: Setting(Path('s.py'), Path('t.py'), f'the {n} set') for n in ('gta', 'synthia')}
    introduction = '# Title\n\nMade{spread}, {iterations} iterations. {methods}'
    claim = dict(claim='It helps', method='soma', against='frozen', source='a paper')
    chosen = tuple(settings)
    recipe = Recipe(
        'mine', methods, settings, (0, 1, 2), 350, chosen, introduction, ('frozen',), (claim,)
    )
    comparison = Comparison(recipe, tmp_path, tuple(methods), tuple(settings), (0, 1, 2), 350)
    for run in comparison.runs:
        comparison.folder(run).mkdir(parents=True)
        comparison.config_file(run).write_text(CONFIG)
    return comparison


def report_of(score):
    """A report on ``UNSEEN``, each of three images of 1000 pixels, about ``score`` percent right.

    The first and last image are better and worse by 5 points.
    """
    hits = [[10 * score + 50, 10 * score, 10 * score - 50]]
    pixels = dict(intersection=hits, union=[[1000] * 3], label=[[1000] * 3])
    per_image = dict(images=['a', 'b', 'c'], **pixels)
    domain = dict(mIoU=score, per_image=per_image)
    mean = dict(mIoU=score, ECE=5.0, NLL=0.5)
    return dict(domains=dict.fromkeys(UNSEEN, domain), mean_over=[*UNSEEN], mean=mean)


@pytest.fixture
def results():
    """Two methods, two sources and three seeds; SoMA is better but on the source."""
    moved = dict(change=0.05, principal=0.1, minor=0.6, between=0.2, outside=0.1)
    moved['effective_rank'] = 3.0

    def result(method, source, seed):
        score = (30.0 if method == 'soma' else 20.0) + seed
        return {
            'method': method,
            'source': source,
            'seed': seed,
            'mIoU': dict.fromkeys(UNSEEN, score)
            | {'unseen': score, 'source': 69.0 - score + 2 * seed},
            'report': report_of(score),
            'trained': {'backbone': 1200 if method == 'soma' else 0, 'head': 34000},
            'shared_bytes': {'backbone': 4800 if method == 'soma' else 0, 'head': 136000},
            'drift': moved if method == 'soma' else dict.fromkeys(moved, 0.0),
            'cost': {'seconds': 80.0, 'train_seconds': 60.0 + seed, 'peak_mb': 900.0},
        }

    return [
        result(method, source, seed)
        for method in ('frozen', 'soma')
        for source in ('gta', 'synthia')
        for seed in (0, 1, 2)
    ]


@pytest.fixture
def recipe_file(tiny_config, public_file, tmp_path):
    """A recipe with the tiny backbone and its data: four methods, one setting."""
    folder = tmp_path / 'recipe'
    folder.mkdir()
    convert_dinov2_file(public_file, folder / 'base.pth', (32, 32), 8)

    def write(method):
        (folder / f'{method}.py').write_text(config_text(tiny_config.to_dict(), method))

    tiny_config.custom_imports = dict(imports=['soma'])
    tiny_config.work_dir = None
    tiny_config.default_hooks.domains = dict(type='DomainReportHook')
    backbone = tiny_config.model.backbone
    backbone.init_cfg.checkpoint = str(folder / 'base.pth')
    write('soma')
    backbone.pop('adapter')
    write('full')
    backbone.frozen_blocks = 2
    write('last2')
    backbone.frozen_blocks = 4
    dataset = tiny_config.train_dataloader.dataset
    *load, pack = dataset.pipeline
    dataset.pipeline = [*load, dict(type='RandomFlip', prob=1), pack]
    write('flipped')
    data = dataset.to_dict()
    source = dict(tiny_config.train_dataloader.to_dict(), batch_size=1)
    source['dataset'] = dict(data, indices=3, pipeline=[])
    (folder / 'source.py').write_text(f'train_dataloader = {source!r}\n')
    target = copy.deepcopy(tiny_config.test_dataloader.to_dict())
    parts = target['dataset']['datasets']
    parts.append(dict(data, indices=-1, pipeline=parts[0]['pipeline']))
    evaluator = dict(type='DomainIoUMetric', mean_over=['citys', 'fog'])
    (folder / 'target.py').write_text(
        f'test_dataloader = {target!r}\ntest_evaluator = {evaluator!r}\n'
    )
    (folder / 'recipe.py').write_text(
        "methods = {n: dict(config=f'{n}.py') for n in ('soma', 'last2', 'full', 'flipped')}\n"
        "methods['mean'] = dict(average=['last2', 'full'], note='An average.')\n"
        "settings = dict(gta=dict(source='source.py', target='target.py', title='the stripes'))\n"
        'seeds = [0]\niterations = 14\n'
    )
    return folder / 'recipe.py'


@pytest.fixture
def compare(recipe_file, tmp_path):
    """Make a comparison out of ``recipe_file``."""

    def make(methods, seeds=(0,), iterations=14):
        recipe = read_recipe(recipe_file)
        work_dir = tmp_path / 'work'
        return Comparison(recipe, work_dir, tuple(methods), ('gta',), tuple(seeds), iterations)

    return make
