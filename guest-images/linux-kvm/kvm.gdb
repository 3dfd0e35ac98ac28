# SPDX-License-Identifier: GPL-2.0-or-later
# A session with L1's KVM while it runs L2; docs/debugger.md says how to begin it.
set pagination off
set confirm off
target remote gdb.socket

echo \n--- L2's first EPT violation arrives in KVM\n
# KVM is a module. The breakpoint may be there before it: nothing is written to memory.
tbreak handle_ept_violation
continue
backtrace 2
monitor explain

echo \n--- The walk of L2's first instruction, before KVM maps anything\n
monitor level l2
monitor walk 0x1000200
monitor level running

echo \n--- L2 asks for CPUID: a VM exit, and one step back into L2\n
monitor stop-on vm-exit cpuid
continue
monitor stop-on off
reverse-stepi
info registers rax rip rsp cr3 level vmx_operation vmcs
x/2i $rip
monitor where

echo \n--- Until KVM emulates that CPUID, then until L2 reads its stack\n
rwatch -location *(long *) $rsp
tbreak kvm_emulate_cpuid
continue
info registers level
continue
info registers level
delete

echo \n--- Back to the VM exit before, and on to the next one\n
monitor stop-on vm-exit
reverse-continue
monitor exits
continue
kill
