# SoMA, GTA -> Cityscapes, BDD100K, Mapillary, with SemFPN's norms as in the release.
_base_ = './soma_dinov2-L_semfpn_gta2cbm_512x512.py'
model = dict(decode_head=dict(norm_cfg=dict(_delete_=True, type='BN')))
sync_bn = 'torch'  # over the GPUs, where there are several
