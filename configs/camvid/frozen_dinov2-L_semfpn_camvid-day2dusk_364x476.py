# Frozen backbone: CamVid.
_base_ = ['../_base_/models/dinov2-L_semfpn_364x476.py', '../_base_/camvid_364x476.py']
model = dict(backbone=dict(frozen_blocks=24))
