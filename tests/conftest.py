"""Double precision, and a session that compiles each program once.

Compiling is most of what these tests cost. The workers of a session and the programs that
they start share one folder of compiled code; XLA's older code generator without LLVM's
optimisation is done in less than half the time. OpenBLAS would keep every core spinning
beside its workers.
"""

import atexit
import os
import shutil
import tempfile

if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # workers inherit the controller's
    folder = tempfile.mkdtemp(prefix="cgru-jax-compiled-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.5"
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=0 "
    "--xla_cpu_parallel_codegen_split_count=1",
)
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax

jax.config.update("jax_enable_x64", True)
