#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# linux_kvm_test.sh NESTOR PREPARE DIR: Debian's Linux runs the same Linux as its guest, twice with
# the same trace. 77: its packages cannot be had here, which PREPARE says with status 4.
set -eu
nestor=$1 prepare=$2 dir=$3

status=0
"$prepare" "$dir" || status=$?
[ "$status" -ne 4 ] || exit 77
[ "$status" -eq 0 ] || { echo "FAILED: prepare: status $status" && exit 1; }

run() {
  status=0
  "$nestor" run "$dir/vmlinuz" --initrd "$dir/initramfs.gz" \
    --append "console=ttyS0 quiet cryptomgr.notests panic=-1" --max-instructions 4000000000 \
    --serial "$dir/serial.txt" --trace "$1" --trace-events vm-exit,interrupt 2>"$dir/errors.txt" ||
    status=$?
  if [ "$status" -ne 0 ] || ! grep -q '^linux-kvm: PASS' "$dir/serial.txt"; then
    echo "FAILED: status $status"
    tail -n 20 "$dir/serial.txt" "$dir/errors.txt"
    exit 1
  fi
}

run "$dir/first.txt"
run "$dir/second.txt"
grep -q 'reason="EPT violation"' "$dir/first.txt" || { echo "FAILED: no EPT violation" && exit 1; }
cmp "$dir/first.txt" "$dir/second.txt"
rm "$dir/first.txt" "$dir/second.txt"
