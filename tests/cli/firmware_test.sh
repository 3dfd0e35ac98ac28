#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# firmware_test.sh NESTOR BOOT_SECTOR: Debian's SeaBIOS starts a disk, and its OVMF comes to its
# shell, as a user does it. BOOT_SECTOR is the source of a disk.
set -eu

nestor=$1
source=$2
# shellcheck source=tests/cli/command_line.sh
. "$(dirname -- "$0")/command_line.sh"
program() { timeout 200 "$nestor" run --quiet "$@" </dev/null; }
has() { grep -q "$2" "$1" || fail "no '$2' in $1: $(tail -n 20 "$1")"; }

"${CC:-cc}" -m16 -nostdlib -static -no-pie -Wl,--build-id=none -Wl,-Ttext=0x7c00 \
  -Wl,--oformat=binary "$source" -o disk.img
truncate -s 1M disk.img empty.img  # a smaller one has no cylinder

expect 7 '' --disk disk.img --firmware-log log
has out 'SeaBIOS (version'
has out 'Booting from Hard Disk'
has out 'boot sector'
has out 'second sect'
has log 'Running on QEMU (i440fx)'
has log 'ACPI: parse DSDT'
cp out whole

# By its name and as a file, with more processors and more memory than below 4 GiB.
expect 7 '' --firmware seabios --disk disk.img --cpus 3 --memory 5G --firmware-log log
has out 'second sect'
has log 'Found 3 cpu(s)'
expect 7 '' --firmware /usr/share/seabios/bios.bin --disk disk.img
has out 'second sect'

# Saved while SeaBIOS runs, and on the way before it has switched its ROM off.
for moment in 2000 "mark:Booting from"; do
  expect 7 '' --disk disk.img --trace trace --save-state state --save-at "$moment"
  expect 7 '' --load-state state --trace rest
  tail -c "$(wc -c <out)" whole | cmp -s - out || fail "$moment: the output differs"
  # The moment may be among equal events, which are one line.
  lines=$(($(wc -l <rest) - 1))
  [ "$lines" -gt 0 ] || fail "$moment: no trace"
  tail -n "$lines" rest >tail
  tail -n "$lines" trace | cmp -s - tail || fail "$moment: the trace differs"
done

# Without anything that starts SeaBIOS says so, and resets.
expect 20 'L1 reset the machine' --disk empty.img
has out 'No bootable device'

printf '\r\rreset -s\r' >typed
expect 0 '' --firmware ovmf --serial-input typed
has out 'UEFI Interactive Shell'

[ "$failures" -eq 0 ]
