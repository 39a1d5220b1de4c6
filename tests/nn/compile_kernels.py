"""Compiles the kernels of a file for Hopper, which needs no GPU, and prints the names of those with tensor cores.

python tests/nn/compile_kernels.py skafm/nn/_pairs/kernels.py
"""

import runpy
import sys

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

TYPES = {"left": "*i32", "right": "*i32", "n_pairs": "*i32", "signs": "*i32", "n_slots": "i32"}
NARROW = {"weight": "*bf16", "scaled": "*bf16"}
SIZES = {"M": 5, "K": 16, "T": 20, "TP": 32, "P": 10, "BP": 16, "BK": 16, "BM": 16}
PRODUCTS = {"PRECISION": "tf32", "L": tl.bfloat16}


def compile_kernel(kernel):
    """Return the PTX of a kernel whose factors of products are bfloat16."""
    constants = {name: value for name, value in (SIZES | PRODUCTS).items() if name in kernel.arg_names}
    types = dict.fromkeys(kernel.arg_names, "*fp32") | TYPES | NARROW | dict.fromkeys(constants, "constexpr")
    source = ASTSource(
        fn=kernel,
        signature={name: types[name] for name in kernel.arg_names},
        constexprs={(kernel.arg_names.index(name),): value for name, value in constants.items()},
    )
    return triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 4}).asm["ptx"]


if __name__ == "__main__":
    found = runpy.run_path(sys.argv[1])
    for name in ("pool_kernel", "entries_kernel", "weight_kernel"):
        if "mma" in compile_kernel(found[name]):
            print(name)
