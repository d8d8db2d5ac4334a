# Rein behind the blocks of a ResNet-50, GTA -> Cityscapes, BDD100K, Mapillary.
_base_ = ['../_base_/models/r50_semfpn.py', '../_base_/gta2cbm_512x512_rein.py']
model = dict(
    backbone=dict(
        _delete_=True,
        type='AdaptedBackbone',
        backbone=_base_.model.backbone,
        adapter=dict(type='Rein', rank=16, targets=r'layer\d\.\d+'),
    )
)
