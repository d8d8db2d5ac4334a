import pytest

from method_comparison import Comparison, read_recipe
from soma.utils.config import load_config


@pytest.fixture
def write(compare):
    """Write the configs of a comparison's runs."""

    def write(*arguments, **options):
        comparison = compare(*arguments, **options)
        for run in comparison.runs:
            comparison.folder(run).mkdir(parents=True, exist_ok=True)
            comparison.config_file(run).write_text(comparison.config_text(run))
        return comparison

    return write


@pytest.mark.parametrize(
    ('what', 'value'),
    [
        ('methods', ('soma', 'best')),
        ('settings', ('gta', 'gta')),
        ('seeds', ()),
        ('iterations', 9),
    ],
)
def test_choices_that_make_no_sense_are_refused(what, value, recipe_file, tmp_path):
    good = dict(methods=('soma',), settings=('gta',), seeds=(0,), iterations=14)
    Comparison(read_recipe(recipe_file), tmp_path, **good)
    with pytest.raises(ValueError, match=what):
        Comparison(read_recipe(recipe_file), tmp_path, **{**good, what: value})


def test_an_average_comes_after_its_parts_which_run_once(write):
    comparison = write(('mean', 'full'), seeds=(3,))
    assert [run.method for run in comparison.runs] == ['last2', 'full', 'mean']
    assert [run.method for run in comparison.reported] == ['mean', 'full']
    mean = comparison.runs[-1]
    average, test = comparison.job(mean, []).commands
    files = [str(comparison.checkpoint(part)) for part in comparison.parts(mean)]
    assert average[average.index('--checkpoints') + 1 :][:2] == tuple(files)
    assert test[2:4] == (str(comparison.config_file(mean)), str(comparison.checkpoint(mean)))


@pytest.mark.parametrize('method', ['soma', 'last2', 'flipped'])
def test_config_is_the_methods_on_the_data_of_the_setting(method, write, recipe_file):
    comparison = write((method,), seeds=(5,), iterations=40)
    (run,) = comparison.runs
    config = load_config(comparison.config_file(run))
    alone = load_config(recipe_file.with_name(f'{method}.py'))
    data = config.train_dataloader.dataset
    assert (data.domain, data.indices, config.randomness.seed) == ('gta', 3, 5)
    assert config.train_dataloader.batch_size == 1
    assert data.pipeline == alone.train_dataloader.dataset.pipeline and len(data.pipeline) > 3
    tests = config.test_dataloader.dataset.datasets
    assert [part.domain for part in tests] == ['citys', 'fog', 'gta']
    assert tests[-1].indices == -1 and 'indices' not in tests[0]
    assert config.val_evaluator.mean_over == config.test_evaluator.mean_over == ['citys', 'fog']
    assert config.val_dataloader == config.test_dataloader
    ends = [scheduler.end for scheduler in config.param_scheduler]
    assert ends == [scheduler.end * 10 for scheduler in alone.param_scheduler] == [40, 40]
    assert config.train_cfg.max_iters == config.default_hooks.checkpoint.interval == 40
    assert config.train_cfg.val_interval == 40
    assert config.model == alone.model and config.optim_wrapper == alone.optim_wrapper


def test_settings_change_with_the_config_and_those_of_the_parts(write):
    comparison = write(('soma', 'mean'), seeds=(0, 1))
    soma, last2, _, mean, other_seed, *_ = comparison.runs
    before = comparison.hash_settings(soma)
    assert before != comparison.hash_settings(other_seed)
    assert before == comparison.hash_settings(soma)
    text = comparison.config_text(soma)
    comparison.config_file(soma).write_text(text + '# a comment\n')
    assert comparison.hash_settings(soma) == before
    of_mean = comparison.hash_settings(mean)
    comparison.config_file(last2).write_text(comparison.config_text(last2) + 'x = 1\n')
    assert comparison.hash_settings(mean) != of_mean
    assert write(('soma',), iterations=100).hash_settings(soma) != before


@pytest.mark.parametrize(
    ('text', 'error', 'message'),
    [
        ('settings = dict(a=1)', ValueError, 'needs methods'),
        (
            "methods = dict(a=dict(note=''))\nsettings = dict(a=1)",
            ValueError,
            r"'a'\] needs config",
        ),
        (
            "methods = dict(a=dict(config='no.py'))\nsettings = dict(a=1)",
            FileNotFoundError,
            r'no\.py',
        ),
        (
            "methods = dict(a=dict(average=['b']))\nsettings = dict(a=1)",
            ValueError,
            'a averages b, which has no config',
        ),
        (
            "methods = dict(a=dict(config='soma.py'))\nsettings = dict(b=dict(source='source.py'))",
            ValueError,
            r"'b'\] needs target",
        ),
        (
            "methods = dict(a=dict(config='soma.py'))\n"
            "settings = dict(b=dict(source='source.py', target='target.py'))\nchosen = ['c']",
            ValueError,
            'chosen has c',
        ),
    ],
)
def test_what_is_wrong_in_a_recipe_is_named(recipe_file, text, error, message):
    recipe_file.write_text(text)
    with pytest.raises(error, match=rf'recipe\.py.*{message}'):
        read_recipe(recipe_file)


def test_a_config_without_its_data_is_named(compare, recipe_file):
    comparison = compare(('soma',))
    target = recipe_file.with_name('target.py')
    text = target.read_text()
    target.write_text(text.replace("mean_over=['citys', 'fog']", '').replace('mean_over', 'x'))
    with pytest.raises(ValueError, match=r'target\.py counts gta, on which is trained'):
        comparison.config_text(comparison.runs[0])
    target.write_text(text.replace('test_evaluator', 'evaluator'))
    with pytest.raises(ValueError, match=r'target\.py has no test_evaluator'):
        comparison.config_text(comparison.runs[0])
