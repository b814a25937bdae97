"""Tools that time programs of other languages, each read by a module of its own.

In reading order: ``hyperfine`` (command lines), ``criterion`` (Rust), ``go_bench`` (the text of Go's benchmarks) and
``go_test`` (a file of it), ``nvbench`` (CUDA).
"""
