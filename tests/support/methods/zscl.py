"""ZSCL (arXiv:2303.06628): keep the base's similarities of images and texts on reference data."""

from dataclasses import dataclass

import torch.nn.functional as F

from forgetcheck.regularizers.base import Regularizer


@dataclass(frozen=True)
class ZSCL(Regularizer):
    reference: str = "drawn:family=shape"
    strength: float = 1.0

    def streams(self):
        return {"reference": self.reference}

    def penalty(self, on, memory):
        views = (on["reference"].tuned, on["reference"].base)
        mine, theirs = (view.scale * view.embedding @ view.text.T for view in views)
        return self.strength * sum(
            F.kl_div(one.log_softmax(1), other.softmax(1), reduction="batchmean")
            for one, other in ((mine, theirs), (mine.T, theirs.T))
        )
