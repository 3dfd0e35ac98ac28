#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# price_test.sh NESTOR: what `nestor price` prints, and what it says of code that it cannot price.
set -eu

nestor=$1
# shellcheck source=tests/cli/command_line.sh
. "$(dirname -- "$0")/command_line.sh"
program() { timeout 60 "$nestor" price "$@"; }

# prints TEXT: the last output has a line that matches.
prints() {
  grep -q -e "$1" out || fail "nothing printed matches '$1': $(cat out)"
}

# --- one block: IMUL RAX, RAX; CMP RAX, RCX; JNE
block=480fafc04839c875fe
expect 0 '' --hex $block
prints '^Skylake-Server, unrolled: 3.00 cycles for one iteration$'
prints '^latency  *3.00  the bottleneck$'
prints '^ports  *1.00  p1$'
prints '^   1      1       3  p1  *imul rax, rax$'
prints 'jne .*fused with the one before$'
cp out unrolled
printf '\110\017\257\300\110\071\310\165\376' >code
expect 0 '' --file code
cmp -s out unrolled || fail 'the same code in a file costs something else'
expect 0 '' --file - <code
cmp -s out unrolled || fail 'the same code in the standard input costs something else'
expect 0 '' --hex $block --loop --cpu Haswell
prints '^Haswell, as a loop: 3.00 cycles'
prints '^decode .*not on its way$'
expect 0 '' --hex $block --pieces 1
prints '^in pieces of 1: 3.00 cycles$'
expect 0 '' --hex 62f1744858c2
prints 'default-priced$'
prints '^1 of 1 instructions (100.00 %) have no price and took the default$'

# --- rows, in their order; those that have no price do not stop the others
printf 'b,90,0.25\na,480fafc0\r\n\n7,f0480fb111,1,2\n' >rows
expect 0 '' --csv rows
[ "$(cat out)" = 'b,0.2500
a,3.0000
7,18.0000' ] || fail "the rows are '$(cat out)'"
expect 0 '' --csv - <rows
expect 0 '' --csv rows --pieces 2
[ "$(wc -l <out)" -eq 3 ] || fail 'rows in pieces are not one line each'
printf '1,90\n2,9\n3,c3\n' >odd
expect 4 "odd: line 2: row '2': an odd number of digits" --csv odd
[ "$(cut -d, -f1 out | tr '\n' ' ')" = '1 3 ' ] || fail 'a bad row stops the others'
printf '1,90\n2\n' >short
expect 4 "line 2: row '2': a row and a comma are missing" --csv short
printf '1,\n' >none
expect 4 "there is no code in it" --csv none
printf '1,06\n' >undecodable
expect 4 "row '1': byte 0 (06) starts no valid instruction" --csv undecodable
printf '1,62f1744858c2\n' >default
expect 0 '1 of 1 instructions (100.00 %) have no price' --csv default

# --- bad input
: >empty
expect 2 'one of --hex, --file and --csv is required'
expect 2 'one of --hex, --file and --csv is required' --hex 90 --file code
expect 2 '--hex: an odd number of digits' --hex 480
expect 2 "--hex: 'x' is no hexadecimal digit" --hex 4x
expect 2 '--hex: there is no code in it' --hex ''
expect 2 '--hex: byte 1 (48) starts no valid instruction' --hex 9048
expect 4 'empty' --file empty
expect 4 'empty' --csv empty
expect 4 'No such file or directory' --file missing
printf '\220\006' >bad
expect 4 'bad: byte 1 (06) starts no valid instruction' --file bad
head -c 20000 /dev/zero >long
expect 4 'long' --file long
expect 2 '--pieces' --hex 90 --pieces 0
expect 36 "'Pentium' is no model" --hex 90 --cpu Pentium
expect 36 "'Westmere' has no prices; choose one of Haswell" --hex 90 --cpu Westmere
if [ -e /dev/full ]; then
  got=0
  "$nestor" price --hex 90 >/dev/full 2>err || got=$?
  [ "$got" -eq 14 ] || fail "status $got, not 14, with a full standard output"
fi

[ "$failures" -eq 0 ] || exit 1
echo 'all as documented'
