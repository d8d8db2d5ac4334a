import numpy as np
import pytest
import torch

from soma.evaluation.calibration import BINS, Calibration, confidence_counts


def test_bins_and_ece_equal_their_definition():
    generator = torch.Generator().manual_seed(0)
    probabilities = (3 * torch.randn(4, 40, 50, generator=generator)).softmax(0)
    prediction = probabilities.argmax(0)
    label = torch.where(torch.rand(40, 50, generator=generator) < 0.4, 0, prediction)
    label[:3] = 255
    # in two parts, as two images or processes
    halves = zip(*(v.split(20, -2) for v in (probabilities, prediction, label)), strict=True)
    result = Calibration.of(sum(confidence_counts(*half) for half in halves))

    counted = (label != 255).numpy()
    confidence = probabilities.amax(0).double().numpy()[counted]
    right = (prediction == label).numpy()[counted]
    edges = np.linspace(0, 1, BINS + 1)
    ece = 0
    for index in range(BINS):
        inside = (confidence > edges[index]) & (confidence <= edges[index + 1])
        assert result.share[index] == pytest.approx(inside.mean())
        if not inside.any():
            assert np.isnan(result.accuracy[index])
            continue
        assert result.accuracy[index] == pytest.approx(right[inside].mean())
        assert result.confidence[index] == pytest.approx(confidence[inside].mean(), abs=1 / 6000)
        ece += 100 * inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert result.ece == pytest.approx(ece, abs=0.02) and ece > 1


def test_the_confidence_is_that_of_the_prediction_and_no_pixels_give_nothing():
    probabilities = torch.tensor([0.75, 0.25])[:, None, None].expand(2, 1, 1)
    one = torch.ones(1, 1, dtype=torch.uint8)
    result = Calibration.of(confidence_counts(probabilities, one, one))
    assert result.accuracy[3] == 1 and result.ece == pytest.approx(75, abs=0.02)
    assert np.isnan(Calibration.of(confidence_counts(probabilities, one, one, 1)).ece)
