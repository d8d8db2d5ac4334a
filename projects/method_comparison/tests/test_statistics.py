import numpy as np
import pytest
from scipy import stats

from method_comparison.statistics import Counts, Resampling, freedom_of, interval


def counts(names, intersection, union, label):
    return Counts.of(dict(images=names, intersection=intersection, union=union, label=label))


def test_all_images_once_give_the_score_of_the_metric():
    # class 0: (3 + 1) / (4 + 4), class 1: 2 / 5; class 2 is nowhere, class 3 only predicted
    part = counts(
        ['a', 'b'],
        [[3, 1], [2, 0], [0, 0], [0, 0]],
        [[4, 4], [4, 1], [0, 0], [1, 1]],
        [[3, 2], [3, 1], [0, 0], [0, 0]],
    )
    assert part.scores(np.ones((1, 2))) == pytest.approx([30])
    other = counts(['a', 'b'], [[1, 1]], [[2, 2]], [[1, 1]])
    assert Resampling(3).scores([part, other])[0] == pytest.approx((30 + 50) / 2)


def test_a_class_that_is_not_drawn_counts_for_no_method():
    # class 1 is in image b; one method predicts it in image a
    false = counts(['a', 'b'], [[3, 1], [0, 2]], [[4, 4], [1, 4]], [[4, 2], [0, 3]])
    none = counts(['a', 'b'], [[3, 1], [0, 2]], [[4, 4], [0, 4]], [[4, 2], [0, 3]])
    drawn = np.array([[2, 0], [0, 2]])
    assert false.scores(drawn) == pytest.approx([75, 37.5])
    assert none.scores(drawn) == pytest.approx([75, 37.5])


def test_images_are_drawn_in_blocks_and_alike_wherever_they_are():
    names = tuple(map(str, range(125)))
    first, second = Resampling(500).weights(names), Resampling(500).weights(names)
    assert (first == second).all() and first.shape == (501, 125)
    assert (first[0] == 1).all() and (first.sum(1) == 125).all()
    others = Resampling(500).weights(tuple(f'{name} of another' for name in names))
    assert abs(np.corrcoef(first[1:].ravel(), others[1:].ravel())[0, 1]) < 0.05
    # a block of five: neighbours are drawn together, those ten apart are not
    drawn = first[1:] - 1
    near = np.mean(drawn * np.roll(drawn, 1, axis=1)) / np.mean(drawn**2)
    far = np.mean(drawn * np.roll(drawn, 10, axis=1)) / np.mean(drawn**2)
    assert near == pytest.approx(4 / 5, abs=0.05) and abs(far) < 0.1


def test_blocks_count_once_wherever_their_images_are():
    first, again, other = (
        counts(names, *[[[1] * 27]] * 3) for names in ('a' * 27, 'a' * 27, 'b' * 27)
    )
    assert freedom_of([first]) == freedom_of([first, again]) == 8
    assert freedom_of([first, other]) == 16


def test_interval_adds_the_errors_of_seeds_and_images():
    images = np.random.default_rng(0).normal(size=4000)
    images = 0.3 * (images - images.mean()) / images.std(ddof=1)
    scores = [np.concatenate([[mean], mean + images]) for mean in (1.0, 2.0, 3.0)]
    squared = 1 / 3 + 0.3**2
    freedom = squared**2 / ((1 / 3) ** 2 / 2 + 0.3**4 / 20)
    half = stats.t.ppf(0.975, freedom) * squared**0.5
    assert interval(scores, 20) == pytest.approx((2, 2 - half, 2 + half))
    of_seeds = interval([score[:1].repeat(3) for score in scores], 20)  # images that are alike
    assert of_seeds.high == pytest.approx(2 + stats.t.ppf(0.975, 2) / 3**0.5)
    of_images = interval([scores[0]] * 2, 20)  # seeds that are alike
    assert of_images.low == pytest.approx(1 - stats.t.ppf(0.975, 20) * 0.3)


@pytest.mark.parametrize(('values', 'sign'), [((1, 1.1), 1), ((-1.1, -1), -1), ((-1, 1), 0)])
def test_sign_is_that_of_all_of_the_interval(values, sign):
    found = interval([np.full(3, value) for value in values], 9)
    assert found.sign == sign and found.low < found.mean < found.high


def test_one_seed_has_no_interval():
    found = interval([np.array([2.0, 1, 3])], 9)
    assert found == (2, None, None) and found.sign == 0 and found.text() == '+2.0'
