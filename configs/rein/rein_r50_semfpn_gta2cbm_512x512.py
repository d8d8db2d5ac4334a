# Rein behind the blocks of a ResNet-50, GTA -> Cityscapes, BDD100K, Mapillary.
_base_ = [
    '../_base_/models/r50_semfpn.py',
    '../_base_/datasets/gta_512x512.py',
    '../_base_/datasets/citys_bdd_map_rein_512x512.py',
    '../_base_/schedules/adamw_40k_rein.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(
        _delete_=True,
        type='AdaptedBackbone',
        backbone=_base_.model.backbone,
        adapter=dict(type='Rein', rank=16, targets=r'layer\d\.\d+'),
    )
)
