# Where to train: the sources, as tools/convert_datasets leaves them
_base_ = './crop_512x512.py'

gta = dict(
    type='DomainDataset',
    domain='gta',
    data_root='data/gta',
    data_prefix=dict(img_path='images', seg_map_path='labels'),
    img_suffix='.png',
    seg_map_suffix='_labelTrainIds.png',
)
synthia = dict(
    type='DomainDataset',
    domain='synthia',
    data_root='data/synthia',
    data_prefix=dict(img_path='RGB', seg_map_path='GT/LABELS'),
    img_suffix='.png',
    seg_map_suffix='_labelTrainIds.png',
)
urbansyn = dict(
    type='DomainDataset',
    domain='urbansyn',
    data_root='data/urbansyn',
    data_prefix=dict(img_path='rgb', seg_map_path='ss'),
    img_suffix='.png',
    seg_map_suffix='_labelTrainIds.png',
)
citys = dict(
    type='DomainDataset',
    domain='citys',
    data_root='data/cityscapes',
    data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
    img_suffix='_leftImg8bit.png',
    seg_map_suffix='_gtFine_labelTrainIds.png',
)
camvid_day = dict(
    type='DomainDataset',
    domain='day',
    data_root='data/camvid',
    ann_file='day.txt',
    data_prefix=dict(img_path='', seg_map_path='labels'),
    img_suffix='.png',
    seg_map_suffix='_labelTrainIds.png',
)
