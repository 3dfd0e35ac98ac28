# SPDX-License-Identifier: GPL-2.0-or-later
# Begins a run of ept-violation under GDB. What it prints goes to console.txt.
set pagination off
set confirm off
set print frame-info location
file build/release/guest-images/ept-violation/ept-violation.elf64
target remote | exec ./nestor run guest-images/ept-violation --gdb stdio --serial console.txt --quiet
