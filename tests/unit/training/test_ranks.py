"""Two processes over gloo train what one does: the same batches, the same averaged gradients."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install 'redpajama-pipe[train]'")
pytest.importorskip("transformers", reason="transformers is not installed")

from training_factory import settings, weights

from redpajama_pipe.training import checkpoint, metrics

HERE = Path(__file__).parent
CODE = """
import sys
from pathlib import Path
import torch
from training_factory import settings
from redpajama_pipe.training.loop import train

torch.set_num_threads(1)
torch.distributed.init_process_group("gloo")  # once: a rank could meet the store of the group that is just ending
run, output = map(Path, sys.argv[1:])
for strategy in ("ddp", "fsdp"):
    some = [f"training.strategy={strategy}", "training.micro_batch=2", "training.checkpoint_every=3"]
    for steps in (3, 5):  # the second call goes on from the first one's checkpoint
        train(settings(run, output / strategy, [*some, f"training.steps={steps}"]))
torch.distributed.destroy_process_group()
"""


def run_ranks(arguments: list[str], count: int) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = []
    for rank in range(count):
        world = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", CODE, *arguments]
        ranks.append(subprocess.Popen(command, env={**os.environ, **world, **place}, stderr=subprocess.PIPE))
    try:
        told = [rank.communicate(timeout=300)[1].decode() for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [rank.returncode for rank in ranks] == [0] * count, "\n".join(told)[-3000:]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_two_ranks_train_what_one_does(pattern_run: Path, tmp_path: Path) -> None:
    import torch

    from redpajama_pipe.training.loop import train

    run_ranks([str(pattern_run), str(tmp_path)], 2)
    torch.set_num_threads(1)
    alone = train(settings(pattern_run, tmp_path / "one", ["training.steps=5"]))
    rows = metrics.read(str(tmp_path / "one"))
    expected = weights(alone.checkpoint)
    for strategy in ("ddp", "fsdp"):
        found = metrics.read(str(tmp_path / strategy))
        for key in ("step", "lr"):
            assert [row[key] for row in found] == [row[key] for row in rows]
        for key in ("loss", "grad_norm"):
            assert [row[key] for row in found] == pytest.approx([row[key] for row in rows], rel=1e-5)
        last = checkpoint.latest(str(tmp_path / strategy))
        assert last is not None
        assert last.manifest.counts["loader"]["cursor"] == 40
        assert last.manifest.counts["ranks"] == 2
        trained = weights(last.folder)
        assert set(trained) == set(expected)
        for name, value in expected.items():
            if "query_key_value.bias" not in name:  # the keys' part has no gradient but rounding errors
                assert torch.allclose(value, trained[name], atol=2e-6), (strategy, name)
    # one process goes on from what two have cut up
    on = train(settings(pattern_run, tmp_path / "fsdp", ["training.steps=7", "training.micro_batch=2"]))
    straight = train(settings(pattern_run, tmp_path / "one", ["training.steps=7"]))
    assert on.loss == pytest.approx(straight.loss, rel=1e-4)
