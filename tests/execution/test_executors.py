"""One contract for every executor, and pixels that travel as the name of a file."""

import os
import pickle
import signal
import threading
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from jobs import make_job, pixels

from sit2.data.pixels import PixelStore
from sit2.errors import TrainingError
from sit2.events import Note, Progress, nobody
from sit2.execution.executors import EXECUTORS
from sit2.execution.executors.executor import Executor


@dataclass(frozen=True)
class Tells:
    """A job that tells three things, and returns its number and its process."""

    number: int

    def run(self, listener):
        for n in range(3):
            listener(Progress(str(self.number), n / 2))
        return self.number, os.getpid()


@dataclass(frozen=True)
class Fails:
    """A job that goes wrong."""

    error: Exception

    def run(self, listener):
        listener(Note("it begins"))
        raise self.error


@dataclass(frozen=True)
class Sleeps:
    """A job that takes its time, and says in a file when it has begun."""

    file: Path

    def run(self, listener):
        self.file.write_text(str(os.getpid()))
        time.sleep(300)


@dataclass(frozen=True)
class Adds:
    """A job that looks at pixels."""

    store: PixelStore
    rows: np.ndarray

    def run(self, listener):
        return int(self.store.images[self.rows].astype(np.int64).sum()), self.store.digests[self.rows]


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not (state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z")


@pytest.mark.parametrize("name", EXECUTORS)
class TestContract:
    def test_every_job_has_its_result(self, name):
        with EXECUTORS[name](nobody, 2) as executor:
            assert isinstance(executor, Executor)
            futures = [executor.submit(Tells(n)) for n in range(7)]
            assert [future.result()[0] for future in futures] == list(range(7))
            elsewhere = {future.result()[1] for future in futures}
        assert (os.getpid() in elsewhere) == (name == "serial")
        assert executor.workers == (1 if name == "serial" else 2)

    def test_all_events_arrive_in_the_order_of_each_job(self, name):
        heard = []
        with EXECUTORS[name](heard.append, 2) as executor:
            for future in [executor.submit(Tells(n)) for n in range(5)]:
                future.result()
        for n in range(5):
            own = [event for event in heard if event.title == str(n)]
            assert own == [Progress(str(n), 0.0), Progress(str(n), 0.5), Progress(str(n), 1.0)]
        assert len(heard) == 15

    def test_events_arrive_at_once(self, name, tmp_path):
        """Not only when the executor ends."""
        answer = tmp_path / "heard"
        with EXECUTORS[name](lambda event: answer.write_text("yes"), 2) as executor:
            executor.submit(Tells(0)).result()
            end = time.monotonic() + 30
            while not answer.exists():
                assert time.monotonic() < end
                time.sleep(0.01)

    @pytest.mark.parametrize("error", [TrainingError("the loss became nan\nlower --lr"), ValueError("odd")])
    def test_an_error_is_its_jobs_alone(self, name, error):
        heard = []
        with EXECUTORS[name](heard.append, 2) as executor:
            wrong, right = executor.submit(Fails(error)), executor.submit(Tells(3))
            with pytest.raises(type(error)) as raised:
                wrong.result()
            assert str(raised.value) == str(error)
            assert right.result()[0] == 3
        assert Note("it begins") in heard

    def test_jobs_see_the_pixels_that_were_shared(self, name, tmp_path):
        store, rows = PixelStore.of(pixels()), np.array([3, 1, 40])
        with EXECUTORS[name](nobody, 2) as executor:
            shared = executor.share(store, tmp_path)
            total, digests = executor.submit(Adds(shared, rows)).result()
        assert total == store.images[rows].astype(np.int64).sum()
        assert np.array_equal(digests, store.digests[rows])

    def test_ended_it_can_be_made_again(self, name):
        with EXECUTORS[name](nobody, 2) as executor:
            executor.submit(Tells(1)).result()
            executor.abort()
        with EXECUTORS[name](nobody, 2) as executor:
            assert executor.submit(Tells(2)).result()[0] == 2


class TestSerial:
    def test_an_interruption_ends_everything_at_once(self):
        def interrupt(_event):
            raise KeyboardInterrupt

        with EXECUTORS["serial"](interrupt, 1) as executor, pytest.raises(KeyboardInterrupt):
            executor.submit(Tells(1))

    def test_pixels_stay_where_they_are(self, tmp_path):
        store = PixelStore.of(pixels())
        with EXECUTORS["serial"](nobody, 1) as executor:
            assert executor.share(store, tmp_path) is store
        assert list(tmp_path.iterdir()) == []


class TestProcesses:
    def test_abort_ends_what_is_running(self, tmp_path):
        began = time.monotonic()
        with EXECUTORS["joblib"](nobody, 2) as executor:
            executor.submit(Sleeps(tmp_path / "pid"))
            executor.submit(Sleeps(tmp_path / "other"))
            pids = [self.pid_in(tmp_path / name) for name in ("pid", "other")]
            executor.abort()
        assert time.monotonic() - began < 60
        end = time.monotonic() + 10
        while any(alive(pid) for pid in pids) and time.monotonic() < end:
            time.sleep(0.05)
        assert not any(alive(pid) for pid in pids)

    def test_a_host_that_makes_warnings_errors_does_not_wait_forever(self):
        """Loky warns of a process that ended while a job came, in the thread that brings all results."""
        text = "A worker stopped while some jobs were given to the executor. This can be caused by a memory leak."
        where = (UserWarning, "process_executor.py", 1, "joblib.externals.loky.process_executor")
        with pytest.raises(UserWarning):
            warnings.warn_explicit(text, *where)
        with EXECUTORS["joblib"](nobody, 2):
            warnings.warn_explicit(text, *where)
        with pytest.raises(UserWarning):
            warnings.warn_explicit(text, *where)

    @staticmethod
    def pid_in(file):
        end = time.monotonic() + 60
        while not (file.exists() and file.read_text()):
            assert time.monotonic() < end
            time.sleep(0.05)
        return int(file.read_text())

    def test_ctrl_c_ends_all_processes(self, tmp_path, monkeypatch):
        """What runs recipes waits for its jobs; interrupted, it aborts them."""
        from sit2.execution import runner

        job = make_job("plain")
        job = replace(job, trainings=tuple(replace(t, network=tmp_path / "n") for t in job.trainings))
        pids = []

        def interrupt():
            pids.append(self.pid_in(tmp_path / "pid"))
            os.kill(os.getpid(), signal.SIGINT)

        with EXECUTORS["joblib"](nobody, 2) as executor:
            monkeypatch.setattr(
                executor, "submit", lambda _job: type(executor).submit(executor, Sleeps(tmp_path / "pid"))
            )
            watcher = threading.Thread(target=interrupt)
            watcher.start()
            with pytest.raises(KeyboardInterrupt):
                list(runner._run([job], executor))
            watcher.join()
        end = time.monotonic() + 10
        while alive(pids[0]) and time.monotonic() < end:
            time.sleep(0.05)
        assert not alive(pids[0])


class TestPixelStore:
    def test_it_travels_as_the_name_of_its_file(self, tmp_path):
        images = np.random.default_rng(0).integers(0, 256, (30, 3, 32, 32), np.uint8)
        store = PixelStore.of(images).on_disk(tmp_path)
        sent = pickle.dumps(store)
        assert len(sent) < 2000 < images.nbytes
        arrived = pickle.loads(sent)
        assert np.array_equal(arrived.images, images)
        assert np.array_equal(arrived.digests, store.digests)
        assert arrived.path == store.path
        mapped = arrived.images
        while not isinstance(mapped, np.memmap):
            mapped = mapped.base
        assert Path(mapped.filename) == store.path

    def test_what_is_in_no_file_does_not_travel(self):
        with pytest.raises(ValueError, match="pixels that are in no file cannot be sent to another process"):
            pickle.dumps(PixelStore.of(pixels()))

    def test_what_is_in_a_file_is_not_written_again(self, tmp_path):
        store = PixelStore.of(pixels()).on_disk(tmp_path)
        assert store.on_disk(tmp_path / "elsewhere") is store
        store.path.unlink()
        (tmp_path / "elsewhere").mkdir()
        again = store.on_disk(tmp_path / "elsewhere")
        assert np.array_equal(pickle.loads(pickle.dumps(again)).images, pixels())

    def test_a_whole_job_is_small_however_many_images_there_are(self, tmp_path):
        images = np.random.default_rng(0).integers(0, 256, (47, 3, 64, 64), np.uint8)
        job = make_job("plain*3+tta+ensemble", images=images)
        shared = job.trainings[0].store.on_disk(tmp_path)
        job = replace(job, trainings=tuple(replace(t, store=shared) for t in job.trainings))
        sent = pickle.dumps(job)
        assert len(sent) < 20_000 < images.nbytes / 20
        arrived = pickle.loads(sent)
        assert arrived.key == job.key
        assert len({id(t.store) for t in arrived.trainings}) == 1

    def test_it_says_which_image_differs(self):
        images = pixels()
        store = PixelStore.of(images)
        assert len(np.unique(store.digests, axis=0)) == len(images)
        changed = images.copy()
        changed[7, 1, 2, 3] ^= 1
        differs = (PixelStore.of(changed).digests != store.digests).any(axis=1)
        assert np.flatnonzero(differs).tolist() == [7]
        assert np.array_equal(PixelStore.of(np.asfortranarray(images)).digests, store.digests)
