# ConvNeXt-L, pretrained on ImageNet-22k, and Mask2Former, 512 x 512
_base_ = './dinov2-L_mask2former.py'

# The maps have their strides already: nothing is to be resized.
decoder = {k: v for k, v in _base_.model.decode_head.pixel_decoder.items() if k != 'pyramid'}
model = dict(
    backbone=dict(
        _delete_=True,
        type='TimmPyramid',
        model_name='convnext_large',
        init_cfg=dict(type='Pretrained', checkpoint='timm/convnext_large.fb_in22k'),
    ),
    decode_head=dict(
        in_channels=[192, 384, 768, 1536],
        pixel_decoder=dict(decoder, _delete_=True, type='mmdet.MSDeformAttnPixelDecoder'),
    ),
)
