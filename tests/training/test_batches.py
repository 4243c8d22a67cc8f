import numpy as np
import pytest
import torch

from serct.data.dataset import ShardDataset
from serct.training.batches import DeviceBatches, PackedClips

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def dataset(tone_shards):
    return ShardDataset(tone_shards, ["train"])


def test_rows_are_cut_at_the_longest_clip(dataset):
    indices = np.array([3, 0, 7])
    cut, whole = dataset.batch(indices), dataset.batch(indices, dataset.meta.num_samples)
    longest = dataset.num_valid[indices].max()
    assert cut.waveforms.shape == (3, longest)
    assert whole.waveforms.shape == (3, dataset.meta.num_samples)
    np.testing.assert_array_equal(whole.waveforms[:, :longest], cut.waveforms)
    assert not whole.waveforms[:, longest:].any()
    for row, index, count in zip(cut.waveforms, indices, cut.num_valid, strict=True):
        np.testing.assert_array_equal(row[:count], dataset.clip(index) / np.float32(32768))
        assert not row[count:].any()


def test_clips_gathered_on_the_device_are_those_of_the_shards(dataset):
    packed = PackedClips(dataset, CPU)
    assert packed.samples.numel() == dataset.num_valid.sum()
    for indices in ([0], [5, 2, 2], range(len(dataset))):
        expected, found = dataset.batch(list(indices)), packed.batch(np.array(indices))
        np.testing.assert_array_equal(found.waveforms.numpy(), expected.waveforms)
        np.testing.assert_array_equal(found.num_valid.numpy(), expected.num_valid)
        np.testing.assert_array_equal(found.labels.numpy(), expected.labels)
        assert found.waveforms.dtype == torch.float32


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_batches_come_in_the_order_asked_for(dataset, device):
    # "meta" holds no data but takes the way of any device that is not the CPU.
    order = [np.array([1, 2]), np.array([0]), np.array([4, 3, 9])]
    batches = list(DeviceBatches(dataset, torch.device(device))(order))
    assert [len(batch.labels) for batch in batches] == [2, 1, 3]
    assert {batch.waveforms.device.type for batch in batches} == {device}
    if device == "cpu":
        assert batches[2].labels.tolist() == dataset.labels[[4, 3, 9]].tolist()
        assert batches[1].num_valid.tolist() == dataset.num_valid[[0]].tolist()
    assert list(DeviceBatches(dataset, torch.device(device))([])) == []


def test_an_error_of_the_reading_thread_arrives(dataset):
    with pytest.raises(IndexError):
        list(DeviceBatches(dataset, torch.device("meta"))([np.array([10**6])]))
