#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# report_test.sh NESTOR IMAGES: `nestor run --report` as a user meets it.
set -eu

nestor=$1
images=$2
# shellcheck source=tests/cli/command_line.sh
. "$(dirname -- "$0")/command_line.sh"

program() { timeout 60 "$nestor" run "$@" --serial none </dev/null; }
has() { grep -qF -e "$2" "$1" || fail "$1 without '$2': $(cat "$1")"; }
lacks() { ! grep -qF -e "$2" "$1" || fail "$1 with '$2'"; }

# prints VALUE TEXT: an image that writes TEXT (of printf, without %) to COM1, and then VALUE, one
# digit, to port F4:
#   MOV DX, 3F8; MOV ESI, text; next: LODSB; TEST AL, AL; JZ end; OUT DX, AL; JMP next
#   end: MOV EAX, VALUE; OUT F4, EAX; HLT; text:
prints() {
  flat "\146\272\370\003\276\071\000\020\000\254\204\300\164\003\356\353\370\270\00$1\000\000\000\347\364\364$2\000"
}

# An image of ours, twice: the same bytes.
expect 1 '' "$images/hello-vmx/hello-vmx.elf" --report a.xml
expect 1 '' "$images/hello-vmx/hello-vmx.elf" --report b.xml
cmp a.xml b.xml || fail 'the reports of two runs differ'
has a.xml '<testsuite name="hello-vmx" tests="1" failures="0" errors="0" skipped="0" time="0.0'
has a.xml '<testcase classname="hello-vmx" name="hello-vmx" time="0.0'

prints 0 'ok 1 - one\nnot ok 2 - <two>\nok 3 - three # SKIP no EPT\n1..3\n' >tap
expect 42 '--report: tests that failed: 1' tap --report r.xml
has r.xml 'tests="3" failures="1" errors="0" skipped="1"'
has r.xml 'name="&lt;two&gt;"'
has r.xml '<skipped message="no EPT"/>'
expect 42 'tests that failed: 1' tap --report - --report-format tap
has out 'not ok 2 - <two>'

prints 0 'PASS: one\nSUMMARY: 1 tests\n' >passes
expect 1 '' passes --report r.tap
has r.tap 'ok 1 - one'

# Ends.
prints 1 'FAIL: one\nSUMMARY: 1 tests, 1 unexpected failures\n' >fails
expect 3 '' fails --report r.xml
has r.xml '<failure message="L1 wrote 1 to the port of debug exit (exit status 3)">'
expect 12 'instruction budget' fails --report r.xml --max-instructions 30
has r.xml 'the instruction budget is spent'
has r.xml 'processor 0: L1'
prints 0 'hello\n' >silent
expect 42 'tests that failed: 1' silent --report r.tap
has r.tap 'not ok 1 - tests'
has r.tap "# no line of the guest's output reports a test"
# MOV EAX, 38; OUT F4, EAX: what kvm-unit-tests write where all was skipped.
flat '\270\046\000\000\000\347\364\364' >skips
expect 77 '' skips --report r.tap
has r.tap 'ok 1 - end of the run # SKIP exit status 77'
lacks r.tap 'not ok'

# Without the option the status is the guest's.
expect 1 '' tap
expect 14 'No space' passes --report /dev/full --report-format tap

[ "$failures" -eq 0 ]
