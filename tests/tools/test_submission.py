import zipfile

import numpy as np
import pytest
import torch
from mmengine.registry import METRICS
from mmengine.structures import PixelData
from PIL import Image
from submission import pack_submission

from soma.datasets.labels import TRAIN_TO_CITYSCAPES
from soma.io.files import CheckpointError, InputError

NAMES = {
    'acdc': [
        f'rgb_anon/{c}/test/GOPR1/GOPR1_frame_00000{i}_rgb_anon.png'
        for i, c in enumerate(('fog', 'night'))
    ],
    'cityscapes': [
        f'leftImg8bit/test/berlin/berlin_00000{i}_000019_leftImg8bit.png' for i in (0, 1)
    ],
}


@pytest.fixture(params=NAMES)
def server(request, tmp_path):
    """Test images and predictions; the name of the server."""
    rng = np.random.default_rng(0)
    for name in NAMES[request.param]:
        image = tmp_path / 'data' / name
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (6, 4)).save(image)
        domain = image.parts[-4] if request.param == 'acdc' else 'citys'
        prediction = tmp_path / 'out' / domain / image.name
        prediction.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(TRAIN_TO_CITYSCAPES[rng.integers(0, 19, (4, 6))]).save(prediction)
    return request.param


def pack(server, root):
    return pack_submission(server, root / 'out', root / 'data', root / 'x.zip')


def test_one_file_a_image_in_the_ids_of_the_server(server, tmp_path):
    assert pack(server, tmp_path) == 2
    folder = {'acdc': 'labelTrainIds/', 'cityscapes': ''}[server]
    with zipfile.ZipFile(tmp_path / 'x.zip') as archive:
        names = sorted(archive.namelist())
        assert names == sorted(folder + name.split('/')[-1] for name in NAMES[server])
        for name in names:
            with archive.open(name) as file, Image.open(file) as image:
                packed = np.array(image)
            (prediction,) = (tmp_path / 'out').glob('*/' + name.removeprefix(folder))
            ids = np.array(Image.open(prediction))
            expected = packed if server == 'cityscapes' else TRAIN_TO_CITYSCAPES[packed]
            assert np.array_equal(ids, expected)
            assert server == 'cityscapes' or packed.max() < 19


def test_what_a_server_would_refuse_is_refused_here(server, tmp_path):
    path = sorted((tmp_path / 'out').glob('*/*.png'))[0]
    whole = path.read_bytes()
    Image.fromarray(np.full((4, 6), 6, np.uint8)).save(path)
    with pytest.raises(ValueError, match='other values than the 19 Cityscapes ids'):
        pack(server, tmp_path)
    Image.fromarray(np.full((4, 5), 7, np.uint8)).save(path)
    with pytest.raises(ValueError, match='5 x 4 pixels, its image 6 x 4'):
        pack(server, tmp_path)
    path.write_bytes(b'')
    with pytest.raises(ValueError, match=f'{path.name} is damaged'):
        pack(server, tmp_path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r'1 of the 2 test images .*_server\.py'):
        pack(server, tmp_path)
    assert not (tmp_path / 'x.zip').exists()
    path.write_bytes(whole)
    with pytest.raises(FileNotFoundError, match='no test images'):
        pack_submission(server, tmp_path / 'out', tmp_path / 'nowhere', tmp_path / 'x.zip')


def test_predictions_of_other_classes_are_refused(server, tmp_path):
    """Whose places look like Cityscapes ids."""
    path = sorted((tmp_path / 'out').glob('*/*.png'))[0]
    metric = METRICS.build(dict(type='DomainIoUMetric', output_dir=str(tmp_path), format_only=True))
    metric.dataset_meta = dict(classes=[f'class {index}' for index in range(25)])
    prediction = PixelData(data=torch.full((1, 4, 6), 8))
    domain = path.parent.name
    made = dict(img_path=f'x/{path.name}', domain=domain, pred_sem_seg=dict(prediction.items()))
    metric.process({}, [made])
    (tmp_path / domain / path.name).replace(path)
    with pytest.raises(InputError, match=r'has other classes than the 19 .*: class 0, class 1'):
        pack(server, tmp_path)


def test_images_of_one_name_are_refused(server, tmp_path):
    image = next((tmp_path / 'data').rglob('*.png'))
    (image.parent.parent / 'other').mkdir()
    (image.parent.parent / 'other' / image.name).write_bytes(image.read_bytes())
    with pytest.raises(ValueError, match='have one name'):
        pack(server, tmp_path)
    with pytest.raises(CheckpointError, match='is a directory'):
        pack_submission(server, tmp_path / 'out', tmp_path / 'data', tmp_path)


def test_script(server, tmp_path, run_here, capsys):
    folders = tmp_path / 'out', tmp_path / 'data'
    run_here('misc/pack_submission.py', server, *folders, tmp_path / 'x.zip')
    assert '2 predictions' in capsys.readouterr().out
    assert (tmp_path / 'x.zip').exists()
