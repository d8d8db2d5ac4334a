import json

import numpy as np
import pytest
from voc_images import build, evaluate, sample


def test_predictions_are_written_by_domain(tmp_path):
    box = [10.25, 20.5, 40, 60]
    first = sample('DC', 'a.b', ([1, 3], [box, [0, 0, 1, 1]], [0.75, 0.1]), ([1], [box]))
    second = sample('NC', 'a.b', ((), (), ()), ([1], [box]))
    metrics, _ = evaluate([first, second], output_dir=str(tmp_path / 'out'))
    assert metrics['DC_mAP'] == 100
    assert sorted(f.name for f in (tmp_path / 'out').iterdir()) == ['DC.json', 'NC.json']
    assert json.loads((tmp_path / 'out/NC.json').read_text()) == []
    written = json.loads((tmp_path / 'out/DC.json').read_text())
    assert written[0] == dict(
        image_id='a.b',
        file_name='a.b.jpg',
        category='car',
        bbox=[10.25, 20.5, 29.75, 39.5],
        score=0.75,
    )
    assert [entry['category'] for entry in written] == ['car', 'rider']
    assert written[1]['score'] == float(np.float32(0.1))  # nothing is rounded


def test_predictions_alone(tmp_path):
    made = sample('DC', 'x', ([1], [[0, 0, 5, 5]], [0.5]), ((), ()))
    del made['gt_instances'], made['ignored_instances']
    metric = build(format_only=True, output_dir=str(tmp_path))
    metric.process({}, [made])
    assert metric.evaluate(1) == {} and metric.report is None
    assert len(json.loads((tmp_path / 'DC.json').read_text())) == 1


def test_two_images_of_one_name_are_refused(tmp_path):
    made = [sample('DC', 'x', ((), (), ()), ((), ())) for _ in range(2)]
    metric = build(output_dir=str(tmp_path))
    metric.process({}, [made[0], made[0]])  # padding
    made[1]['img_path'] = 'other/x.png'
    with pytest.raises(ValueError, match=r'x\.jpg and other/x\.png would both be written to .*DC'):
        metric.process({}, made[1:])
