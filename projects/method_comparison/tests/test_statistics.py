import numpy as np
import pytest
from scipy import stats

from method_comparison.statistics import Counts, Resampling, interval


def counts(names, intersection, union):
    return Counts.of(dict(images=names, intersection=intersection, union=union))


def test_all_images_once_give_the_score_of_the_metric():
    # class 0: (3 + 1) / (4 + 4), class 1: 2 / 5; the third class is nowhere
    part = counts(['a', 'b'], [[3, 1], [2, 0], [0, 0]], [[4, 4], [4, 1], [0, 0]])
    assert part.scores(np.ones((1, 2))) == pytest.approx([45])
    assert part.scores(np.array([[2, 0], [0, 1]])) == pytest.approx([62.5, 12.5])
    # in the second the first domain has 1 / 4 and 0 / 1
    other = counts(['a', 'b'], [[1, 1]], [[2, 2]])
    assert Resampling(3).scores([part, other])[0] == pytest.approx((45 + 50) / 2)


def test_images_are_drawn_in_blocks_and_alike_wherever_they_are():
    names = tuple(map(str, range(125)))
    first, second = Resampling(500).weights(names), Resampling(500).weights(names)
    assert (first == second).all() and first.shape == (501, 125)
    assert (first[0] == 1).all() and (first.sum(1) == 125).all()
    # a block of five: neighbours are drawn together, those ten apart are not
    drawn = first[1:] - 1
    near = np.mean(drawn * np.roll(drawn, 1, axis=1)) / np.mean(drawn**2)
    far = np.mean(drawn * np.roll(drawn, 10, axis=1)) / np.mean(drawn**2)
    assert near == pytest.approx(4 / 5, abs=0.05) and abs(far) < 0.1


def test_interval_adds_the_errors_of_seeds_and_images():
    images = np.random.default_rng(0).normal(size=4000)
    images = 0.3 * (images - images.mean()) / images.std(ddof=1)
    scores = [np.concatenate([[mean], mean + images]) for mean in (1.0, 2.0, 3.0)]
    squared = 1 / 3 + 0.3**2
    half = stats.t.ppf(0.975, 2 * (squared * 3) ** 2) * squared**0.5
    assert interval(scores) == pytest.approx((2, 2 - half, 2 + half))
    of_seeds = interval([score[:1].repeat(3) for score in scores])  # images that are all alike
    assert of_seeds.high == pytest.approx(2 + stats.t.ppf(0.975, 2) / 3**0.5)
    of_images = interval([scores[0]] * 2)  # seeds that are all alike
    assert of_images.low == pytest.approx(1 - stats.norm.ppf(0.975) * 0.3)


@pytest.mark.parametrize(('values', 'sign'), [((1, 1.1), 1), ((-1.1, -1), -1), ((-1, 1), 0)])
def test_sign_is_that_of_all_of_the_interval(values, sign):
    found = interval([np.full(3, value) for value in values])
    assert found.sign == sign and found.low < found.mean < found.high


def test_one_seed_has_no_interval():
    found = interval([np.array([2.0, 1, 3])])
    assert found == (2, None, None) and found.sign == 0 and found.text() == '+2.0'
