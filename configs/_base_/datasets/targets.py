# Where to test: the unseen domains, as tools/convert_datasets leaves them
_base_ = './testing.py'

val_citys = dict(
    type='DomainDataset',
    domain='citys',
    data_root='data/cityscapes',
    data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
    img_suffix='_leftImg8bit.png',
    seg_map_suffix='_gtFine_labelTrainIds.png',
)
val_bdd = dict(
    type='DomainDataset',
    domain='bdd',
    data_root='data/bdd100k',
    data_prefix=dict(img_path='images/10k/val', seg_map_path='labels/sem_seg/masks/val'),
    img_suffix='.jpg',
    seg_map_suffix='.png',
)
val_map = dict(
    type='DomainDataset',
    domain='map',
    data_root='data/mapillary',
    data_prefix=dict(img_path='half/val_img', seg_map_path='half/val_label'),
    img_suffix='.jpg',
    seg_map_suffix='.png',
)
val_acdc = [
    dict(
        type='DomainDataset',
        domain=condition,
        data_root='data/acdc',
        data_prefix=dict(img_path=f'rgb_anon/{condition}/val', seg_map_path=f'gt/{condition}/val'),
        img_suffix='_rgb_anon.png',
        seg_map_suffix='_gt_labelTrainIds.png',
    )
    for condition in ('fog', 'night', 'rain', 'snow')
]
val_dark_zurich = dict(
    type='DomainDataset',
    domain='dark_zurich',
    data_root='data/dark_zurich',
    data_prefix=dict(img_path='rgb_anon/val', seg_map_path='gt/val'),
    img_suffix='_rgb_anon.png',
    seg_map_suffix='_gt_labelTrainIds.png',
)
val_night_driving = dict(
    type='DomainDataset',
    domain='night_driving',
    data_root='data/night_driving',
    data_prefix=dict(
        img_path='leftImg8bit/test', seg_map_path='gtCoarse_daytime_trainvaltest/test'
    ),
    img_suffix='_leftImg8bit.png',
    seg_map_suffix='_gtCoarse_labelTrainIds.png',
)
val_foggy_zurich = dict(
    type='DomainDataset',
    domain='foggy_zurich',
    data_root='data/foggy_zurich',
    ann_file='lists_file_names/RGB_testv2_filenames.txt',  # few of its images have labels
    data_prefix=dict(img_path='RGB', seg_map_path='gt_labelTrainIds'),
    img_suffix='.png',
    seg_map_suffix='.png',
)
val_idd = dict(
    type='DomainDataset',
    domain='idd',
    data_root='data/idd',
    data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
    img_suffix='_leftImg8bit.png',
    seg_map_suffix='_gtFine_labelcsTrainIds.png',
)
val_muses = dict(
    type='DomainDataset',
    domain='muses',
    data_root='data/muses',
    data_prefix=dict(img_path='frame_camera/val', seg_map_path='gt_semantic/val'),
    img_suffix='_frame_camera.png',
    seg_map_suffix='_gt_labelTrainIds.png',
)
val_camvid = [
    dict(
        type='DomainDataset',
        domain=domain,
        data_root='data/camvid',
        ann_file=ann_file,
        data_prefix=dict(img_path='', seg_map_path='labels'),
        img_suffix='.png',
        seg_map_suffix='_labelTrainIds.png',
    )
    for domain, ann_file in (('day', 'day_val.txt'), ('day2', 'day2.txt'), ('dusk', 'dusk.txt'))
]
bdd_pipeline = [*_base_.test_pipeline]
bdd_pipeline[1] = dict(type='Resize', scale=(1280, 720), keep_ratio=True)
hd_pipeline = [*_base_.test_pipeline]
hd_pipeline[1] = dict(type='Resize', scale=(1920, 1080), keep_ratio=True)
