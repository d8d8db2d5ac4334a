"""The recipes on CamVid."""

import pytest

from method_comparison import Comparison, read_recipe
from soma.utils.config import REPOSITORY, load_config

FOLDER = REPOSITORY / 'projects/method_comparison/configs'


@pytest.fixture
def config_of(tmp_path):
    """The config of a run of a recipe; all of its other methods are read, too."""

    def read(recipe, method, setting='day', **options):
        recipe = read_recipe(FOLDER / f'{recipe}.py', **options)
        comparison = Comparison(recipe, tmp_path, (method,), (setting,), (5,), recipe.iterations)
        run = comparison.runs[-1]
        comparison.folder(run).mkdir(parents=True, exist_ok=True)
        comparison.config_file(run).write_text(comparison.config_text(run))
        return load_config(comparison.config_file(run))

    return read


def test_study_has_all_methods_of_camvid():
    methods = read_recipe(FOLDER / 'study.py').methods
    configs = (REPOSITORY / 'configs/camvid').glob('*_dinov2-S_semfpn_*.py')
    assert {path.name.split('_')[0] for path in configs} == {
        name for name, method in methods.items() if not (method.average or '-' in name)
    } | {'lora-null'}
    assert methods['revt'].average == ('full', 'full-pixmix', 'full-bilateral')
    tuned = {name.split('@')[0] for name in read_recipe(FOLDER / 'tuning.py').methods}
    assert tuned | {'full-pixmix', 'full-bilateral', 'revt'} == set(methods)
    text = read_recipe(FOLDER / 'study.py').introduction
    assert '{' not in text.format(spread='', methods='', iterations=200)


def test_crops_and_images_are_small_and_unseen_domains_choose_nothing(config_of):
    config = config_of('study', 'soma')
    assert config.model.data_preprocessor.size == (168, 168)
    pipeline = config.train_dataloader.dataset.pipeline
    assert (pipeline[2].scale, pipeline[3].crop_size) == ((336, 252), (168, 168))
    domains = {part.domain: part for part in config.test_dataloader.dataset.datasets}
    assert len(domains) == 3 + 15 and config.test_evaluator.mean_over == ['dusk', 'day2']
    assert domains['fog-5'].pipeline[1] == dict(type='Corrupt', name='fog', severity=5)
    assert all(part.pipeline[-3].scale == (336, 252) for part in domains.values())
    assert all(part.metainfo.classes[-1] == 'car' for part in domains.values())
    tuning = config_of('tuning', 'soma@0.05')
    (held_out,) = tuning.test_dataloader.dataset.datasets
    assert held_out.ann_file == 'day_val.txt' and tuning.randomness.seed == 5
    assert tuning.optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult == 0.05


def test_toy_gta_is_read_with_the_classes_of_camvid(config_of):
    data = config_of('study', 'full-pixmix', 'toy_gta').train_dataloader.dataset
    assert data.data_root.endswith('data/toy/gta') and len(data.metainfo.classes) == 11
    assert data.pipeline[5].type == 'PixMix' and data.pipeline[2].scale == (336, 252)


def test_toy_streets_need_no_other_options(config_of):
    config = config_of('toy', 'soma', 'gta')
    assert config.train_cfg.max_iters == 50 and config.test_evaluator.per_image
    assert len(config.test_dataloader.dataset.datasets) == 7


def test_variants_of_the_claims(config_of):
    soma, late = (config_of('claims', name) for name in ('soma', 'soma-late'))
    assert late.model.backbone.adapter == {**soma.model.backbone.adapter, 'start_block': 8}
    constant = config_of('claims', 'soma-constant-decay')
    assert constant.param_scheduler == soma.param_scheduler[:1]
    assert constant.param_scheduler[0].end == 200


def test_a_method_of_ones_own_joins(config_of, tmp_path, monkeypatch):
    config = REPOSITORY / 'configs/camvid/mica_dinov2-S_semfpn_camvid-day2dusk_364x476.py'
    (tmp_path / 'mine.py').write_text(f'_base_ = {str(config)!r}\n')
    monkeypatch.chdir(tmp_path)
    changes = {'model.backbone.init_cfg.checkpoint': 'other.pth'}
    mine = config_of('quick', 'mine', changes=changes, added=['mine=mine.py'])
    assert mine.model.backbone.adapter.type == 'MiCA'
    assert mine.model.backbone.init_cfg.checkpoint == 'other.pth'
    assert mine.model.data_preprocessor.size == (168, 168)
    for wrong in ('mine.py', 'soma=mine.py'):
        with pytest.raises(ValueError, match=f'{wrong!r} must be NAME=CONFIG'):
            config_of('quick', 'mine', added=[wrong])
    with pytest.raises(FileNotFoundError, match=r'other\.py'):
        config_of('quick', 'mine', added=['mine=other.py'])
