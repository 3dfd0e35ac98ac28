# SPDX-License-Identifier: GPL-2.0-or-later
# Begins a run of hello-vmx under GDB, with its symbols. What it prints goes to console.txt, the
# run's trace to hello-vmx.jsonl.
set pagination off
set confirm off
set print frame-info location
file build/release/guest-images/hello-vmx/hello-vmx.elf64
target remote | exec ./nestor run guest-images/hello-vmx --gdb stdio --serial console.txt --trace hello-vmx.jsonl --trace-format jsonl
