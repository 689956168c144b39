import subprocess
import sys

CODE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pyspark", "py4j", "torch"):
            raise AssertionError(f"{name} was imported")

sys.meta_path.insert(0, Refuse())
from redpajama_pipe.tokens import encode, indexed, nfc_drift, schedule, spans, spec, spm_model, train
import numpy as np
import pyarrow as pa
path = train.train_sentencepiece(["the cat"] * 5, sys.argv[1], 270)
ids, offsets = encode.open_encoder(spec.load_spec("sample_spm"), path).encode_batch(pa.array(["the cat"]))
with indexed.IndexedWriter(sys.argv[1], np.dtype("uint16")) as writer:
    writer.append(ids, np.diff(offsets))
dataset = indexed.IndexedDataset(sys.argv[1])
order = schedule.build_index(dataset.sizes, 1, 2, 0)
print(len(order))
"""


def test_tokens_work_without_spark_and_torch(tmp_path) -> None:  # type: ignore[no-untyped-def]
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path / "x")],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "", "PYTHONPATH": ":".join(filter(None, sys.path))},  # no java to be found either
    )
    assert (done.stdout, done.stderr) == ("2\n", "")
