"""A PyTorch dataset on Mediagate: one object for each sample, its label in the metadata.

    pip install 'mediagate[fsspec]' torch
    export MEDIAGATE_URL=http://127.0.0.1:8080 MEDIAGATE_KEY=mg_…

One listing tells all names and labels. Workers fetch samples, those of a batch at the same time,
while the model learns. The file system is looked up where it is used, so each worker process has
its own.
"""

import fsspec
import torch
from torch.utils.data import DataLoader, Dataset

FOLDER = "examples/samples"


def filesystem():
    return fsspec.filesystem("mg")  # the same one each time, in one process


class Samples(Dataset):
    def __init__(self, folder):
        found = filesystem().find(folder, detail=True)
        self.paths = list(found)
        self.labels = [int(info["user_metadata"]["label"]) for info in found.values()]

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        return self.__getitems__([index])[0]

    def __getitems__(self, indices):
        """A whole batch, fetched at once (PyTorch 2)."""
        fetched = filesystem().cat([self.paths[index] for index in indices])
        data = [bytearray(fetched[self.paths[index]]) for index in indices]
        values = [torch.frombuffer(one, dtype=torch.float32) for one in data]
        return [(one, self.labels[n]) for one, n in zip(values, indices, strict=True)]


def store_samples(count, size=64):
    """Noise around -1 or 1."""
    fs = filesystem()
    fs.makedirs("examples", exist_ok=True)
    for number in range(count):
        label = number % 2
        values = torch.randn(size) + (2 * label - 1)
        data = bytes(values.view(torch.uint8).tolist())
        fs.pipe_file(f"{FOLDER}/{number:05}.f32", data, user_metadata={"label": str(label)})


def main():
    torch.manual_seed(1)
    store_samples(64)
    samples = Samples(FOLDER)
    model = torch.nn.Linear(64, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(2):
        right = 0
        for values, labels in DataLoader(samples, batch_size=16, shuffle=True, num_workers=2):
            guesses = model(values)
            loss = torch.nn.functional.cross_entropy(guesses, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            right += int((guesses.argmax(1) == labels).sum())
        print(f"epoch {epoch}: {right} of {len(samples)} right")


if __name__ == "__main__":
    main()
