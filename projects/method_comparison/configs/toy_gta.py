# Source: the toy GTA, ten of whose classes are CamVid's
_base_ = '../../../configs/_base_/datasets/camvid_364x476.py'

train_dataloader = dict(
    num_workers=1,
    dataset={
        **_base_.gta,
        'data_root': 'data/toy_study/gta',
        'metainfo': _base_.eleven,
        '_delete_': True,
    },
)
