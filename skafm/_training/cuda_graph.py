"""Work that is repeated: on CUDA the host then launches a single graph in the place of hundreds of kernels."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from threading import Lock, local

import torch

N_DIRECT = 5
"""Calls before a capture: they load and choose what a capture may not, and a graph for fewer would not pay."""
_CAPTURE = Lock()
"""Held during a capture, for a capture begins with a wait for the device, which must not happen during another one."""
_OF_THREAD = local()


class Repeater:
    """Calls functions and, on CUDA, replays each as a graph from its sixth call on.

    What a function does must not depend on the host: it has no arguments and returns nothing, it reads and writes
    tensors that stay where they are, and no operation in it waits for the device.

    Parameters
    ----------
    device : torch.device
    generators : iterable of torch.Generator
        Those that the functions draw from, on the device. Graph or not, they draw the same numbers.
    """

    def __init__(self, device: torch.device, generators: Iterable[torch.Generator]) -> None:
        self.device, self.generators = device, list(generators)
        self.graphs: dict[Hashable, torch.cuda.CUDAGraph] = {}
        self.n_calls: Counter[Hashable] = Counter()
        self.on_cuda = device.type == "cuda"
        if self.on_cuda:
            # Nothing in the memory of the graphs outlives a call, so all may use the same, in any order.
            self.pool = torch.cuda.graph_pool_handle()
            self.stream = _stream(device)

    def __call__(self, key: Hashable, work: Callable[[], None]) -> None:
        """Do the work, which is always the same for a key."""
        self.n_calls[key] += 1
        if not self.on_cuda:
            work()
        elif self.n_calls[key] <= N_DIRECT:
            self._call_beside(work)
        else:
            if key not in self.graphs:
                self.graphs[key] = self._capture(work)
            self.graphs[key].replay()

    def _call_beside(self, work: Callable[[], None]) -> None:
        """Do the work on the stream of the captures: libraries have memory for each stream, so it is there by then."""
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            work()
        current.wait_stream(self.stream)

    def _capture(self, work: Callable[[], None]) -> torch.cuda.CUDAGraph:
        """Return the graph of the work, which is not done meanwhile."""
        graph = torch.cuda.CUDAGraph()
        for generator in self.generators:
            graph.register_generator_state(generator)
        options = {"pool": self.pool, "stream": self.stream, "capture_error_mode": "thread_local"}
        with _CAPTURE, torch.cuda.device(self.device), torch.cuda.graph(graph, **options):  # type: ignore[arg-type]
            work()
        return graph


def _stream(device: torch.device) -> torch.cuda.Stream:
    """Return a stream of this thread's own, always the same: cuBLAS keeps memory for each that it has met."""
    streams: dict[torch.device, torch.cuda.Stream] = _OF_THREAD.__dict__.setdefault("streams", {})
    if device not in streams:
        streams[device] = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return streams[device]
