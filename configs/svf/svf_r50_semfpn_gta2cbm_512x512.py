# SVF (arXiv 2206.06122) on a ResNet-50, trainable singular values in stages 2 to 4.
# GTA -> Cityscapes, BDD100K, Mapillary.
_base_ = ['../_base_/models/r50_semfpn.py', '../_base_/gta2cbm_512x512.py']
model = dict(
    backbone=dict(
        _delete_=True,
        type='AdaptedBackbone',
        backbone=_base_.model.backbone,
        adapter=dict(type='SVF', targets=r'layer[234]\.\d+\.(conv[123]|downsample\.0)'),
    )
)
