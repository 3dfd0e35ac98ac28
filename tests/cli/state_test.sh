#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# state_test.sh NESTOR IMAGE: a run is saved and goes on, as a user does it. IMAGE has some VM exits.
set -eu

nestor=$1
image=$2
# shellcheck source=tests/cli/command_line.sh
. "$(dirname -- "$0")/command_line.sh"
program() { timeout 60 "$nestor" run --quiet "$@" </dev/null; }

# The trace and the output behind the moment are those of the whole run, whatever the moment.
for moment in 0 20000 exit:3 mark:EPT; do
  expect 1 '' "$image" --serial whole.txt --trace whole --save-state state --save-at "$moment"
  expect 1 '' --load-state state --serial rest.txt --trace rest
  [ -s rest ] || fail "$moment: no trace"
  tail -n "$(wc -l <rest)" whole | cmp -s - rest || fail "$moment: the trace differs"
  tail -c "$(wc -c <rest.txt)" whole.txt | cmp -s - rest.txt || fail "$moment: the output differs"
done
cmp -s whole.txt rest.txt && fail 'the moment mark:EPT was at the beginning'

# The port that ends the run goes on where it was.
# MOV AL, 'A'; OUT E9, AL; MOV ECX, 1000000; LOOP to itself; MOV DX, 501; MOV AL, 3; OUT DX, AL.
flat '\260\101\346\351\271\100\102\017\000\342\376\146\272\001\005\260\003\356\364' >exit501
expect 0 '' exit501 --debug-exit 0x501 --save-state state --save-at mark:A --save-and-stop
expect 7 '' --load-state state

# A run goes on so on another processor, too, which the state knows.
expect 1 '' "$image" --cpu Haswell,-vmx-vmfunc --serial whole.txt --trace whole --save-state state --save-at exit:3
expect 1 '' --load-state state --serial rest.txt --trace rest
tail -n "$(wc -l <rest)" whole | cmp -s - rest || fail 'another processor: the trace differs'

# A state of a state; exits are counted from the beginning of the first run.
expect 1 '' "$image" --serial none --save-state direct --save-at exit:5
expect 1 '' "$image" --serial none --save-state early --save-at exit:2
expect 1 '' --load-state early --serial none --save-state late --save-at exit:5
cmp -s direct late || fail 'a state that was saved on the way is another one'

# The instruction budget is one of the whole run.
got=0
"$nestor" run --load-state late --serial none --max-instructions 1 2>err || got=$?
[ "$got" -eq 12 ] || fail "a budget that is spent: status $got"

# A moment at the very end of the budget is still one.
rm -f state
got=0
"$nestor" run "$image" --serial none --max-instructions 20000 --save-state state --save-at 20000 \
  2>err || got=$?
[ "$got" -eq 12 ] || fail "a moment at the end of the budget: status $got"
[ -e state ] || fail 'no state of the end of the budget'

# Nothing is written, or all of it.
rm -f state
expect 14 'the run ended before the moment' "$image" --serial none --save-state state \
  --save-at exit:100000
[ ! -e state ] || fail 'a state of a moment that did not come'
expect 14 'the run ended before the moment' "$image" --serial none --save-state state \
  --save-at 18446744073709551000
expect 14 'No such file' "$image" --serial none --save-state missing/state --save-at 1
expect 14 'no regular file' "$image" --serial none --save-state . --save-at 1
[ "$(find . -name '*.part')" = '' ] || fail 'a file is left over'
got=0
"$nestor" run "$image" --serial none --trace empty --trace-from exit:100000 2>err || got=$?
[ "$got" -eq 1 ] || fail "a trace that never begins: status $got"
grep -q 'the trace is empty' err || fail "a trace that never begins: $(cat err)"

# A guest that turns the machine off, or resets it, has no success either.
# MOV DX, 604; MOV AX, 2000; OUT DX, AX: SLP_TYP 0 and SLP_EN.
flat '\146\272\004\006\146\270\000\040\146\357\364' >power-off
flat '\260\376\346\144\364' >reset # MOV AL, FE; OUT 64, AL
expect 0 '' power-off
expect 20 'L1 reset the machine' reset
expect 14 'nothing was saved' power-off --save-state state --save-at exit:1
got=0
"$nestor" run --quiet reset --save-state state --save-at exit:1 2>err || got=$?
[ "$got" -eq 14 ] || fail "a reset before the moment: status $got"

