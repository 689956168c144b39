"""What the training path does on a GPU, as far as a machine without one can tell.

torch.cuda's functions are stand-ins that take what the real ones take; tensors lie on the CPU.
"""

import inspect
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'redpajama-pipe[train]'")
pytest.importorskip("transformers", reason="transformers is not installed")

from torch.nn.functional import cross_entropy  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from training_factory import SEQ_LEN, VOCABULARY, settings, weights  # noqa: E402

from redpajama_pipe.errors import PipelineError, SetupError  # noqa: E402
from redpajama_pipe.tokens.loader import TokenLoader  # noqa: E402
from redpajama_pipe.tokens.reader import INPUT_IDS  # noqa: E402
from redpajama_pipe.training import checkpoint, devices, loop, memorisation, metrics, models, validation  # noqa: E402
from redpajama_pipe.training.devices import World  # noqa: E402
from redpajama_pipe.training.rows import NO_LABEL, POSITIONS  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

A100 = "NVIDIA A100-SXM4-80GB"


class Cuda:
    """Stand-ins for torch.cuda's functions; `calls` has the name of each call, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        self._patch = monkeypatch
        self.answers(
            is_available=True,
            device_count=2,
            set_device=None,
            synchronize=None,
            get_device_name=A100,
            get_device_properties=SimpleNamespace(total_memory=85_000_000_000, major=8),
            is_bf16_supported=True,
            max_memory_allocated=12_345_678_901,
            get_rng_state=torch.ones(16, dtype=torch.uint8),
            set_rng_state=None,
        )

    def answers(self, **found: Any) -> None:
        for name, answer in found.items():
            self.stand_in(torch.cuda, name, lambda *_, _answer=answer, **__: _answer)

    def stand_in(self, module: Any, name: str, does: Callable[..., Any]) -> None:
        takes = inspect.signature(getattr(module, name))

        def call(*arguments: Any, **named: Any) -> Any:
            takes.bind(*arguments, **named)
            self.calls.append(name)
            return does(*arguments, **named)

        self._patch.setattr(module, name, call)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    torch.set_num_threads(1)
    return Cuda(monkeypatch)


@pytest.fixture
def gpu(cuda: Cuda, monkeypatch: pytest.MonkeyPatch) -> Cuda:
    """All that training does on a GPU alone, with its tensors on the CPU."""

    @contextmanager
    def alone(device: str) -> Iterator[World]:
        yield World(0, 1, torch.device("cpu"))

    monkeypatch.setattr(loop, "open_world", alone)
    monkeypatch.setattr(World, "is_gpu", True)
    # a DataLoader asks for an accelerator that can pin memory
    init = TokenLoader.__init__

    def unpinned(self: Any, *arguments: Any, pin_memory: bool, **named: Any) -> None:
        assert pin_memory
        init(self, *arguments, **named)

    monkeypatch.setattr(TokenLoader, "__init__", unpinned)
    return cuda


def test_a_gpu_run_does_what_a_cpu_run_does(pattern_run: Path, tmp_path: Path, gpu: Cuda) -> None:
    some = ["training.checkpoint_every=2", "training.precision=fp32"]
    train = loop.train
    for steps in (2, 4):  # the second one goes on from a checkpoint with the GPU's random state
        train(settings(pattern_run, tmp_path / "gpu", [*some, f"training.steps={steps}"]))
    assert gpu.calls.count("set_rng_state") == 1
    rows = metrics.read(str(tmp_path / "gpu"))
    assert {row["memory_bytes"] for row in rows} == {12_345_678_901}
    flops = models.flops_per_token(settings(pattern_run, tmp_path).model.architecture, SEQ_LEN) * 8 * SEQ_LEN
    assert rows[-1]["mfu"] == pytest.approx(flops / rows[-1]["seconds"] / 312e12, abs=1e-5)
    random = torch.load(f"{checkpoint.folder_of(str(tmp_path / 'gpu'), 4)}/random.pt")
    assert random[0]["cuda"].tolist() == [1] * 16


def test_time_is_taken_when_the_gpu_has_done_its_step(
    pattern_run: Path, tmp_path: Path, gpu: Cuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    def clock() -> float:
        gpu.calls.append("perf_counter")
        return float(len(gpu.calls))

    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=clock, monotonic=time.monotonic))
    gpu.stand_in(torch.optim.AdamW, "step", lambda optimiser, closure=None: None)
    loop.train(settings(pattern_run, tmp_path, ["training.steps=2", "training.precision=fp32"]))
    told = [name for name in gpu.calls if name in ("perf_counter", "step", "synchronize")]
    wait = ["perf_counter"] * 2
    # a step begins, waits for two micro-batches, and ends when nothing is left to do
    assert told == ["perf_counter", *wait, *wait, "step", "synchronize", "perf_counter"] * 2


class Asked(TorchDispatchMode):  # type: ignore[misc]
    """Counts the times that a value is fetched from the device, for which its queue must run empty."""

    def __init__(self, kinds: tuple[Any, ...]) -> None:
        super().__init__()
        self.count, self._kinds = 0, kinds

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        fetches = func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.is_nonzero.default)
        self.count += fetches and args[0].dtype in self._kinds
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("attention", ["sequence", "document"])
def test_a_micro_step_fetches_nothing_from_the_device(attention: str) -> None:
    model = models.build(models.load("tiny", ["architecture.vocab_size=64"]).architecture, seed=1).train()
    batch = {INPUT_IDS: torch.randint(0, 64, (2, 33))}
    if attention == "document":
        batch[POSITIONS] = torch.arange(32).remainder(20).repeat(2, 1)
    with Asked((torch.bool, torch.int64, torch.float32, torch.float64)) as asked:
        validation.token_loss(model, batch).backward()
        assert asked.count == 0
        bool(torch.ones(1).all())
    assert asked.count  # it would be seen


@pytest.mark.parametrize("micro_batch", [1, 4])
def test_a_step_fetches_its_loss_and_its_norm(pattern_run: Path, tmp_path: Path, gpu: Cuda, micro_batch: int) -> None:
    some = ["training.steps=3", "training.precision=fp32", f"training.micro_batch={micro_batch}"]
    # ids are whole numbers, and looked at where the loader leaves them
    with Asked((torch.float32, torch.float64)) as asked:
        loop.train(settings(pattern_run, tmp_path, some))
    assert asked.count == 3 * 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's compiler asks for it
def test_layers_share_what_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    model = models.build(models.load("tiny", ["architecture.vocab_size=64"]).architecture, seed=1)
    batch = {INPUT_IDS: torch.arange(66).reshape(2, 33) % 64}
    expected = validation.token_loss(model, batch)
    graphs: list[Any] = []

    def backend(graph: Any, example: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    compiles = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function: compiles(function, backend=backend))
    monkeypatch.setattr("torch._dynamo.config.optimize_ddp", True)  # put back after the test
    names = set(model.state_dict())
    loop.compile_layers(model)
    validation._compiled_nats.cache_clear()
    try:
        loss = validation.token_loss(model, batch, compiled=True)
        loss.backward()
    finally:
        validation._compiled_nats.cache_clear()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert set(model.state_dict()) == names
    assert len(graphs) == 2  # a layer, of which there are two, and the loss
    [node] = [node for node in graphs[0].graph.nodes if "scaled_dot_product" in str(node.target)]
    assert (node.kwargs.get("attn_mask"), node.kwargs["is_causal"]) == (None, True)


def test_a_checkpoint_does_not_say_how_attention_is_computed(tmp_path: Path) -> None:
    model = models.build(models.load("tiny", ["architecture.vocab_size=64"]).architecture, seed=1)
    assert model.config._attn_implementation == "causal_sdpa"
    model.save_pretrained(tmp_path)
    assert "causal_sdpa" not in (tmp_path / "config.json").read_text()


def test_the_loss_in_pieces_is_the_loss() -> None:
    torch.manual_seed(1)
    logits, labels = torch.randn(37, 50), torch.randint(0, 50, (37,))
    labels[5:9] = NO_LABEL
    found = []
    for most in (37 * 50, 370, 1):  # one piece, pieces of 7 ids, pieces of one
        given = logits.clone().requires_grad_()
        loss = validation.summed_nats(given, labels, most)
        loss.backward()
        found.append((loss, given.grad))
    whole = logits.clone().requires_grad_()
    expected = cross_entropy(whole, labels, reduction="sum", ignore_index=NO_LABEL)
    expected.backward()
    assert torch.equal(found[0][0], expected)
    for loss, gradient in found:
        assert torch.equal(gradient, whole.grad)
        assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize(("saved", "now"), [(False, True), (True, False)])
def test_an_optimiser_goes_on_with_its_own_devices_kernels(
    pattern_run: Path, tmp_path: Path, saved: bool, now: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    torch.set_num_threads(1)
    plain = torch.optim.AdamW
    fused = saved

    def adam(groups: Any, **named: Any) -> Any:
        optimiser = plain(groups, **{**named, "fused": fused})
        made.append(optimiser)
        return optimiser

    made: list[Any] = []
    monkeypatch.setattr(torch.optim, "AdamW", adam)
    loop.train(settings(pattern_run, tmp_path / "a", ["training.steps=2"]))
    fused = now
    done = loop.train(settings(pattern_run, tmp_path / "a", ["training.steps=3"]))
    assert [group["fused"] for group in made[-1].param_groups] == [now, now]
    fused = False
    straight = loop.train(settings(pattern_run, tmp_path / "b", ["training.steps=3"]))
    assert done.loss == pytest.approx(straight.loss, abs=1e-4)
    first, second = weights(done.checkpoint), weights(straight.checkpoint)
    for name in first:
        if "query_key_value.bias" not in name:
            assert torch.allclose(first[name], second[name], atol=1e-5), name


@pytest.mark.parametrize("fails", [False, True])
def test_ranks_meet_on_their_gpus(cuda: Cuda, monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    joined: dict[str, Any] = {}
    for name, value in (("RANK", "5"), ("WORLD_SIZE", "8"), ("LOCAL_RANK", "1")):
        monkeypatch.setitem(os.environ, name, value)
    cuda.stand_in(
        torch.distributed, "init_process_group", lambda backend, **named: joined.update(named, backend=backend)
    )
    cuda.stand_in(torch.distributed, "destroy_process_group", lambda: None)

    def work() -> None:
        with devices.open_world("auto") as world:
            assert (world.rank, world.size, world.device) == (5, 8, torch.device("cuda", 1))
            if fails:
                raise PipelineError("it")

    if fails:
        with pytest.raises(PipelineError, match="it"):
            work()
    else:
        work()
    steps = [name for name in cuda.calls if name in ("set_device", "init_process_group", "destroy_process_group")]
    # who fails does not part from ranks that wait for it in a collective: NCCL would wait for them
    assert steps == ["set_device", "init_process_group", *([] if fails else ["destroy_process_group"])]
    assert (joined["backend"], joined["device_id"]) == ("nccl", torch.device("cuda", 1))
    assert joined["timeout"].total_seconds() == 3600


def test_more_ranks_than_gpus_are_refused(cuda: Cuda, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RANK", "10"), ("WORLD_SIZE", "16"), ("LOCAL_RANK", "2")):
        monkeypatch.setitem(os.environ, name, value)
    with (
        pytest.raises(SetupError, match=r"^rank 10 is number 2 of its machine, .* torch sees 2 GPUs; give torchrun a"),
        devices.open_world("cuda"),
    ):
        pass


def test_bf16_that_is_emulated_is_none(cuda: Cuda, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(0, 1, torch.device("cuda", 0))
    assert devices.computes_in_bf16("auto", world)
    assert not devices.computes_in_bf16("fp32", world)
    # what torch says of a V100 or T4
    cuda.stand_in(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    cuda.answers(get_device_name="Tesla V100-SXM2-16GB")
    assert not devices.computes_in_bf16("auto", world)
    with pytest.raises(
        SetupError, match=r"^training.precision is bf16, which Tesla V100-SXM2-16GB has not got .*=fp32$"
    ):
        devices.computes_in_bf16("bf16", world)
    assert devices.computes_in_bf16("bf16", World(0, 1, torch.device("cpu")))


def test_a_gpu_that_is_too_small_is_one_line(pattern_run: Path, tmp_path: Path, gpu: Cuda) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 6.14 GiB.")

    gpu.stand_in(loop, "token_loss", full)
    with pytest.raises(
        PipelineError,
        match=rf"^out of memory on {A100} \(85 GB\): lower training.micro_batch \(now 4\), "
        "or set training.activation_checkpointing=true, or set training.strategy=fsdp and take more GPUs$",
    ):
        loop.train(settings(pattern_run, tmp_path, ["training.precision=fp32"]))
    last = models.load("pythia_12b", ["training.micro_batch=1"]).training
    assert devices.less_memory(last) == "take more GPUs"


def test_memorisation_on_a_gpu_that_is_too_small_is_one_line(
    pattern_run: Path, tmp_path: Path, cuda: Cuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda.answers(is_available=False)
    loop.train(settings(pattern_run, tmp_path, ["training.steps=1"]))

    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(memorisation, "extractible", full)
    with pytest.raises(
        PipelineError, match=r"^out of memory on .*: lower --batch \(now 64\), or take --dtype bfloat16"
    ):
        memorisation.measure(str(pattern_run), str(tmp_path), prompt=8, continuation=8)


@pytest.mark.parametrize(
    ("name", "tflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989.0),
        ("NVIDIA H100 PCIe", 756.0),
        ("NVIDIA H100 NVL", 835.0),
        ("NVIDIA H200", 989.0),
        ("NVIDIA GH200 480GB", 989.0),
        (A100, 312.0),
        ("NVIDIA A10G", 70.0),
        ("NVIDIA A10", 125.0),
        ("NVIDIA L40S", 362.0),
        ("NVIDIA L4", 121.0),
        ("NVIDIA RTX A1000", None),  # no A100, and no A10
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", None),
        ("Tesla T4", None),  # it has no bf16
    ],
)
def test_peaks_are_those_of_the_very_device(cuda: Cuda, name: str, tflops: float | None) -> None:
    cuda.answers(get_device_name=name)
    world = World(0, 1, torch.device("cuda", 0))
    assert devices.peak_flops(None, world) == (None if tflops is None else tflops * 1e12)
    assert devices.peak_flops(1.5, world) == 1.5e12


def test_published_documents_are_read_in_batches_that_fit() -> None:
    import numpy as np

    from redpajama_pipe.training import experiment_scores

    shapes = []

    def model(input_ids: Any, **_: Any) -> Any:
        shapes.append(tuple(input_ids.shape))
        return SimpleNamespace(logits=torch.zeros(*input_ids.shape, 4))

    stand_in: Any = model
    stand_in.device, stand_in.config = torch.device("cpu"), SimpleNamespace(vocab_size=50_304)
    documents = [np.ones(2049, np.int64)] * 5
    nats, counts = experiment_scores.document_losses(stand_in, documents, 2048)
    assert shapes == [(2, 2048), (2, 2048), (1, 2048)]
    assert counts.tolist() == [2048] * 5
    stand_in.config = SimpleNamespace(vocab_size=VOCABULARY)
    assert experiment_scores.document_losses(stand_in, documents, 2048)[0].tolist() == nats.tolist()
    assert shapes[3:] == [(5, 2048)]


def test_an_experiment_names_the_gpu_that_it_used(cuda: Cuda) -> None:
    from redpajama_pipe.training import experiment, experiment_plan

    assert experiment._machine(experiment_plan.load("pythia_mini"))["gpu"] == A100
    kept_off = experiment_plan.load("pythia_mini", ["overrides=[training.device=cpu]"])
    assert experiment._machine(kept_off)["gpu"] is None
