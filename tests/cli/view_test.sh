#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# view_test.sh NESTOR IMAGE: nestor stats, view and walk, and traces for Perfetto, with the image
# ept-violation.
set -eu

nestor=$1
image=$2
# shellcheck source=tests/cli/command_line.sh
. "$(dirname -- "$0")/command_line.sh"
program() { timeout 120 "$nestor" "$@" </dev/null; }
# run OPTION...: runs the image, whose own status is 1.
run() { expect 1 '' run "$image" --serial none --quiet "$@"; }

run --trace json --trace-format jsonl
run --trace text
run --trace perfetto --trace-format perfetto
run --trace changes --trace-format jsonl --trace-vmcs
"$nestor" run "$image" --serial none --quiet --stats 2>stats >out || :

# --- stats: what the run itself prints
expect 0 '' stats json
grep -v '^Not in a trace' out | cmp -s - stats || fail 'a trace has other statistics than its run'
grep -q 'EPT violation .* 18 ' out || fail 'no EPT violations in the statistics'
grep -v '^No[tr]' out | awk '{ print $NF }' >averages
expect 0 '' stats text
grep -q '^Nor are instructions' out || fail 'the statistics do not say that a text has no instructions'
grep -v '^No[tr]' out | awk '{ print $NF }' | cmp -s - averages || fail 'the text of a trace has other averages'
expect 4 'cannot read missing: No such file' stats missing
expect 4 'is empty' stats /dev/null
expect 4 'image' stats "$image"
[ ! -s out ] || fail 'statistics of what is no trace'
head -c 20000 json >part
expect 4 'the trace is truncated' stats part
grep -q '^Total' out || fail 'no statistics of the part of a trace'
printf '{"cycle":1,"event":"vm-exit","reason_field":"0xa","cpu":4000000000}\n' >many
expect 4 'many:1: no processor' stats many
expect 2 'TRACE' stats

# --- Perfetto: JSON, also of a run that ends early
if command -v python3 >/dev/null; then
  python3 -m json.tool perfetto >/dev/null || fail 'the trace for Perfetto is no JSON'
  "$nestor" run "$image" --serial none --quiet --max-instructions 20000 --trace early \
    --trace-format perfetto 2>err && fail 'a run that ended early has no status' || :
  python3 -m json.tool early >/dev/null || fail 'the trace of a run that ended early is no JSON'
fi
grep -q '"ph":"X".*"name":"EPT violation"' perfetto || fail 'no slice of an EPT violation'
grep -q '"event":"vmcs-change".*"by":"VM exit","before":{"GuestPhysicalAddress"' changes || fail 'no changes of the VMCS'
! grep -q vmcs-change json || fail 'changes of the VMCS that nobody asked for'
expect 2 '--trace-vmcs has no effect' run "$image" --trace-vmcs

# --- view
expect 2 'TRACE' view
expect 2 '--out FILE is required' view -
expect 2 'would be overwritten' view json --out json
expect 2 '--max-events' view json --max-events 0
got=0
"$nestor" view json >out 2>err || got=$?
if [ "$got" -eq 6 ]; then
  grep -q 'has no page' err || fail "status 6 and '$(cat err)'"
else
  [ "$got" -eq 0 ] || fail "view: status $got"
  [ -s json.html ] || fail 'the page has not the name of the trace'
  expect 0 'page.html: 121 events' view json --out page.html
  # Names of XML namespaces are no addresses.
  ! grep -oE 'src=|@import|https?://[a-z0-9.]+' page.html | grep -qv '//www.w3.org' ||
    fail 'the page names what is elsewhere'
  expect 0 'and the trace goes on' view json --out few.html --max-events 7
  grep -q 'The page has the first 7 events' few.html || fail 'the page does not say that it is a part'
  expect 4 'cannot read missing: No such file' view missing --out x.html
  expect 4 'the trace is empty' view /dev/null --out x.html
  expect 4 'text:1: not a JSON object' view text --out x.html
  expect 4 'not a JSON object' view "$image" --out x.html
  tr '\n' ' ' <json | head -c 3000000 >long
  while [ "$(wc -c <long)" -lt 3000000 ]; do cat long long >longer && mv longer long; done
  expect 4 'a line of more than' view long --out x.html
  [ ! -e x.html ] || fail 'a page of what is no trace'
  expect 4 'the page has the' view part --out part.html
  grep -q 'The trace ends early' part.html || fail 'the page of a part does not say so'
  expect 14 'cannot write' view json --out missing/x.html
  # A page that does not get whole leaves the old one.
  echo old >kept.html
  got=0
  (ulimit -f 20; program view json --out kept.html >/dev/null 2>err) || got=$?
  [ "$got" -eq 14 ] && grep -q 'File too large' err || fail "a full disk: status $got, $(cat err)"
  [ "$(cat kept.html)" = old ] && [ "$(echo kept.html*)" = kept.html ] || fail 'an old page is gone'
  [ ! -e /dev/full ] || expect 14 'No space left' view json --out /dev/full
  # Any amount of events takes little memory, as no more than --max-events are kept.
  # Sanitizers want all the address space that there is.
  ( ulimit -v "${NESTOR_MOST_ADDRESS_SPACE-1000000}"
    awk 'BEGIN { for (i = 0; i < 300000; i++) printf "{\"cycle\":%d,\"event\":\"vm-exit\",\"reason\":\"HLT\",\"reason_field\":\"0xc\",\"rip\":\"0x%x\"}\n", i, i % 512 }' |
      "$nestor" view - --out stream.html --max-events 200000 ) 2>err || fail "a long trace: $(cat err)"
fi

# --- walk
expect 0 '' walk "$image" 0x8020 --at exit:11
[ "$(grep -c 'level . entry at' out)" -eq 24 ] || fail 'a walk of 4 by 4 levels has not 24 references'
grep -q '^24 memory references: guest-physical address 0x8020' out || fail 'the walk has no end'
cp out whole
yes '' | "$nestor" walk "$image" 0x8020 --at exit:11 --step >out 2>err || fail "walk --step: $(cat err)"
[ "$(grep -v "linear address" out)" = "$(grep -v "linear address" whole)" ] || fail 'step by step it is another walk'
expect 0 '' walk "$image" 0x1000 --at exit:1 --level l2-physical --access fetch
grep -q 'EPT violation for guest-physical address 0x1000' out || fail 'no EPT violation'
expect 0 '' walk "$image" 0x100000 --at 1000
grep -q "L1's linear address" out || fail 'before VMX it is not L1'
expect 2 'no current VMCS' walk "$image" 0 --at 0 --level l2
expect 40 'the run ended before the moment of --at' walk "$image" 0 --at exit:1000
expect 2 "'x' is no address" walk "$image" x --at 0
expect 2 '--at' walk "$image" 0
expect 2 '--at:' walk "$image" 0 --at exit:0
expect 2 '--level' walk "$image" 0 --at 0 --level l3
expect 2 '--access' walk "$image" 0 --at 0 --access x
expect 4 'missing' walk missing 0 --at 0

[ "$failures" -eq 0 ] || exit 1
echo 'all as documented'
