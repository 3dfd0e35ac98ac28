#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# ci_example_test.sh NESTOR IMAGE SCRIPT: docs/examples/ci/nestor-test, as docs/ci.md has it.
set -eu

nestor=$1
image=$2
script=$3
# shellcheck source=tests/cli/command_line.sh
. "$(dirname -- "$0")/command_line.sh"

# tests STATUS TEXT [VARIABLE=VALUE...]: the script returns STATUS and prints TEXT.
tests() {
  status=$1
  text=$2
  shift 2
  got=0
  env NESTOR="$nestor" "$@" "$script" "$image" golden >out 2>&1 || got=$?
  [ "$got" -eq "$status" ] || fail "status $got, not $status: $*: $(cat out)"
  grep -qF -e "$text" out || fail "printed '$(cat out)' without '$text': $*"
  for file in junit.xml serial.txt messages.txt stats.txt trace.jsonl; do
    [ -e "results/$file" ] || fail "no results/$file: $*"
  done
}

# The script makes a page, which some builds cannot.
view=$("$nestor" view /dev/null --out page.html 2>&1 || :)
case $view in
  *'no page'*) echo 'skipped: this build has no page'; exit 77 ;;
esac

tests 0 '' UPDATE=1
tests 0 'the same: 4 events'
sed -i 's/VMCALL/INVD/' golden
tests 1 'UPDATE=1 writes it anew'
tests 1 'exit status 12' LIMIT=10000
grep -q 'name="end of the run"' results/junit.xml || fail 'no end in junit.xml'
tests 0 '' UPDATE=1 OPTIONS='--memory 64M --cpus 2'

[ "$failures" -eq 0 ]
