"""Compiles the kernels of fused pairs for Hopper, which needs no GPU, and prints what they need as JSON lines.

    python tests/nn/compile_kernels.py [M K T] [--products float32]

For rows of M entries, K factors and T hidden units, by default those of Frappe in the paper. Hopper has 227 KiB of
shared memory for a program.
"""

import argparse
import json

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from skafm.nn._pairs import fused, kernels

TYPES = {"left": "*i32", "right": "*i32", "n_pairs": "*i32", "signs": "*i32", "n_slots": "i32"}


def compile_kernel(kernel, options, narrow):
    """Return a compiled kernel; W and h * W are of a type of their own."""
    constants = {name: value for name, value in options.items() if name in kernel.arg_names}
    types = dict.fromkeys(kernel.arg_names, "*fp32") | TYPES | dict.fromkeys(("weight", "scaled"), narrow)
    types |= dict.fromkeys(constants, "constexpr")
    numbers = [number for number, name in enumerate(kernel.arg_names) if types[name][0] == "*"]
    source = ASTSource(
        fn=kernel,
        signature={name: types[name] for name in kernel.arg_names},
        constexprs={(kernel.arg_names.index(name),): value for name, value in constants.items()},
        attrs={(number,): [["tt.divisibility", 16]] for number in numbers},
    )
    launch = {name: options[name] for name in ("num_warps", "num_stages")}
    return triton.compile(source, target=GPUTarget("cuda", 90, 32), options=launch)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sizes", type=int, nargs="*", default=(10, 256, 256))
    parser.add_argument("--products", choices=["float32", "bfloat16"], default="bfloat16")
    arguments = parser.parse_args()
    m, k, t = arguments.sizes
    dtype, narrow = getattr(torch, arguments.products), {"float32": "*fp32", "bfloat16": "*bf16"}[arguments.products]
    launch = fused._Launch.of(torch.empty(1, m, k), t, dtype)
    more = {"P": m * (m - 1) // 2, "BM": max(fused._power_of_2(m), 16), "L": getattr(kernels.tl, arguments.products)}
    blocks = {"pool_kernel": (fused.COLUMNS, fused.WARPS), "entries_kernel": (fused.COLUMNS, fused.WARPS)}
    for name, block in (blocks | {"weight_kernel": (2 * fused.COLUMNS, 8)}).items():
        compiled = compile_kernel(getattr(kernels, name), launch.options(*block, **more), narrow)
        found = {"kernel": name, "shared_bytes": compiled.metadata.shared, "tensor_cores": "mma" in compiled.asm["ptx"]}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