# A state is announced; the run may end with it.
got=0
"$nestor" run "$image" --serial none --save-state state --save-at exit:3 2>err || got=$?
[ "$got" -eq 1 ] || fail "an announced state: status $got"
grep -q "^nestor: saved to 'state' after [0-9]* instructions and 3 VM exits$" err || fail "no announcement: $(cat err)"
got=0
"$nestor" run "$image" --serial first.txt --save-state stopped --save-at exit:3 --save-and-stop 2>err || got=$?
[ "$got" -eq 0 ] || fail "a run that ends when it is saved: status $got"
grep -q '3 VM exits; the run ends here$' err || fail "a run that ends when it is saved: $(cat err)"
cmp -s state stopped || fail 'the state of a run that ends there is another one'
expect 1 '' --load-state stopped --serial rest.txt
expect 1 '' "$image" --serial whole.txt
cat first.txt rest.txt | cmp -s - whole.txt || fail 'the output of both runs is not that of one'
expect 14 'nothing was saved' "$image" --serial none --save-state state --save-at exit:100000 --save-and-stop
expect 2 '--save-and-stop has no effect without --save-state' "$image" --save-and-stop

expect 4 'no saved state' --load-state "$image"
expect 4 'cannot read' --load-state nowhere
head -c 1000 direct >short
expect 4 'damaged or incomplete' --load-state short
expect 2 'exclude each other' "$image" --load-state direct
expect 2 '--memory has no effect' --load-state direct --memory 64M
expect 2 '--l0 has no effect' --load-state direct --l0 nested-ept
expect 2 '--cpu has no effect' --load-state direct --cpu Westmere
# Two names of one file.
ln -s direct link
expect 4 'the saved machine has none' --load-state direct --virtio-console none
expect 2 'both write to' "$image" --serial all --trace ./all
expect 2 'would be overwritten' --load-state direct --serial link
expect 2 'would be overwritten' "$image" --serial none --save-state "$image" --save-at 1
cp direct again
expect 1 '' --load-state again --serial none --save-state again --save-at exit:6
expect 1 '' --load-state again --serial none
# The disks belong to the machine; their files may have moved.
truncate -s 64K disk
expect 1 '' "$image" --serial none --trace whole --disk disk --save-state state --save-at exit:3
expect 1 '' --load-state state --serial none --trace rest
tail -n "$(wc -l <rest)" whole | cmp -s - rest || fail 'with a disk: the trace differs'
mv disk moved
expect 4 "cannot use 'disk' as a disk: No such file or directory; it is the saved machine's, name it anew" --load-state state --serial none
expect 1 '' --load-state state --serial none --disk moved
expect 4 'the saved machine has 1 disks, its EFI application counted, and 2 are named' --load-state state --disk moved --disk moved
expect 4 'takes the place of a disk with writable=off' --load-state state --disk moved,writable=on
expect 4 'takes the place of a disk with interface=virtio' --load-state state --disk moved,interface=ahci
expect 1 '' "$image" --serial none --trace whole --disk moved,interface=ahci --save-state sata --save-at exit:3
mv moved disk
expect 1 '' --load-state sata --serial none --trace rest --disk disk,interface=ahci
tail -n "$(wc -l <rest)" whole | cmp -s - rest || fail 'with a SATA disk: the trace differs'
expect 4 'takes the place of a disk with interface=ahci' --load-state sata --disk disk
mv disk moved
truncate -s 32K moved
expect 4 'it has 32768 bytes, and that of the saved machine 65536' --load-state state --disk moved
expect 2 'say when' "$image" --save-state state
expect 2 'no effect without --save-state' "$image" --save-at 1
expect 2 'is no moment' "$image" --save-state state --save-at soon
expect 2 'takes no state' "$image" --save-state - --save-at 1
expect 2 'IMAGE is required, or a --disk, --cdrom or --efi-application to start from, or --firmware, or --load-state FILE' --stats

[ "$failures" -eq 0 ] || exit 1
