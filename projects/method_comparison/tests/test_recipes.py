"""The recipes on CamVid."""

import pytest

from method_comparison import Comparison, read_recipe
from soma.utils.config import REPOSITORY, load_config

FOLDER = REPOSITORY / 'projects/method_comparison/configs'
LR_MULT = 'optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult'


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


def test_study_has_all_methods_of_camvid_and_each_its_rate():
    study, tuning, claims = (read_recipe(FOLDER / f'{n}.py') for n in ('study', 'tuning', 'claims'))
    configs = (REPOSITORY / 'configs/camvid').glob('*_dinov2-S_linear_*.py')
    averaged = {'full-pixmix', 'full-bilateral', 'revt'}
    assert {path.name.split('_')[0] for path in configs} == study.methods.keys() - averaged
    assert study.methods['revt'].average == ('full', 'full-pixmix', 'full-bilateral')
    tried = {tuple(name.split('@')) for name in tuning.methods}
    tuned = {name for name, _ in tried}
    assert tuned == {*study.methods, *claims.methods} - averaged
    for name, method in {**study.methods, **claims.methods}.items():
        if name not in ('frozen', *averaged):
            assert (name, f'{method.options[LR_MULT]:g}') in tried
    for recipe in (study, claims):
        words = dict(spread='', methods='', iterations=200, pretrained='x')
        assert '{' not in recipe.introduction.format(**words)


def test_trainings_rates_and_tests_share_no_image(config_of):
    study, tuning = config_of('study', 'soma'), config_of('tuning', 'soma@0.015')
    tested = {part.domain: part for part in study.test_dataloader.dataset.datasets}
    (held_out,) = tuning.test_dataloader.dataset.datasets
    training, rates = study.train_dataloader.dataset, held_out
    assert training.ann_file == rates.ann_file == tested['day'].ann_file == 'day.txt'
    parts = [set(part.indices) for part in (training, rates, tested['day'])]
    assert [len(part) for part in parts] == [192, 41, 41]
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
    assert set(tested['fog-5'].indices) <= parts[2] and len(tested) == 3 + 15
    assert study.test_evaluator.mean_over == ['dusk', 'day2']
    assert tuning.train_dataloader.dataset.indices == training.indices


def test_images_and_crops_are_small(config_of):
    config = config_of('study', 'soma')
    assert config.model.data_preprocessor.size == (168, 168)
    pipeline = config.train_dataloader.dataset.pipeline
    assert (pipeline[2].scale, pipeline[3].crop_size) == ((336, 252), (168, 168))
    domains = {part.domain: part for part in config.test_dataloader.dataset.datasets}
    assert domains['fog-5'].pipeline[1] == dict(type='Corrupt', name='fog', severity=5)
    assert all(part.pipeline[-3].scale == (336, 252) for part in domains.values())
    assert all(part.metainfo.classes[-1] == 'car' for part in domains.values())


@pytest.mark.slow
def test_toy_gta_is_read_with_the_classes_of_camvid(config_of):
    data = config_of('study', 'full-pixmix', 'toy_gta').train_dataloader.dataset
    assert data.data_root.endswith('data/toy_study/gta') and len(data.metainfo.classes) == 11
    assert data.pipeline[5].type == 'PixMix' and data.pipeline[2].scale == (336, 252)


@pytest.mark.slow
def test_toy_streets_need_no_other_options(config_of):
    config = config_of('toy', 'soma', 'gta')
    assert config.train_cfg.max_iters == 50 and config.test_evaluator.per_image
    assert len(config.test_dataloader.dataset.datasets) == 7


@pytest.mark.slow
def test_variants_of_the_claims(config_of):
    soma = config_of('claims', 'soma')
    constant = config_of('claims', 'soma-constant-decay')
    assert constant.param_scheduler == soma.param_scheduler[:2]
    assert constant.model == soma.model and constant.param_scheduler[1].end == 200
    lora = config_of('claims', 'lora-as-soma')
    assert lora.param_scheduler == soma.param_scheduler
    adapter = dict(type='LoRA', rank=16, start_block=4, train_bias=True)
    assert lora.model.backbone.adapter == adapter


def test_a_method_of_ones_own_joins(config_of, tmp_path, monkeypatch):
    config = REPOSITORY / 'configs/camvid/mica_dinov2-S_linear_camvid-day2dusk_364x476.py'
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
