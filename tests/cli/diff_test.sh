#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# diff_test.sh NESTOR: `nestor diff` as a user meets it: equal, different and unreadable traces.
set -eu

nestor=$1
# shellcheck source=tests/cli/command_line.sh
. "$(dirname -- "$0")/command_line.sh"

program() { timeout 60 "$nestor" "$@" </dev/null; }

# says STATUS OUT ERR ARGUMENT...: as `expect` with ERR, and OUT is in the standard output, or
# nothing is there when it is empty.
says() {
  wanted=$2
  complaint=$3
  result=$1
  shift 3
  expect "$result" "$complaint" "$@"
  if [ -z "$wanted" ]; then
    [ ! -s out ] || fail "printed '$(cat out)': nestor $*"
  else
    grep -qF -e "$wanted" out || fail "printed '$(cat out)' without '$wanted': nestor $*"
  fi
}

# An unclaimed port is read, then debug exit.
flat '\146\272\064\022\354\270\000\000\000\000\347\364\364' >image
sed 's/\x34\x12/\x35\x12/' image >other
"$nestor" run image --serial none --trace a.txt || [ $? -eq 1 ]
"$nestor" run image --serial none --trace a.jsonl --trace-format jsonl || [ $? -eq 1 ]
"$nestor" run other --serial none --trace b.txt || [ $? -eq 1 ]

says 0 'the same: 3 events' '' diff a.txt a.txt
says 0 'the same: 3 events' '' diff a.txt a.jsonl
says 22 'address: A 0x1234, B 0x1235' '' diff a.txt b.txt
says 22 'A: a.jsonl: event 0, line 1, cycle ' '' diff a.jsonl b.txt
says 0 'the same: 1 events' '' diff a.txt b.txt --only debug-exit
says 0 'the same: 3 events' '' diff a.txt b.txt --ignore unclaimed-access.address
says 0 'every event  cycle' '' diff --list-ignored
says 0 '22  the traces' '' diff --help

# A filtered trace has the events of its kinds.
"$nestor" run image --serial none --trace some.txt --trace-events -unclaimed-access || [ $? -eq 1 ]
says 0 'the same: 1 events' '' diff a.txt some.txt --only debug-exit
"$nestor" run image --serial none --trace none.txt --trace-events none || [ $? -eq 1 ]
[ ! -s none.txt ] || { echo 'FAIL: --trace-events none'; failures=1; }
says 2 '' "'walks' is no kind of event; choose from all, none, vm-entry" \
  run image --trace t --trace-events -walks

says 4 '' 'has any event' diff none.txt none.txt
says 2 '' "no event has a field 'vm-exit.rib'" diff a.txt a.txt --ignore rip,vm-exit.rib
says 0 'the same: 3 events' '' diff a.txt a.txt --ignore vm-exit.rip,walk.steps,decoded.size
says 2 '' 'only one of the traces' diff - -
got=0
"$nestor" diff - b.txt <a.txt >out || got=$?
[ "$got" -eq 22 ] && grep -q 'A: the standard input\|A: -' out || {
  echo "FAIL: diff of the standard input: status $got"
  failures=1
}

says 2 '' 'neither trace has a '"'"'vm-exut'"'"' event' diff a.txt a.txt --only debug-exit,vm-exut
says 2 '' 'neither trace has a '"'"'triple-fault'"'"' event' diff a.txt a.txt --only triple-fault
says 0 'the same: 1 events' '' diff a.txt a.txt --only debug-exit,triple-fault
says 2 '' 'two traces are required: nestor diff A B; see nestor diff --help' diff
says 2 '' 'two traces are required' diff a.txt
says 2 '' '--context' diff a.txt a.txt --context many
says 2 '' 'b.txt' diff a.txt a.txt b.txt
says 4 '' 'cannot read missing: No such file or directory' diff a.txt missing
says 4 '' 'cannot read .: Is a directory' diff . a.txt
says 4 '' 'image:1: not an event' diff a.txt image
{
  head -n 1 a.txt
  printf '12 debug-exit val'
} >part
says 4 '' 'part:2: the trace is truncated' diff part part
printf '1 walk outcome=translated steps=2\n          EPT   level 4 entry at 0x1000: 0x2007\n          EPT   lev' >part
says 4 '' 'part:3: the trace is truncated' diff part part
[ ! -e /dev/full ] || {
  got=0
  "$nestor" diff a.txt a.txt >/dev/full 2>err || got=$?
  [ "$got" -eq 14 ] || { echo "FAIL: status $got, not 14, with a full device"; failures=1; }
}

[ "$failures" -eq 0 ] || exit 1
echo 'all as documented'
