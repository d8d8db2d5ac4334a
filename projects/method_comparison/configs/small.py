# What the recipes here share: images of 336 x 252, crops of 168 and a narrow head, so that a
# training takes minutes on a core
configs = '../../../configs/camvid/{}_dinov2-S_semfpn_camvid-day2dusk_364x476.py'
lr_mult = 'optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult'
pipeline = 'train_dataloader.dataset.pipeline'
options = {
    'optim_wrapper.optimizer.lr': 1e-2,
    'model.backbone.img_size': (252, 336),
    'model.data_preprocessor.size': (168, 168),
    'model.neck.out_channels': 128,
    'model.decode_head.in_channels': [128] * 4,
    'model.decode_head.channels': 64,
    f'{pipeline}.2.scale': (336, 252),
    f'{pipeline}.3.crop_size': (168, 168),
}
iterations = 200
unseen = dict(
    target='unseen.py',
    groups=dict(
        corrupted=[
            f'{name}-{severity}'
            for name in ('fog', 'frost', 'brightness', 'motion_blur', 'gaussian_noise')
            for severity in (1, 3, 5)
        ]
    ),
)
