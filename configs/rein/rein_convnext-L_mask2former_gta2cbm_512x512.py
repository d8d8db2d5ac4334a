# Rein behind the blocks of ConvNeXt-L, GTA -> Cityscapes, BDD100K, Mapillary.
# Published: 57.9 mIoU on Cityscapes.
_base_ = ['../_base_/models/convnext-L_mask2former.py', '../_base_/gta2cbm_512x512_rein.py']
model = dict(
    backbone=dict(
        _delete_=True,
        type='AdaptedBackbone',
        backbone=_base_.model.backbone,
        adapter=dict(type='Rein', rank=16, link=True, targets=r'stages\.\d\.blocks\.\d+'),
    ),
    decode_head=dict(type='ReinMask2FormerHead'),
)
