"""The adversarial autoencoder with 10 labels a class, beside its encoder trained on those labels alone."""

from collections.abc import Iterator

import torch
from held_out import digits, model_of, train
from rows import Row
from torch.nn.functional import cross_entropy

CONFIG, LABELLED, CLASSES = "digits/aae_few_labels.yaml", 10, 10


def rows(seed: int) -> Iterator[Row]:
    """One run of each, judged on 360 held-out digits; the labels are the first 10 of each class."""
    (images, labels), (held_out, classes) = digits()
    few = torch.cat([(labels == each).nonzero()[:LABELLED, 0] for each in range(CLASSES)])
    alone, rounds, batch = model_of(CONFIG, seed)
    encoder = alone.encoder
    optimizer = torch.optim.Adam(encoder.parameters(), lr=1e-3)
    for _ in range(rounds // 4):
        optimizer.zero_grad()
        cross_entropy(encoder(images[few])[0], labels[few]).backward()
        optimizer.step()
    with torch.no_grad():
        without = float((encoder(held_out)[0].argmax(1) != classes).double().mean())
    model, _, _ = model_of(CONFIG, seed)
    train(model, rounds, images, labels, batch, other=(images[few], labels[few]))
    error = float((model.classify(held_out).argmax(1) != classes).double().mean())
    yield Row("AAE, few labels", "error", error, f"< {without:.3f}, of the labels alone", error < without)
