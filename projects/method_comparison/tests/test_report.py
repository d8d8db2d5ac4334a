import json

import numpy as np
import pytest
from PIL import Image

from method_comparison.report import claims_table, conclusions, write_report
from method_comparison.tables import Spread, summarise

TITLES = {'gta': 'the gta set', 'synthia': 'the synthia set'}


def of(**unseen):
    """A summary of one setting with these scores of seeds, alike on all images."""
    return {
        'gta': {
            name: {
                'mIoU': {'unseen': Spread.of(scores)},
                'resampled': {'unseen': dict(enumerate(np.full(3, score) for score in scores))},
                'freedom': {'unseen': 9},
            }
            for name, scores in unseen.items()
        }
    }


def test_report_has_all_parts_and_its_images(comparison, results, tmp_path):
    write_report(comparison, results)
    text = (tmp_path / 'mine.md').read_text()
    assert '{' not in text
    assert text.startswith('# Title\n\nMade. They are means over the seeds 0, 1, 2 ±')
    assert ', 350 iterations. A note on frozen. A note on soma.\n' in text
    assert '--against base.pth' in text
    for setting in comparison.settings:
        assert text.count(f'### Trained on the {setting} set\n') == 6
    for line in conclusions(summarise(comparison, results), TITLES, ['frozen']):
        assert line in text
    for name in ('generalisation.png', 'differences.png', 'drift.png'):
        assert f'(mine/{name})' in text
        assert Image.open(tmp_path / 'mine' / name).width > 500
    assert list(json.loads((tmp_path / 'mine.json').read_text())) == ['gta', 'synthia']


def test_settings_that_do_not_test_the_source_have_no_column_and_no_plot(
    comparison, results, tmp_path
):
    for result in results:
        del (
            result['mIoU']['source'],
            result['report']['mean']['ECE'],
            result['report']['mean']['NLL'],
        )
    write_report(comparison, results)
    text = (tmp_path / 'mine.md').read_text()
    assert 'mean of unseen |\n' in text and 'held out' not in text
    assert '## Confidence' not in text
    images = {path.name for path in (tmp_path / 'mine').iterdir()}
    assert images == {'differences.png', 'drift.png'}
    assert 'generalisation.png' not in text


def test_one_setting_that_tests_the_source_has_its_plot(comparison, results, tmp_path):
    for result in results:
        if result['source'] == 'gta':
            del result['mIoU']['source']
    write_report(comparison, results)
    assert '(mine/generalisation.png)' in (tmp_path / 'mine.md').read_text()


def test_scores_alone_decide_over_all_but_the_costs(comparison, results, tmp_path):
    write_report(comparison, results)
    for index, result in enumerate(results):
        result['cost'] = {'seconds': 7.0 + index, 'train_seconds': 3.0, 'peak_mb': 4.0 * index}
    first = comparison.document.read_text().split('## Costs')
    write_report(comparison, results[::-1], tmp_path / 'copy.md')
    second = (tmp_path / 'copy.md').read_text().split('## Costs')
    assert first[0] == second[0].replace('(copy/', '(mine/') and first[1] != second[1]


def test_nothing_is_written_where_nothing_ran(comparison, tmp_path):
    write_report(comparison, [], tmp_path / 'report.md')
    assert not (tmp_path / 'report.md').exists() and not comparison.document.exists()


def test_conclusions_follow_the_intervals():
    first, second = conclusions(
        of(frozen=(20, 20.1), soma=(21, 21.1), lora=(21.1, 21.2), full=(15, 15.1), svf=(19, 22)),
        TITLES,
        ['frozen'],
    )
    assert '`lora` has the highest mean, 21.1 ± 0.1.' in first
    assert '`frozen` (20.1 ± 0.1)' in second
    assert second.endswith('higher: `soma`, `lora`; lower: `full`.')
    first, second = conclusions(of(frozen=(20, 21), soma=(20, 20)), TITLES, ['frozen'])
    assert '`frozen` has the highest mean' in first
    assert second.endswith('higher: none; lower: none.')
    (only,) = conclusions(of(frozen=(20,), soma=(21,)), TITLES, ['frozen'])
    assert only.endswith('With one seed no difference means anything.')


def test_claims_are_judged_by_the_interval(comparison, results):
    def row(results):
        return claims_table(comparison, summarise(comparison, results)['gta']).splitlines()[-1]

    start = '| It helps (a paper) | `soma` - `frozen` | '
    assert row(results) == start + '+10.0 [+10.0, +10.0] | seen |'
    for result in results:
        result['method'] = {'soma': 'frozen', 'frozen': 'soma'}[result['method']]
    assert row(results).endswith('[-10.0, -10.0] | the opposite is seen |')
    assert row([r for r in results if r['seed'] == 1]) == start + '-10.0 | - |'
    assert row([r for r in results if r['method'] == 'soma']) == start + 'not run | - |'


@pytest.mark.parametrize(('scores', 'rho'), [((1, 2, 3), '1.00'), ((3, 2, 1), '-1.00')])
def test_order_of_the_methods_is_compared_between_sources(scores, rho):
    one = of(a=(1, 1), b=(2, 2), c=(3, 3))['gta']
    two = of(**{name: (score, score) for name, score in zip('abc', scores, strict=True)})['gta']
    last = conclusions({'gta': one, 'synthia': two}, TITLES, [])[-1]
    assert f'between gta and synthia: {rho} (' in last
