import logging
import warnings

import pytest

from soma.utils.noise import is_no_detail, is_not_noise, without_prints, without_warnings


def test_other_prints_pass(capsys):
    with without_prints():
        print('Could not import OneDL')
        print('Could not import OneDL. Skipping OneDL datasets.\n', end='')
        print('first')
        print()
        print('Could not', 'import this')
        print('half of ', end='', flush=True)
        print('a line')
    print('Could not import OneDL')
    lines = ['first', '', 'Could not import this', 'half of a line', 'Could not import OneDL']
    assert capsys.readouterr().out.splitlines() == lines


def test_other_warnings_pass():
    noise = 'For binary segmentation, we suggest using`out_channels = 1` to define'
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        with without_warnings():
            warnings.warn(noise, stacklevel=1)
            warnings.warn('the news', stacklevel=1)
        warnings.warn(noise, stacklevel=1)
    assert [str(warning.message) for warning in caught] == ['the news', noise]


@pytest.mark.parametrize(
    ('message', 'passes'),
    [
        ('"FileClient" will be deprecated in future.', False),
        ('The prefix is not set in metric class DomainIoUMetric.', False),
        ('The prefix is not set in metric class IoUMetric.', True),
        ('loss: %s', True),
    ],
)
def test_other_lines_of_the_log_pass(message, passes):
    record = logging.LogRecord('mmengine', logging.WARNING, 'file', 1, message, None, None)
    assert is_not_noise(record) == passes and is_no_detail(record)
    record.msg = 'optimizer group 0: lr=1, 8 parameters'
    assert is_not_noise(record) and not is_no_detail(record)
