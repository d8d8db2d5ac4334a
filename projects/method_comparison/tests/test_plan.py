import pytest

from soma.study.plan import METHODS, UNSEEN, Run, Study
from soma.utils.config import REPOSITORY, load_config


@pytest.fixture
def write(tmp_path):
    """Write the configs of a study's runs."""

    def write(**options):
        study = Study(tmp_path, **options)
        for run in study.runs:
            study.folder(run).mkdir(parents=True, exist_ok=True)
            study.config_file(run).write_text(study.config_text(run))
        return study

    return write


@pytest.mark.parametrize(
    'options',
    [
        dict(methods=('soma', 'best')),
        dict(sources=('gta', 'gta')),
        dict(seeds=()),
        dict(iterations=9),
    ],
)
def test_choices_that_make_no_sense_are_refused(options, tmp_path):
    with pytest.raises(ValueError, match=next(iter(options))):
        Study(tmp_path, **options)


def test_an_average_comes_after_its_parts_which_run_once(tmp_path):
    study = Study(tmp_path, methods=('revt', 'full'), sources=('gta',), seeds=(3,))
    assert [run.method for run in study.runs] == ['full', 'full-pixmix', 'full-bilateral', 'revt']
    assert [run.method for run in study.reported] == ['revt', 'full']
    revt = study.runs[-1]
    average, test = study.job(revt, []).commands
    files = [str(study.checkpoint(part)) for part in revt.parts]
    assert average[average.index('--checkpoints') + 1 :][:3] == tuple(files)
    assert test[2:4] == (str(study.config_file(revt)), str(study.checkpoint(revt)))


@pytest.mark.parametrize('method', ['soma', 'last2'])
def test_config_says_what_differs_from_the_method(method, write):
    study = write(methods=(method,), sources=('synthia',), seeds=(5,), iterations=70)
    (run,) = study.runs
    config = load_config(study.config_file(run))
    name = f'{method}_dinov2-toy_semfpn_gta2all_256x256.py'
    own = load_config(REPOSITORY / 'configs/toy' / name)
    data = config.train_dataloader.dataset
    assert (data.domain, data.indices, config.randomness.seed) == ('synthia', 300, 5)
    assert data.data_root.endswith('data/toy_study/synthia')
    assert data.pipeline == own.train_dataloader.dataset.pipeline
    tests = config.test_dataloader.dataset.datasets
    assert [part.domain for part in tests] == [*UNSEEN, 'synthia']
    assert all('data/toy_study/' in part.data_root for part in tests)
    assert tests[-1].indices == -12 and 'indices' not in tests[0]
    assert config.val_evaluator.mean_over == config.test_evaluator.mean_over == [*UNSEEN]
    ends = [(each.begin, each.end) for each in config.param_scheduler]
    assert ends == [(each.begin // 10, each.end // 10) for each in own.param_scheduler]
    assert config.train_cfg.max_iters == config.default_hooks.checkpoint.interval == 70
    assert config.model.backbone.pop('init_cfg').checkpoint.startswith('data/toy_study')
    own.model.backbone.pop('init_cfg')
    assert config.model == own.model and config.optim_wrapper == own.optim_wrapper


def test_settings_change_with_the_config_and_those_of_the_parts(write, tmp_path):
    study = write(methods=('soma',), sources=('gta',), seeds=(0, 1))
    first, second = study.runs
    before = study.settings(first)
    assert before != study.settings(second) and before == study.settings(first)
    study.config_file(first).write_text(study.config_text(first) + '# a comment\n')
    assert study.settings(first) == before
    assert write(methods=('soma',), sources=('gta',), iterations=100).settings(first) != before


@pytest.mark.parametrize('method', METHODS)
def test_every_method_has_a_config(method, tmp_path):
    for run in Run(method, 'gta', 0).parts or [Run(method, 'gta', 0)]:
        assert f'configs/toy/{run.method}_' in Study(tmp_path).config_text(run)


def test_preparation_is_done_once(tmp_path):
    study = Study(tmp_path / 'work', data=str(tmp_path / 'data'))
    jobs = {job.name: job for job in study.preparation(2)}
    assert next(iter(jobs)) == 'pretraining' and list(jobs['conversion'].needs) == ['pretraining']
    assert 'fractals' in jobs and 'fractals' not in [
        job.name for job in Study(tmp_path, ('soma',)).preparation(2)
    ]
    for product in ('checkpoints/dinov2_toy14_pretrain.pth', 'gta/conversion.json'):
        (tmp_path / 'data' / product).parent.mkdir(parents=True)
        (tmp_path / 'data' / product).touch()
    left = {job.name: job for job in study.preparation(2)}
    assert jobs.keys() - left.keys() == {'pretraining', 'labels of gta'}
    assert list(left['conversion'].needs) == []
