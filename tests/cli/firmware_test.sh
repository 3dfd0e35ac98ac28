#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# firmware_test.sh NESTOR BOOT_SECTOR GRAPHICS_SECTOR PNG_DOTS: Debian's SeaBIOS starts a disk, and
# its OVMF comes to its shell, as a user does it. The sectors are sources of disks.
set -eu

nestor=$1
source=$2
graphics=$3
png_dots=$4
# shellcheck source=tests/cli/command_line.sh
. "$(dirname -- "$0")/command_line.sh"
program() { timeout 200 "$nestor" run --quiet "$@" </dev/null; }
has() { grep -q "$2" "$1" || fail "no '$2' in $1: $(tail -n 20 "$1")"; }

sector() {
  "${CC:-cc}" -m16 -nostdlib -static -no-pie -Wl,--build-id=none -Wl,-Ttext=0x7c00 \
    -Wl,--oformat=binary "$1" -o "$2"
  truncate -s 1M "$2"  # a smaller one has no cylinder
}
sector "$source" disk.img
truncate -s 1M empty.img

expect 7 '' --disk disk.img --firmware-log log
has out 'SeaBIOS (version'
has out 'Machine UUID 4e455354-4f52-8050-8043-000000000001'  # of SMBIOS
has out 'Booting from Hard Disk'
has out 'boot sector'
has out 'second sect'
has log 'Running on QEMU (i440fx)'
has log 'ACPI: parse DSDT'
cp out whole

# From a SATA disk; from the one that was given first; and from a saved state.
expect 7 '' --disk disk.img,interface=ahci --firmware-log log
has log 'AHCI/1: registering: "AHCI/1: NESTOR HARD DISK ATA-8 Hard-Disk (1 MiBytes)"'
cmp -s whole out || fail 'a SATA disk prints something else'
expect 7 '' --disk disk.img,interface=ahci --disk empty.img --cdrom empty.img
has out 'second sect'
expect 7 '' --disk disk.img --disk empty.img,interface=ahci
has out 'second sect'
expect 20 'L1 reset the machine' --disk empty.img,interface=ahci --cdrom empty.img
has out 'No bootable device'
expect 7 '' --disk disk.img,interface=ahci --trace trace --save-state state --save-at 'mark:Booting from'
expect 7 '' --load-state state --trace rest
tail -c "$(wc -c <out)" whole | cmp -s - out || fail 'SATA, saved: the output differs'
lines=$(($(wc -l <rest) - 1))
tail -n "$lines" rest >tail
tail -n "$lines" trace | cmp -s - tail || fail 'SATA, saved: the trace differs'

# By its name and as a file, with more processors and more memory than below 4 GiB.
expect 7 '' --firmware seabios --disk disk.img --cpus 3 --memory 5G --firmware-log log
has out 'second sect'
has log 'Found 3 cpu(s)'
expect 7 '' --firmware /usr/share/seabios/bios.bin --disk disk.img
has out 'second sect'

# The screen: as text, and as a picture of it.
expect 7 '' --disk disk.img --serial none --screen
has out '^SeaBIOS (version'
[ "$(tail -n 1 out)" = 'second sector' ] || fail "--screen ends in $(tail -n 1 out)"
expect 7 '' --disk disk.img --screen=text.png --firmware-log log
has log 'Start SeaVGABIOS'
[ "$("$png_dots" text.png)" = '720 400' ] || fail "text.png: $("$png_dots" text.png)"
s=$("$png_dots" text.png 0 0 9 16)
[ "$s" -gt 10 ] || fail "the first S has $s dots"
[ "$s" -eq "$("$png_dots" text.png 54 0 9 16)" ] || fail 'the second S of SeaBIOS is another'
[ "$("$png_dots" text.png 0 96 720 304)" -eq 0 ] || fail 'there is something below the text'
expect 7 '' --firmware seabios --disk disk.img --screen=again.png
cmp -s text.png again.png || fail 'two pictures differ'
rm -f none.png
expect 2 'a text screen has no picture' --disk disk.img --vga text --screen=none.png
[ ! -e none.png ] || fail 'there is a file without a picture'

# Graphics.
sector "$graphics" graphics.img
expect 7 '' --disk graphics.img --screen=graphics.png
[ "$("$png_dots" graphics.png)" = '800 600' ] || fail "graphics.png: $("$png_dots" graphics.png)"
[ "$("$png_dots" graphics.png 799 0)" = aa0000 ] || fail "not red: $("$png_dots" graphics.png 799 0)"
[ "$("$png_dots" graphics.png 0 0 800 600)" -eq 800 ] || fail 'there is more than a line'
expect 14 'graphics, 800 by 600 dots; --screen=FILE.png' --disk graphics.img --screen=none.txt
expect 7 '' --disk graphics.img --save-state state --save-at 5500000
expect 7 '' --load-state state --screen=again.png
cmp -s graphics.png again.png || fail 'the picture of a loaded machine differs'

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
expect 0 '' --firmware ovmf --serial-input typed --screen=ovmf.png
has out 'UEFI Interactive Shell'
[ "$("$png_dots" ovmf.png)" = '1280 800' ] || fail "ovmf.png: $("$png_dots" ovmf.png)"
[ "$("$png_dots" ovmf.png 240 108 216 16)" -gt 500 ] || fail 'ovmf.png does not show the shell'

