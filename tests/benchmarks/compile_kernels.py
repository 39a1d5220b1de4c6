"""Compiles the kernels of fused pairs for Hopper, which needs no GPU, and prints what they need as JSON lines.

    python tests/benchmarks/compile_kernels.py [M K T] [--products float32]

For rows of M entries, K factors and T hidden units, by default those of Frappe in the paper. Hopper has 227 KiB of
shared memory for a program. With ``--options``, what ``launches`` returns, torch is not imported.
"""

import argparse
import json
import runpy
from pathlib import Path

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

KERNELS = Path(__file__).parents[2] / "skafm" / "nn" / "_pairs" / "kernels.py"
TYPES = {"left": "*i32", "right": "*i32", "n_pairs": "*i32", "signs": "*i32", "n_slots": "i32"}
NARROW = {"float32": "*fp32", "bfloat16": "*bf16"}


def launches(m, k, t, products):
    """Return the arguments by name of each kernel."""
    import torch

    from skafm.nn._pairs import fused

    launch = fused._Launch.of(torch.empty(1, m, k), t, getattr(torch, products))
    more = {"P": m * (m - 1) // 2, "BM": max(fused._power_of_2(m), 16), "L": products}
    blocks = dict.fromkeys(("pool_kernel", "entries_kernel"), (fused.COLUMNS, fused.WARPS))
    blocks["weight_kernel"] = 2 * fused.COLUMNS, 8
    return {name: launch.options(*block, **more) for name, block in blocks.items()}


def compile_kernel(kernel, options):
    """Return a compiled kernel; W and h * W are of the type of the products' factors."""
    constants = {name: value for name, value in options.items() if name in kernel.arg_names}
    types = dict.fromkeys(kernel.arg_names, "*fp32") | TYPES
    types |= dict.fromkeys(("weight", "scaled"), NARROW[options["L"]]) | dict.fromkeys(constants, "constexpr")
    if "L" in constants:
        constants["L"] = getattr(tl, options["L"])
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
    parser.add_argument("--products", choices=NARROW, default="bfloat16")
    parser.add_argument("--options", type=json.loads)
    arguments = parser.parse_args()
    kernels = runpy.run_path(KERNELS)
    for name, options in (arguments.options or launches(*arguments.sizes, arguments.products)).items():
        compiled = compile_kernel(kernels[name], options)
        found = {"kernel": name, "shared_bytes": compiled.metadata.shared, "tensor_cores": "mma" in compiled.asm["ptx"]}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
