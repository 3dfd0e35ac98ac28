#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# qemu_test.sh NESTOR_QEMU NESTOR IMAGE: command lines of QEMU as users write them run, and end as QEMU's would;
# what Nestor does not have, and bad usage, is one clear line with a status of its own.
set -eu

qemu=$1
nestor=$2
image=$3
# shellcheck source=tests/cli/command_line.sh
. "$(dirname -- "$0")/command_line.sh"
program() { timeout 60 "$qemu" "$@" </dev/null; }
speaker=nestor-qemu

# printed TEXT WHAT: the standard output of the last run is TEXT.
printed() { [ "$(cat out)" = "$1" ] || fail "'$(cat out)', not '$1': $2"; }

# MOV DX, 3F8; MOV AL, 'H'; OUT DX, AL; MOV EAX, 2; OUT F4, EAX: "H" on COM1, then debug exit.
flat '\146\272\370\003\260\110\356\270\002\000\000\000\347\364\364' >hello
# MOV DX, 501; MOV AL, 3; OUT DX, AL: the port of isa-debug-exit where nothing says another.
flat '\146\272\001\005\260\003\356\364' >exit501
# MOV AL, 'D'; OUT E9, AL; then debug exit with 0.
flat '\260\104\346\351\061\300\347\364\364' >console
# UD2 without an IDT: a triple fault.
flat '\017\013' >triple
# MOV AL, 1; OUT 92, AL: a reset.
flat '\260\001\346\222\364' >reset
# HLT.
flat '\364' >halt

# --- as kvm-unit-tests starts its tests
expect 5 '' --no-reboot -nodefaults -global kvm-pit.lost_tick_policy=discard -device pc-testdev \
  -device isa-debug-exit,iobase=0xf4,iosize=0x4 -display none -serial stdio -machine accel=tcg \
  -kernel hello -smp 1 -cpu max,host-phys-bits,+vmx -m 2560 -append 'some tests'
printed H 'a test of kvm-unit-tests'
expect 44 '-device intel-iommu,intremap=on: there is no IOMMU' -kernel nowhere \
  -device intel-iommu,intremap=on
expect 4 "could not open kernel file 'nowhere': No such file or directory" -kernel nowhere
program --help | grep -q '^QEMU emulator version 7' || fail 'the first line of --help'
program -device '?' | grep -q '"pc-testdev"' || fail 'pc-testdev in -device ?'

# --- as hobby hypervisors are started
expect 5 '' -enable-kvm -cpu host -nographic -kernel hello
printed H '-nographic'
expect 7 '' -nographic -device isa-debug-exit -kernel exit501
expect 5 '' -serial file:log -display none -monitor none -net none -vga none -kernel hello
printed '' 'a file for COM1'
[ "$(cat log)" = H ] || fail 'COM1 in a file'
expect 1 '' -debugcon stdio -serial none -display none -kernel console
printed D '-debugcon stdio'
expect 1 '' -debugcon file:log -serial stdio -display none -kernel console
printed '' '-debugcon file'
[ "$(cat log)" = D ] || fail 'port 0xe9 in a file'
expect 8 'triple fault' -nographic -no-reboot -kernel triple -nestor --quiet
program -nographic -kernel triple >out 2>err || :
grep -v -e 'warning: ' -e '^processor 0' err >others || :
[ "$(grep -c 'warning: ' err)" -gt 1 ] && [ "$(wc -l <others)" -eq 1 ] ||
  fail "lines without their prefix: $(cat others)"
expect 20 'reset' -nographic -kernel reset
expect 0 'reset' -nographic -no-reboot -kernel reset
expect 18 'halted' -nographic -kernel halt
expect 5 'warning: -usb is ignored: there is no USB controller' -usb -nographic -kernel hello

# --- the trace, and nestor's own options
expect 5 '' -nographic -d int,cpu_reset -D trace -kernel hello
grep -q 'run-end' trace || fail '-d int,cpu_reset -D FILE'
status=0
program -nographic -kernel "$image" -nestor --stats >out 2>err || status=$?
[ "$status" -eq 1 ] || fail "status $status of $image"
grep -q 'VM-EXIT' err || fail '-nestor --stats'
# The command that is printed is the one that runs.
program -m 64 -nographic -kernel "$image" -append 'a  b' -nestor-print >command
[ "$(cat command)" = "nestor run --memory 64M --serial stdio $image '--append=a  b'" ] ||
  fail "-nestor-print: $(cat command)"
"$nestor" run --memory 64M --serial stdio "$image" '--append=a  b' >nestor.out || :
program -m 64 -nographic -kernel "$image" -append 'a  b' >out || :
cmp -s out nestor.out || fail 'the output of nestor and of nestor-qemu differ'

# --- what cannot be
expect 2 '-bogus: invalid option' -bogus
expect 2 'did you mean -kernel?' -kernal hello
expect 2 '-m: requires an argument' -kernel hello -m
expect 2 "-m: size=lots: 'lots' is no size" -kernel hello -m lots
expect 2 'there is nothing to start' -m 64
expect 2 '--memory' -kernel hello -m 100G
expect 2 'only allowed with -kernel' -append x
expect 2 '-S: nothing would start the machine' -kernel hello -S
expect 2 'both write to the standard output' -kernel hello -serial stdio -serial stdio
expect 2 "port 0x60 is another device's" -kernel hello -device isa-debug-exit,iobase=0x60
expect 4 'nowhere' -hda nowhere
expect 4 'nowhere' -bios nowhere
expect 4 'nowhere' -kernel hello -initrd nowhere
echo text >text
expect 4 'no bootable image' -kernel text
expect 14 '/nowhere/log' -kernel hello -serial file:/nowhere/log
expect 36 "'foo' is no feature" -kernel hello -cpu host,+foo
expect 44 '-kernel and -bios' -kernel hello -bios OVMF.fd
expect 44 'raw' -drive file=x,format=qcow2
expect 44 '-qmp' -kernel hello -qmp stdio
status=0
program -qmp stdio -device edu -incoming defer >out 2>err || status=$?
[ "$status" -eq 44 ] && [ "$(wc -l <err)" -eq 3 ] || fail "three things missing: $status, $(cat err)"

[ "$failures" -eq 0 ] || exit 1
echo 'all as documented'
