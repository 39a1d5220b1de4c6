"""Repeated work becomes a graph that draws from its generators, shown by stand-ins for what CUDA offers."""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch

from skafm._training.cuda_graph import N_DIRECT, Repeater


class Graph:
    """Records what is done with a graph."""

    made: ClassVar[list] = []

    def __init__(self):
        self.events = []
        Graph.made.append(self)

    def register_generator_state(self, generator):
        self.events.append(generator)

    def replay(self):
        self.events.append("replay")


@pytest.fixture
def repeat(monkeypatch):
    """Return a repeater on CUDA with two generators, where there is no CUDA."""
    stream = SimpleNamespace(wait_stream=lambda _: None)
    stand_ins = {"current_stream": lambda _: stream, "Stream": lambda _: stream, "graph_pool_handle": lambda: None}
    stand_ins |= {"CUDAGraph": Graph, "stream": lambda _: nullcontext(), "device": lambda _: nullcontext()}
    stand_ins |= {"graph": lambda graph, **_: nullcontext(graph.events.append("capture"))}
    for name, stand_in in stand_ins.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    monkeypatch.setattr(Graph, "made", [])
    return Repeater(torch.device("cuda"), ["order", "dropout"])


def test_generators_are_registered_before_the_capture(repeat):
    for _ in range(N_DIRECT + 1):
        repeat("step", lambda: None)
    (graph,) = Graph.made
    assert graph.events == ["order", "dropout", "capture", "replay"]


def test_work_is_captured_once_and_then_replayed(repeat):
    calls = []
    for _ in range(N_DIRECT + 4):
        repeat("step", lambda: calls.append(1))
    (graph,) = Graph.made
    assert len(calls) == N_DIRECT + 1
    assert graph.events[-4:] == ["replay"] * 4


def test_each_key_has_a_graph(repeat):
    for key in 6 * ["large", "small"]:
        repeat(key, lambda: None)
    assert [graph.events[-1] for graph in Graph.made] == ["replay", "replay"]


def test_few_calls_are_not_captured(repeat):
    for _ in range(N_DIRECT):
        repeat("step", lambda: None)
    assert Graph.made == []
