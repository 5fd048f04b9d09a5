"""Frozen networks through the fastest engine of the machine: PyTorch, onnxruntime or OpenVINO (`--engine`).

An engine computes what the network computes, up to rounding; that is checked on a real input before it is used, and a
run goes on with the engine that it began with. Read in this order: `kinds` (what there is), `building` (one of them for
one network and shape), `likeness` (what counts as the same), `choosing` (measured), `frozen` (a network with its
engines) and `settling` (once per run).
"""
