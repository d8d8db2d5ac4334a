from dataclasses import replace

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
        ('settings = dict(a={})', ValueError, 'needs methods'),
        (
            "methods = dict(a=dict(note=''))\nsettings = dict(a={})",
            ValueError,
            r"'a'\] needs config",
        ),
        (
            "methods = dict(a=dict(config='no.py'))\nsettings = dict(a={})",
            FileNotFoundError,
            r'no\.py',
        ),
        (
            "methods = dict(a=dict(average=['b']))\nsettings = dict(a={})",
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
        (
            "methods = dict(a=dict(config='soma.py', option={}))\nsettings = dict(a={})",
            ValueError,
            r"nothing reads 'option' of methods\['a'\]",
        ),
        (
            "methods = dict(a=dict(config='soma.py'), b=dict(average=['a'], options={}))\n"
            'settings = dict(a={})',
            ValueError,
            r"methods\['b'\] averages others: leave its config out",
        ),
        (
            "methods = dict(a=dict(config='soma.py'))\nsettings = dict(a={})\nseed = [1]",
            ValueError,
            "nothing reads 'seed': is it 'seeds'",
        ),
        (
            "methods = dict(a=dict(config='soma.py'))\nbaselines = ['b']\n"
            "settings = dict(b=dict(source='source.py', target='target.py'))",
            ValueError,
            'baselines has b, which is none of the methods',
        ),
        (
            "methods = dict(a=dict(config='soma.py'))\nclaims = [dict(claim='x', method='a')]\n"
            "settings = dict(b=dict(source='source.py', target='target.py'))",
            ValueError,
            'the claim .* needs against',
        ),
    ],
)
def test_what_is_wrong_in_a_recipe_is_named(recipe_file, text, error, message):
    recipe_file.write_text(text)
    with pytest.raises(error, match=rf'recipe\.py.*{message}'):
        read_recipe(recipe_file)


@pytest.mark.parametrize(
    'old, new, message',
    [
        ('mean_over', 'x', 'counts gta, on which is trained'),
        ('test_evaluator', 'evaluator', 'has no test_evaluator'),
    ],
)
def test_a_config_without_its_data_is_named(compare, recipe_file, old, new, message):
    comparison = compare(('soma',))
    target = recipe_file.with_name('target.py')
    target.write_text(target.read_text().replace(old, new))
    with pytest.raises(ValueError, match=rf'target\.py {message}'):
        comparison.config_text(comparison.runs[0])


def test_options_reach_all_of_a_run_but_what_is_the_comparisons(compare, recipe_file):
    def text(options):
        recipe_file.write_text(f'{recipe}options = {options!r}\n')
        comparison = compare(('soma',))
        return comparison.config_text(comparison.runs[0])

    recipe = recipe_file.read_text()
    config = text({'train_dataloader.batch_size': 2, 'model.backbone.adapter.rank': 3})
    assert "'batch_size': 2" in config and "'rank': 3" in config
    with pytest.raises(ValueError, match=r"randomness\.seed is the comparison's own"):
        text({'randomness.seed': 3})
    with pytest.raises(ValueError, match="nothing reads the key 'modell'"):
        text({'modell.backbone': 3})


def test_a_group_of_domains_that_are_not_tested_is_named(compare, recipe_file):
    recipe_file.write_text(
        recipe_file.read_text().replace("title='the", "groups=dict(far=['fig']), title='the")
    )
    comparison = compare(('soma',))
    with pytest.raises(ValueError, match=r'target\.py does not test fig of the group far'):
        comparison.config_text(comparison.runs[0])


def test_variables_of_config_files_and_the_device_count_as_they_should(write, recipe_file):
    comparison = write(('soma',))
    (run,) = comparison.runs
    before = comparison.hash_settings(run)
    method = recipe_file.with_name('soma.py')
    method.write_text(method.read_text() + 'a_dataset_of_others = dict(x=1)\n')
    assert write(('soma',)).hash_settings(run) == before
    assert replace(comparison, gpu=True).hash_settings(run) != before
