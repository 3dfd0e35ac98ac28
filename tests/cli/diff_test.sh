#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# diff_test.sh NESTOR: `nestor diff` as a user meets it: equal, different and unreadable traces.
set -eu

nestor=$1
folder=$(mktemp -d)
trap 'rm -rf -- "$folder"' EXIT
trap 'exit 1' HUP INT TERM
cd -- "$folder"
failures=0

# expect STATUS OUT ERR ARGUMENT...: the status, and text in the standard output and the standard
# error; an empty text means that nothing is there.
expect() {
  status=$1
  in_out=$2
  in_err=$3
  shift 3
  got=0
  timeout 60 "$nestor" "$@" >out 2>err </dev/null || got=$?
  ok=yes
  [ "$got" -eq "$status" ] || ok=no
  for pair in "out:$in_out" "err:$in_err"; do
    file=${pair%%:*}
    text=${pair#*:}
    if [ -z "$text" ]; then
      [ ! -s "$file" ] || ok=no
    else
      case $(cat "$file") in
        *"$text"*) ;;
        *) ok=no ;;
      esac
    fi
  done
  [ -z "$in_err" ] || [ "$(wc -l <err)" -eq 1 ] || ok=no
  [ "$ok" = yes ] && return 0
  failures=$((failures + 1))
  printf 'FAIL: nestor %s: status %s, not %s\n' "$*" "$got" "$status"
  cat out err
}

# A Multiboot 1 image: an unclaimed port is read, then debug exit.
{
  printf '\002\260\255\033\000\000\001\000\376\117\121\344'
  printf '\000\000\020\000\000\000\020\000\000\000\000\000\000\000\000\000\040\000\020\000'
  printf '\146\272\064\022\354\270\000\000\000\000\347\364\364'
} >image
sed 's/\x34\x12/\x35\x12/' image >other
"$nestor" run image --serial none --trace a.txt || [ $? -eq 1 ]
"$nestor" run image --serial none --trace a.jsonl --trace-format jsonl || [ $? -eq 1 ]
"$nestor" run other --serial none --trace b.txt || [ $? -eq 1 ]

expect 0 'the same: 3 events' '' diff a.txt a.txt
expect 0 'the same: 3 events' '' diff a.txt a.jsonl
expect 22 'address: A 0x1234, B 0x1235' '' diff a.txt b.txt
expect 22 'A: a.jsonl: event 0, line 1, cycle ' '' diff a.jsonl b.txt
expect 0 'the same: 1 events' '' diff a.txt b.txt --only debug-exit
expect 0 'the same: 3 events' '' diff a.txt b.txt --ignore unclaimed-access.address
expect 0 'every event  cycle' '' diff --list-ignored
expect 0 '22  the traces' '' diff --help

# A filtered trace has the events of its kinds.
"$nestor" run image --serial none --trace some.txt --trace-events -unclaimed-access || [ $? -eq 1 ]
expect 0 'the same: 1 events' '' diff a.txt some.txt --only debug-exit
"$nestor" run image --serial none --trace none.txt --trace-events none || [ $? -eq 1 ]
[ ! -s none.txt ] || { echo 'FAIL: --trace-events none'; failures=1; }
expect 2 '' "'walks' is no kind of event; choose from all, none, vm-entry" \
  run image --trace t --trace-events -walks

expect 4 '' 'has any event' diff none.txt none.txt
expect 2 '' "no event has a field 'vm-exit.rib'" diff a.txt a.txt --ignore rip,vm-exit.rib
expect 0 'the same: 3 events' '' diff a.txt a.txt --ignore vm-exit.rip,walk.steps,decoded.size
expect 2 '' 'only one of the traces' diff - -
got=0
"$nestor" diff - b.txt <a.txt >out || got=$?
[ "$got" -eq 22 ] && grep -q 'A: the standard input\|A: -' out || {
  echo "FAIL: diff of the standard input: status $got"
  failures=1
}

expect 2 '' 'neither trace has a '"'"'vm-exut'"'"' event' diff a.txt a.txt --only debug-exit,vm-exut
expect 2 '' 'neither trace has a '"'"'triple-fault'"'"' event' diff a.txt a.txt --only triple-fault
expect 0 'the same: 1 events' '' diff a.txt a.txt --only debug-exit,triple-fault
expect 2 '' 'two traces are required: nestor diff A B; see nestor diff --help' diff
expect 2 '' 'two traces are required' diff a.txt
expect 2 '' '--context' diff a.txt a.txt --context many
expect 2 '' 'b.txt' diff a.txt a.txt b.txt
expect 4 '' 'nestor: cannot read missing: No such file or directory' diff a.txt missing
expect 4 '' 'nestor: cannot read .: Is a directory' diff . a.txt
expect 4 '' 'nestor: image:1: not an event' diff a.txt image
{
  head -n 1 a.txt
  printf '12 debug-exit val'
} >part
expect 4 '' 'part:2: the trace is truncated' diff part part
[ ! -e /dev/full ] || {
  got=0
  "$nestor" diff a.txt a.txt >/dev/full 2>err || got=$?
  [ "$got" -eq 14 ] || { echo "FAIL: status $got, not 14, with a full device"; failures=1; }
}

[ "$failures" -eq 0 ] || exit 1
echo 'all as documented'
