#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# run_test.sh NESTOR NESTOR_KVM IMAGES: `nestor-kvm run` as a user meets it, and an image that must do
# the same under both programs. Returns 77 when all that needs no KVM passed and the rest was skipped.
set -eu

nestor=$1
native=$2
images=$3
image=$images/plain-pc/plain-pc.elf
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
# shellcheck source=tests/cli/command_line.sh
. "$here/../../cli/command_line.sh"
speaker=nestor-kvm
program() { timeout 60 "$native" "$@" </dev/null; }

# --- without KVM
expect 0 '' run --help
expect 2 'IMAGE is required; see nestor-kvm run --help' run
expect 2 'KVM does not count instructions' run --max-instructions 5 "$image"
expect 2 'one processor; see nestor-kvm run --help' run --cpus 2 "$image"
expect 2 'the hypervisor below L1 is KVM' run --l0 nested-ept "$image"
expect 2 'KVM locks it' run --feature-control unlocked "$image"
expect 2 'random numbers' run --random-seed 3 "$image"
expect 2 '--max-seconds' run --max-seconds 0 "$image"
expect 4 'cannot read image missing' run missing
expect 26 'cannot open /nonexistent/kvm: No such file or directory' \
  run --device /nonexistent/kvm --no-vmx "$image"
expect 26 '/dev/null is no KVM' run --device /dev/null --no-vmx "$image"

got=0
timeout 60 "$nestor" run "$image" --memory 64M --append 'one two' >emulated 2>err || got=$?
[ "$got" -eq 1 ] || fail "status $got, not 1: $(cat emulated err)"
tr -d '\r' <emulated | cmp - "$here/../../../guest-images/plain-pc/expected-output.txt" ||
  fail 'nestor run: the output is not the expected one'

# --- with KVM
got=0
timeout 60 "$native" run --no-vmx --max-seconds 30 --memory 64M --append 'one two' "$image" \
  >natively 2>err || got=$?
if [ "$got" -eq 26 ]; then
  echo "skipped: $(cat err)"
  [ "$failures" -eq 0 ] || exit 1
  exit 77
fi
[ "$got" -eq 1 ] || fail "status $got, not 1: $(cat err)"
cmp emulated natively || fail 'the outputs differ'

# elf CODE: an ELF64 image with that code at 1 MiB (octal escapes of printf), entered at its start.
elf() {
  printf '\177ELF\002\001\001\000\000\000\000\000\000\000\000\000' # 64-bit, little-endian
  printf '\002\000\076\000\001\000\000\000\170\000\020\000\000\000\000\000' # x86-64, entry
  printf '\100\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000' # program header at 64
  printf '\000\000\000\000\100\000\070\000\001\000\000\000\000\000\000\000'
  printf '\001\000\000\000\007\000\000\000\000\000\000\000\000\000\000\000' # PT_LOAD of all
  printf '\000\000\020\000\000\000\000\000\000\000\020\000\000\000\000\000' # at 1 MiB
  printf '\220\000\000\000\000\000\000\000\220\000\000\000\000\000\000\000' # 144 bytes
  printf '\000\020\000\000\000\000\000\000'
  # shellcheck disable=SC2059 # the code is the format
  printf "$1"
  printf '\364\364\364\364\364\364\364\364\364\364\364\364'
  printf '\364\364\364\364\364\364\364\364\364\364\364\364'
}

# ends STATUS TEXT IMAGE: both programs end so.
ends() {
  expect "$1" "$2" run --no-vmx --max-seconds 30 --quiet "$3"
  got=0
  "$nestor" run "$3" >out 2>err || got=$?
  [ "$got" -eq "$1" ] || fail "status $got, not $1: nestor run $3"
}
elf '\270\002\000\000\000\347\364' >exit2
ends 5 '' exit2
elf '\017\013' >triple
ends 8 'triple fault' triple
timeout 60 "$native" run --no-vmx --max-seconds 30 triple >out 2>err || :
grep -q '^nestor-kvm: warning: L1: triple fault at RIP 0x100078' err ||
  fail "the triple fault is not explained: $(cat err)"
elf '\146\272\004\006\146\270\000\040\146\357' >off # OUT of 2000H to port 604H
ends 0 '' off
elf '\372\364' >halt
ends 18 'halted' halt
elf '\373\364\353\375' >sleeper
ends 18 'halted' sleeper
elf '\260\376\346\144\353\376' >reset
ends 20 'reset' reset
elf '\353\376' >loop
expect 12 'spent' run --no-vmx --max-seconds 1 loop
expect 14 'cannot write /dev/full' run --no-vmx --serial /dev/full "$image"

# --- what the host lacks: status 28 and the reason, unless it has all
got=0
timeout 60 "$native" run --max-seconds 30 "$images/hello-vmx/hello-vmx.elf" >out 2>err || got=$?
if [ "$got" -eq 28 ]; then
  grep -q '^nestor-kvm: KVM on this host offers no VMX to its virtual machines (processor ' err ||
    fail "no reason: $(cat err)"
  echo "skipped: $(cat err)"
elif [ "$got" -ne 1 ]; then
  fail "hello-vmx: status $got: $(cat out err)"
fi

[ "$failures" -eq 0 ] || exit 1
echo 'all as documented'
