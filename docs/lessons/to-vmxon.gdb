# SPDX-License-Identifier: GPL-2.0-or-later
# Runs hello-vmx up to its VMXON, which has not been executed yet; lesson 1 goes on from there.
source docs/lessons/hello-vmx.gdb
tbreak vmx_on
continue
