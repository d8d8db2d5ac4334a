import pytest

from method_comparison.tables import (
    Spread,
    accuracy_table,
    as_json,
    calibration_table,
    cost_table,
    difference,
    difference_table,
    drift_table,
    summarise,
)


def cells(table):
    """The rows of a Markdown table by their first cell."""
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in table.splitlines()]
    return {row[0]: row[1:] for row in rows}


def test_spread_is_mean_and_sample_deviation():
    assert Spread.of([1.0, 2.0, 3.0]) == (2.0, 1.0)
    assert Spread.of([1.0]) == (1.0, None)
    assert Spread.of([1.0, 2.0, 3.0]).text(1) == '2.0 ± 1.0' and Spread(1.26, None).text(1) == '1.3'


def test_results_are_grouped_in_the_order_of_the_comparison(comparison, results):
    summary = summarise(comparison, results[::-1])
    assert list(summary) == ['gta', 'synthia'] and list(summary['gta']) == ['frozen', 'soma']
    soma = summary['gta']['soma']
    assert sorted(soma['seeds']) == [0, 1, 2]
    assert soma['mIoU']['unseen'] == (pytest.approx(31), pytest.approx(1))
    assert soma['drift']['change'].mean == pytest.approx(5)
    assert as_json(summary)['gta']['soma']['mIoU']['fog'] == {'mean': 31, 'std': 1}


def test_best_of_each_column_is_bold(comparison, results):
    rows = cells(accuracy_table(comparison, summarise(comparison, results)['gta']))
    assert rows['method'] == ['citys', 'fog', 'snow', 'mean of unseen', 'source, held out']
    assert rows['soma'] == [*['**31.0 ± 1.0**'] * 3, '**31.0 ± 1.0**', '40.0 ± 1.0']
    assert rows['frozen'] == [*['21.0 ± 1.0'] * 3, '21.0 ± 1.0', '**50.0 ± 1.0**']


def test_differences_are_of_pairs_of_runs(comparison, results):
    methods = summarise(comparison, results)['gta']
    rows = cells(difference_table(comparison, methods))
    # each seed is higher by 10, on the same images: neither seeds nor images make a difference
    assert rows['method'] == ['unseen, against frozen']
    assert rows['soma'] == ['+10.0 [+10.0, +10.0]'] and rows['frozen'] == ['']
    short = [r for r in results if (r['method'], r['seed']) != ('frozen', 0)]
    assert difference(*summarise(comparison, short)['gta'].values()).mean == pytest.approx(-10)
    short = [r for r in results if (r['method'] == 'soma') != (r['seed'] == 0)]
    assert difference(*summarise(comparison, short)['gta'].values()) is None


def test_confidence_is_that_on_unseen_domains(comparison, results):
    rows = cells(calibration_table(comparison, summarise(comparison, results)['gta']))
    assert rows['method'] == ['ECE', 'NLL'] and rows['soma'] == ['5.0 ± 0.0', '0.500 ± 0.000']


def test_missing_seeds_are_said(comparison, results):
    short = [r for r in results if (r['method'], r['seed']) != ('soma', 2)]
    rows = cells(accuracy_table(comparison, summarise(comparison, short)['gta']))
    assert list(rows)[2:] == ['frozen', 'soma (2 of 3 seeds)']


def test_what_does_not_move_has_no_shares(comparison, results):
    rows = cells(drift_table(comparison, summarise(comparison, results)['gta']))
    assert rows['frozen'] == ['0.00 ± 0.00', *'-----']
    shares = ['10.0 ± 0.0', '60.0 ± 0.0', '20.0 ± 0.0', '10.0 ± 0.0']
    assert rows['soma'][1:] == [*shares, '3.0 ± 0.0']


def test_costs(comparison, results):
    rows = cells(cost_table(comparison, summarise(comparison, results)['gta']))
    assert rows['soma'] == ['1,200', '34,000', '5', '141', '61 ± 1', '900 ± 0']


def test_method_without_a_result_has_no_row(comparison, results):
    results = [result for result in results if result['source'] == 'gta']
    results = [result for result in results if result['method'] == 'soma']
    summary = summarise(comparison, results)
    assert list(summary['gta']) == ['soma'] and summary['synthia'] == {}
