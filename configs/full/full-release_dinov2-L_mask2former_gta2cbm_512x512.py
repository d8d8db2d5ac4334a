# Full fine-tuning as in SoMA's release, GTA -> Cityscapes, BDD100K, Mapillary: norms, layer scales,
# positions and patch embedding stay frozen.
_base_ = './full_dinov2-L_mask2former_gta2cbm_512x512.py'
model = dict(
    backbone=dict(frozen_parameters=r'pos_embed|patch_embed\..+|blocks\.\d+\.(norm[12]|ls[12])\..+')
)