expect 0 '' --firmware ovmf --keyboard typed
has out 'UEFI Interactive Shell'

# A UEFI application without a disk image; loaded again it comes from the same file.
"${CC:-cc}" -c "$(dirname -- "$source")/efi_application.S" -o application.o
objcopy -O binary application.o application.efi
expect 3 '' --efi-application application.efi --save-state state --save-at mark:BdsDxe
has out 'started by UEFI'
expect 3 '' --load-state state
has out 'started by UEFI'
# Variables last in a flash memory.
"${CC:-cc}" -c -Wa,--defsym,VARIABLE=1 "$(dirname -- "$source")/efi_application.S" -o application.o
objcopy -O binary application.o variable.efi
ovmf=/usr/share/OVMF
cp $ovmf/OVMF_VARS.fd vars.fd
expect 3 '' --efi-application variable.efi --firmware-vars vars.fd
cp vars.fd once.fd
expect 5 '' --efi-application variable.efi --firmware-vars vars.fd --trace trace \
  --save-state state --save-at mark:BdsDxe
cp vars.fd twice.fd
expect 7 '' --efi-application variable.efi --firmware-vars vars.fd,writable=off
cmp -s vars.fd twice.fd || fail 'writable=off: the file was written to'
# A loaded machine has its own variables, and the file gets them.
expect 5 '' --load-state state --trace rest
cmp -s vars.fd twice.fd || fail 'the loaded machine has other variables'
lines=$(($(wc -l <rest) - 1))
tail -n "$lines" rest >tail
tail -n "$lines" trace | cmp -s - tail || fail 'flash: the trace differs'
cp once.fd other.fd
expect 5 '' --load-state state --firmware-vars other.fd
cmp -s other.fd twice.fd || fail 'the other file has other variables'
expect 5 '' --firmware $ovmf/OVMF_CODE.fd --efi-application variable.efi --firmware-vars once.fd

# Firmware that makes nothing of the flash.
warns() { # what firmware
  "$nestor" run --firmware "$2" --firmware-vars vars.fd --serial none --max-instructions 1000 2>err </dev/null || :
  grep -q "$1" err || fail "no warning of $2: $(cat err)"
}
warns 'needs variables of 540672 bytes' $ovmf/OVMF_CODE_4M.fd
warns 'does not use --firmware-vars' /usr/share/ovmf/OVMF.fd
warns 'does not use --firmware-vars' /usr/share/seabios/bios-256k.bin

# Flash memories that are none.
expect 4 "'none.fd' is not there; make it with cp /usr/share/OVMF/OVMF_VARS.fd none.fd" --firmware-vars none.fd
expect 4 'is the original for all; copy it' --firmware-vars $ovmf/OVMF_VARS.fd
truncate -s 64K small.fd
expect 4 "has 65536 bytes, and OVMF's variables have 131072 or 540672" --firmware-vars small.fd
truncate -s 8M large.fd
expect 4 'that is more than 8 MiB' --firmware $ovmf/OVMF_CODE.fd --firmware-vars large.fd
truncate -s 4608 odd.fd
expect 4 'it needs a multiple of 4 KiB' --firmware $ovmf/OVMF_CODE.fd --firmware-vars odd.fd
mkdir directory
expect 4 'Is a directory' --firmware-vars directory
expect 2 '--firmware-vars and --disk both write to' --firmware-vars vars.fd --disk vars.fd,writable=on
expect 2 'which would be overwritten' --firmware-vars vars.fd --disk vars.fd
expect 4 'that of the saved machine 131072' --load-state state --firmware-vars small.fd
expect 4 'is the original for all; copy it' --load-state state --firmware-vars $ovmf/OVMF_VARS.fd
expect 4 'takes the place of a file with writable=on' --load-state state --firmware-vars other.fd,writable=off
got=0
flock vars.fd "$nestor" run --firmware-vars vars.fd 2>err </dev/null || got=$?
{ [ "$got" -eq 4 ] && grep -q 'another process uses it' err; } || fail "locked: $got, $(cat err)"

expect 4 "cannot use '$source' as an EFI application: it is no PE image" --efi-application "$source"
expect 2 'SeaBIOS starts none' --efi-application application.efi --firmware seabios
expect 4 "--keyboard: cannot read 'missing'" --disk disk.img --keyboard missing
expect 2 'IMAGE and --efi-application exclude each other' disk.img --efi-application application.efi

[ "$failures" -eq 0 ]
