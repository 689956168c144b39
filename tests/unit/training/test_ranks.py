"""Two processes over gloo train what one does: the same batches, the same averaged gradients."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install 'redpajama-pipe[train]'")
pytest.importorskip("transformers", reason="transformers is not installed")

from training_factory import mixed_documents, packed_run, settings, weights

from redpajama_pipe.training import checkpoint, metrics

HERE = Path(__file__).parent
LIMIT = 900  # seconds; they take 15 of a core each, and wait for it where a machine is busy
PACKED = ["training.attention=document", "training.micro_batch=2", "training.steps=4"]
# A file is the meeting place: a free port may be taken before rank 0 listens on it. A rank that waits for another one
# longer than the limit says where it stands.
CODE = """
import faulthandler
import os
import sys
from datetime import timedelta
from pathlib import Path
limit = float(sys.argv[1])
faulthandler.dump_traceback_later(limit, exit=True)
import torch
from training_factory import settings
from redpajama_pipe.training.loop import train

torch.set_num_threads(1)
run, packed, output = map(Path, sys.argv[2:5])
rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
store = torch.distributed.FileStore(str(output / "store"), size)
torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=timedelta(seconds=limit))
for strategy in ("ddp", "fsdp"):
    some = [f"training.strategy={strategy}", "training.micro_batch=2", "training.checkpoint_every=3"]
    for steps in (3, 5):  # the second call goes on from the first one's checkpoint
        train(settings(run, output / strategy, [*some, f"training.steps={steps}"]))
    train(settings(packed, output / f"packed_{strategy}", [f"training.strategy={strategy}", *sys.argv[5:]]))
torch.distributed.destroy_process_group()
"""


def run_ranks(code: str, arguments: list[str], count: int, folder: Path, limit: float) -> None:
    """Run some code as so many ranks; fails when one fails, or when they have not ended after `limit` seconds."""
    ranks, told = [], [folder / f"rank{rank}.log" for rank in range(count)]
    for rank, log in enumerate(told):
        world = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
        place = {"PYTHONPATH": os.pathsep.join(sys.path)}
        if sys.platform == "linux":
            place["GLOO_SOCKET_IFNAME"] = "lo"  # else gloo asks the resolver for the machine's name
        with log.open("wb") as file:  # a pipe that nobody reads would stop a rank that says much
            command = [sys.executable, "-c", code, str(limit), *arguments]
            ranks.append(subprocess.Popen(command, env={**os.environ, **world, **place}, stdout=file, stderr=file))
    end = time.monotonic() + limit + 10  # the ranks themselves end first
    try:
        while any(rank.poll() is None for rank in ranks) and time.monotonic() < end:
            if any(rank.poll() for rank in ranks):
                break  # the others would wait for it
            time.sleep(0.05)
        codes = [rank.poll() for rank in ranks]
    finally:
        for process in ranks:
            process.kill()
            process.wait()
    if codes != [0] * count:
        said = "\n".join(f"rank {rank}:\n{log.read_text('utf-8', 'replace')[-3000:]}" for rank, log in enumerate(told))
        pytest.fail(f"ranks ended with {codes} (None: it ran still, after {limit:g} s or when another failed)\n{said}")


def test_ranks_that_hang_fail_in_time_and_say_where(tmp_path: Path) -> None:
    code = "import faulthandler, sys, time\nfaulthandler.dump_traceback_later(float(sys.argv[1]), exit=True)\n"
    began = time.monotonic()
    with pytest.raises(pytest.fail.Exception, match=r"(?s)ranks ended with \[.*Timeout .*line 4 in wait_for_nobody"):
        run_ranks(f"{code}def wait_for_nobody():\n    time.sleep(60)\nwait_for_nobody()", [], 2, tmp_path, 1)
    assert time.monotonic() - began < 30
    with pytest.raises(pytest.fail.Exception, match=r"(?s)ranks ended with \[.*ValueError: broken"):
        run_ranks(
            f"{code}import os\nif os.environ['RANK'] == '1': raise ValueError('broken')\ntime.sleep(60)",
            [],
            2,
            tmp_path,
            20,
        )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_two_ranks_train_what_one_does(pattern_run: Path, tmp_path: Path) -> None:
    import torch

    from redpajama_pipe.training.loop import train

    packed = packed_run(tmp_path / "packed", mixed_documents(60, 8), "document")
    run_ranks(CODE, [str(pattern_run), str(packed), str(tmp_path), *PACKED], 2, tmp_path, LIMIT)
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
    # sequences of one to 33 ids: the ranks have other numbers of labels
    train(settings(packed, tmp_path / "packed_one", PACKED))
    rows = metrics.read(str(tmp_path / "packed_one"))
    for strategy in ("ddp", "fsdp"):
        found = metrics.read(str(tmp_path / f"packed_{strategy}"))
        for key in ("loss", "grad_norm", "labels"):
            assert [row[key] for row in found] == pytest.approx([row[key] for row in rows], rel=1e-5), (strategy, key)
    # one process goes on from what two have cut up
    on = train(settings(pattern_run, tmp_path / "fsdp", ["training.steps=7", "training.micro_batch=2"]))
    straight = train(settings(pattern_run, tmp_path / "one", ["training.steps=7"]))
    assert on.loss == pytest.approx(straight.loss, rel=1e-4)
