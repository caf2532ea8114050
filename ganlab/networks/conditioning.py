"""What every network is told of the classes."""

from ganlab.types import ImageSpec, UserError


def classes_of(image: ImageSpec, conditional: bool) -> int:
    """Return the number of classes that a network is conditioned on; 0 unless it is conditional."""
    if conditional and not image.classes:
        raise UserError(
            "a conditional model needs labels and the data have none; "
            "set model.conditional=false or choose a model without classes, "
            "or pack the data from class folders or with a dataset.json"
        )
    return image.classes if conditional else 0
