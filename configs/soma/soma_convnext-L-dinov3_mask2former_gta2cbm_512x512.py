# SoMA, GTA -> Cityscapes, BDD100K, Mapillary, ConvNeXt-L of DINOv3.
_base_ = ['../_base_/models/convnext-L-dinov3_mask2former.py', '../_base_/gta2cbm_512x512_soma.py']
model = dict(
    backbone=dict(
        _delete_=True,
        type='AdaptedBackbone',
        backbone=_base_.model.backbone,
        adapter=dict(type='SoMA', rank=16, start_block=12),  # a third of 36, as of ViT-L
    )
)
