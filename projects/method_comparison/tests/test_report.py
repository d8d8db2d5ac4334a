import json

import pytest
from PIL import Image

from method_comparison.report import conclusions, differ, write_report
from method_comparison.tables import Spread, summarise

TITLES = {'gta': 'the gta set', 'synthia': 'the synthia set'}


def of(**unseen):
    """A summary of one setting with these means over the unseen domains."""
    return {'gta': {name: {'mIoU': {'unseen': spread}} for name, spread in unseen.items()}}


def test_report_has_all_parts_and_its_images(comparison, results, tmp_path):
    write_report(comparison, results, tmp_path)
    text = (tmp_path / 'study.md').read_text()
    accuracy = (tmp_path / 'accuracy.md').read_text()
    assert accuracy.strip() in text and '{' not in text
    assert text.startswith('# Title\n\nMade. They are means over the seeds 0, 1, 2 ±')
    assert ', 350 iterations. A note on frozen. A note on soma.\n' in text
    assert 'on 3 unseen domains' in text and '--against\nbase.pth' in text
    for setting in comparison.settings:
        assert text.count(f'### Trained on the {setting} set\n') == 3  # scores, drift, costs
    for line in conclusions(summarise(comparison, results), TITLES):
        assert line in text
    for name in ('generalisation.png', 'drift.png'):
        assert f'(study/{name})' in text
        assert Image.open(tmp_path / 'study' / name).width > 500
    assert list(json.loads((tmp_path / 'summary.json').read_text())) == ['gta', 'synthia']


def test_settings_that_do_not_test_the_source_have_no_column_and_no_plot(
    comparison, results, tmp_path
):
    for result in results:
        del result['mIoU']['source']
    write_report(comparison, results, tmp_path)
    text = (tmp_path / 'study.md').read_text()
    assert 'mean of unseen |\n' in text and 'held out' not in text
    assert [path.name for path in (tmp_path / 'study').iterdir()] == ['drift.png']
    assert 'generalisation.png' not in text


def test_scores_alone_decide_over_the_table_of_scores(comparison, results, tmp_path):
    write_report(comparison, results, tmp_path / 'one')
    for index, result in enumerate(results):
        result['cost'] = {'seconds': 7.0 + index, 'train_seconds': 3.0, 'peak_mb': 4.0 * index}
    write_report(comparison, results[::-1], tmp_path / 'two')
    first, second = ((tmp_path / n / 'accuracy.md').read_bytes() for n in ('one', 'two'))
    assert first == second


def test_nothing_is_written_where_nothing_ran(comparison, tmp_path):
    write_report(comparison, [], tmp_path / 'report')
    assert not (tmp_path / 'report').exists()


def test_difference_is_measured_in_deviations():
    assert differ(Spread(10.0, 0.3), Spread(11.1, 0.4)) and not differ(
        Spread(10, 0.3), Spread(10.9, 0.4)
    )


def test_conclusions_follow_the_numbers():
    first, second = conclusions(
        of(
            frozen=Spread(20, 0.1), soma=Spread(21, 0.1), lora=Spread(21.2, 0.1), full=Spread(15, 1)
        ),
        TITLES,
    )
    assert '`lora` has the highest mean, 21.2 ± 0.1.' in first
    assert first.endswith('difference: `soma`.')
    assert second.endswith('higher `soma`, `lora`; lower `full`.')
    first, second = conclusions(of(frozen=Spread(20, 0.5), soma=Spread(19.9, 0.5)), TITLES)
    assert '`frozen` has the highest mean' in first and first.endswith('`soma`.')
    assert second.endswith('higher none; lower none.')
    (only,) = conclusions(of(frozen=Spread(20, None), soma=Spread(21, None)), TITLES)
    assert only.endswith('With one seed no difference means anything.')


@pytest.mark.parametrize(('scores', 'rho'), [((1, 2, 3), '1.00'), ((3, 2, 1), '-1.00')])
def test_order_of_the_methods_is_compared_between_sources(scores, rho):
    one = of(a=Spread(1, 0), b=Spread(2, 0), c=Spread(3, 0))['gta']
    two = of(**{n: Spread(s, 0) for n, s in zip('abc', scores, strict=True)})['gta']
    assert (
        f'between gta and synthia: {rho} (' in conclusions({'gta': one, 'synthia': two}, TITLES)[-1]
    )
