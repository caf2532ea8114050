"""One side of a comparison: a set of images with its features, patches, pairs and values."""

from collections.abc import Set

import torch
from torch import Tensor

from ganlab.evaluation.images import ImageSet
from ganlab.evaluation.store import Store, Tensors
from ganlab.metrics import swd
from ganlab.metrics.features import Extractor
from ganlab.metrics.moments import Moments
from ganlab.metrics.msssim import ms_ssim
from ganlab.types import UserError

PATCH_IMAGES = 16_384
"""Largest number of images for patches (Karras et al. 2018, section 5)."""


class Side:
    """The features, patches, pairs and values of a set of images, computed on all ranks before they are read on one.

    It is a context on all ranks; at its end, files that are not needed again are deleted.

    Args:
        images: the set of images.
        extractor: None if no metric needs features.
        device: where features are used.
        patch_images: number of images for patches, the first ones.
        passing: nothing of it will be needed again.
        values: number of images whose pixels or coordinates are kept as they are, the first ones.
    """

    def __init__(
        self,
        images: ImageSet,
        extractor: Extractor | None,
        device: torch.device,
        patch_images: int,
        passing: bool = False,
        values: int = 0,
    ) -> None:
        self.images, self.extractor, self.device = images, extractor, device
        key = {"images": images.fingerprint}
        self.stores = {
            "patches": Store(f"patches of {images.name}", {**key, "patches": 1}, patch_images, self._patches),
            "values": Store(f"values of {images.name}", {**key, "values": 1}, min(values, len(images)), self._values),
            "errors": Store(f"errors of {images.name}", {**key, "errors": 1}, len(images), images.errors),
            "pairs": Store(f"pairs of {images.name}", {**key, "pairs": 1}, len(images), self._pairs),
        }
        if extractor is not None:
            key["extractor"] = extractor.fingerprint
            self.stores["features"] = Store(f"features of {images.name}", key, len(images), self._features)
        if passing:
            for store in self.stores.values():
                store.kept = frozenset()

    def __enter__(self) -> "Side":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for store in self.stores.values():
            store.close() if kind is None else store.release()

    def __len__(self) -> int:
        return len(self.images)

    def prepare(self, needs: Set[str]) -> None:
        """Compute what is missing in the needed stores; for "moments" alone, no features are kept."""
        for name in sorted(needs & self.stores.keys()):
            self.stores[name].fill()
        if "moments" in needs:
            self.moments = self.stores["features"].moments(self.device, keep="features" in needs)

    def read(self, store: str, name: str) -> Tensor:
        """Return a tensor of all images."""
        return self.stores[store].load(name).to(self.device)

    def features(self) -> Tensor:
        """Return the features of all images [n, d]; UserError if all are the same."""
        found = self.read("features", "features")
        variance, mean = torch.var_mean(found, 0)
        self.stores["features"].refuse_alike(variance.sum(), mean)
        return found

    def values(self, n: int | None) -> Tensor:
        """Return the first `n` images flattened [n, d], in [0, 1]; of points their coordinates, divided by extent."""
        return self.read("values", "values")[:n]

    def total(self) -> Moments:
        """Return the moments of all images."""
        first, *others = self.moments
        return sum(others, first)

    def halves(self) -> tuple[Moments, Moments]:
        """Return the moments of the images of even and of odd number."""
        return self.moments[0] + self.moments[2], self.moments[1] + self.moments[3]

    def _features(self, start: int) -> Tensors:
        assert self.extractor is not None
        images, labels = self.images.block(start)
        features, logits = self.extractor(images.to(self.device))
        if not features.isfinite().all():
            raise UserError(
                f"features of {self.images.name}: hold infinities or NaN; look at the images, and at the extractor"
            )
        return {"features": features, "labels": labels} | ({} if logits is None else {"logits": logits})

    def _values(self, start: int) -> Tensors:
        images, _ = self.images.block(start)
        return {"values": (images if images.is_floating_point() else images / 255).flatten(1)}

    def _patches(self, start: int) -> Tensors:
        images, _ = self.images.block(start)
        levels = swd.descriptors(images.to(self.device), seed=start)
        return {f"{number}": level.unflatten(0, (len(images), -1)) for number, level in enumerate(levels)}

    def _pairs(self, start: int) -> Tensors:
        """Compare neighbours after a sort by class; -1 for an image without a partner of its class."""
        images, labels = self.images.block(start)
        order = labels.argsort(stable=True)
        first, second = order[0 : len(order) // 2 * 2 : 2], order[1::2]
        same = labels[first] == labels[second]
        similarity = torch.full((len(images),), -1.0, dtype=torch.float64)
        first, second = first[same], second[same]
        similarity[first] = ms_ssim(images[first].to(self.device), images[second].to(self.device)).cpu()
        return {"similarity": similarity}
