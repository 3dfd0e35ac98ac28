#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# bad_input_test.sh NESTOR: bad flags, files and images, and outputs that cannot be written, each give one
# clear line and the documented exit status; and the ends that a guest can come to.
set -eu

nestor=$1
# shellcheck source=tests/cli/command_line.sh
. "$(dirname -- "$0")/command_line.sh"
program() { timeout 60 "$nestor" "$@" </dev/null; }

# MOV EAX, 2; OUT F4, EAX: debug exit.
flat '\270\002\000\000\000\347\364\364' >good
# MOV DX, 3F8; MOV AL, 'H'; OUT DX, AL; then debug exit.
flat '\146\272\370\003\260\110\356\270\002\000\000\000\347\364\364' >hello

# --- usage
expect 2 'a command is required'
expect 2 'fly' fly
expect 2 'IMAGE' run
expect 2 '--bogus' run good --bogus
expect 2 '--memory' run good --memory lots
expect 2 '--memory' run good --memory 100G
expect 2 '--cpus' run good --cpus 9
# The port of debug exit, and where port E9 writes.
flat '\146\272\001\005\260\003\356\364' >exit501 # MOV DX, 501; MOV AL, 3; OUT DX, AL
expect 7 '' run exit501 --debug-exit 0x501
expect 2 'is no port' run good --debug-exit 65536
expect 2 "debug exit: port 0x3f8 is another device's" run good --debug-exit 0x3f8
flat '\260\104\346\351\061\300\347\364\364' >console # MOV AL, 'D'; OUT E9, AL; debug exit with 0
expect 1 '' run console
[ "$(cat out)" = D ] || fail 'port E9 without --debug-console'
expect 1 '' run console --debug-console log
[ "$(cat log)" = D ] && [ ! -s out ] || fail 'port E9 with --debug-console'
expect 2 'both write to the standard output' run console --debug-console stdio
expect 2 'both write to' run console --serial log --debug-console log
expect 2 'the name of the file is empty' run console --debug-console ''
expect 36 "did you mean 'Icelake-Server'" run good --cpu Icelake
expect 36 "'Pentium' is no model; --cpu help lists them" run good --cpu Pentium
expect 36 "did you mean 'invpcid'" run good --cpu Icelake-Server,-invcpid
expect 36 "'avx' cannot be added: it is not implemented" run good --cpu Icelake-Server,+avx
expect 36 "cannot be added without 'vmx-eptad'" run good --cpu Westmere,+vmx-pml
expect 36 'is no model' audit good --cpu Pentium
expect 2 'which this --cpu does not have' run good --cpu Westmere --l0 nested-ept
expect 2 'which this --cpu does not have' run good --cpu Icelake-Server,-vmx-ept --l0 two-level
expect 2 'which this --cpu does not have' compare-mmu good --cpu Icelake-Server,-vmx-shadow-vmcs
expect 2 '--vmcs-shadowing' run good --cpu Icelake-Server,-vmx-shadow-vmcs --l0 two-level --vmcs-shadowing on
expect 2 '--max-instructions' run good --max-instructions -5
expect 2 '--trace-format' run good --trace t --trace-format xml
expect 2 '--log' run good --log loud
expect 2 '--tlb' run good --tlb none
expect 2 '--dump-vmcs' run good --dump-vmcs sometimes file
expect 2 '--dump-vmcs' run good --dump-vmcs on-exit
expect 2 '--dump-vmcs-format' run good --dump-vmcs-format json
expect 2 'both write to the standard output' run good --dump-vmcs on-exit -
expect 2 'unknown option --apend; did you mean --append?' run good --apend x
expect 2 'unknown option --cpuss; did you mean --cpus?' run good x --cpuss=2
expect 2 'unknown option --wings;' run good --wings
expect 2 "'two' is one argument too many" run good two
expect 2 "unknown command 'rnu'; did you mean run?" rnu good
expect 2 '--cpus is given more than once; give it once' run good --cpus 1 --cpus 2
expect 2 '--dump-vmcs needs on-failure|on-exit FILE' run good --dump-vmcs on-exit
expect 2 '--memory needs SIZE' run good --memory
expect 2 "--shadow-pages: 'some' is not possible; it takes N" run good --shadow-pages some
expect 2 'IMAGE: the name of the file is empty' run ''
expect 2 'IMAGE: the name of the file is empty' compare-mmu ''
expect 2 '--symbols has no effect without --profile' run good --symbols good
expect 2 "--profile-format: 'xml' is none of" run good --profile p --profile-format xml
expect 2 'the name of the file is empty' run good --profile ''
expect 2 'both write to the standard output' run good --profile -
expect 2 "'report' ends in neither .xml nor .tap; give --report-format" run good --report report
expect 2 "--report-format: 'text' is neither junit nor tap" run good --report r.xml --report-format text
expect 2 '--report-format has no effect without --report FILE' run good --report-format tap
expect 2 '--report: the name of the file is empty' run good --report ''
expect 2 'both write to the standard output' run good --report - --report-format tap
expect 2 '--trace and --report both write to' run good --trace r.xml --report r.xml
expect 14 "cannot write" run good --report no-folder/r.xml
expect 2 '--profile and --gdb' run good --profile p --gdb :0
expect 0 '' --help
expect 0 '' run --help
expect 0 '' run --cpu help
grep -q '^  Westmere .*06_2CH stepping 2' out || fail '--cpu help does not list the models'
grep -q ' vmx-eptad' out || fail '--cpu help does not list the features'
expect 0 '' --version

# --- files
expect 4 'No such file or directory' run missing
expect 4 'is a directory' run "$folder"
: >empty
expect 4 'is empty' run empty
expect 4 'neither a file nor a pipe' run /dev/zero
truncate -s 2M large
expect 4 'more than the 1048576 bytes that can be loaded; give the machine more' run large --memory 1M
truncate -s 60G huge
expect 4 'more than the 1073741824 bytes that can be loaded; use a smaller file' run huge --memory 64G
expect 4 'cannot read image two?lines' run "$(printf 'two\nlines')"
expect 4 'cannot read module nothing' run good --module nothing
truncate -s 513 odd
expect 4 "cannot use 'odd' as a disk: its size, 513 bytes, is no multiple of 512" run good --disk odd
expect 4 "cannot use 'empty' as a disk: it is empty" run good --disk empty
expect 4 "cannot use 'nothing' as a disk: No such file" run good --disk nothing
expect 4 "cannot use '/dev/null' as a disk: it is neither a file nor a block" run good --disk /dev/null
expect 2 "--net: 'tap' is no network; there is user" run good --net tap
expect 2 "is not tcp|udp:HOST_PORT:GUEST_PORT" run good --net user,forward=tcp:22
expect 4 "cannot use 'odd' as a disk" compare-mmu good --disk odd
expect 2 'neither writable=on nor writable=off' run good --disk odd,rw
expect 2 'comes after another value of the same key' run good --disk odd,writable=on,writable=off
expect 2 "'interface=ide' is neither" run good --disk odd,writable=on,interface=ide
expect 4 "cannot use 'odd' as a disk: its size, 513 bytes" run good --disk odd,interface=ahci
expect 4 "cannot use 'empty' as a disk: it is empty" run good --disk empty,interface=ahci
expect 5 '' run good --disk large,interface=ahci --disk large,interface=ahci
expect 2 'both write to' run good --disk large,writable=on --disk large,writable=on,interface=ahci
expect 2 'would be overwritten' run good --disk large --serial large
expect 2 'both write to' run good --disk large,writable=on --disk large,writable=on
expect 5 '' run good --disk large --disk large
expect 2 'with writable=on each mode' compare-mmu good --disk large,writable=on
cp large precious
expect 2 'would be overwritten' compare-mmu good --disk precious --json precious
expect 2 'would be overwritten' compare-mmu good --module precious --json precious
cmp -s large precious || fail 'compare-mmu has written over what it reads'
expect 4 "cannot read 'nothing': No such file" run good --serial-input nothing
expect 2 'both read the standard input' run - --serial-input -
got=0
"$nestor" run good --serial-input - 2>err <"$folder" || got=$?
[ "$got" -eq 4 ] && grep -q 'cannot read the standard input: Is a directory' err ||
  fail "a directory as standard input: status $got, $(cat err)"
expect 4 'cannot read symbols nothing: No such file' run good --profile p --symbols nothing
expect 4 "cannot use symbols of 'large': it is not an ELF file" run good --profile p --l2-symbols large
expect 2 'would be overwritten' run good --profile large --symbols large
[ ! -e p ] || fail 'a profile was begun though its symbols are bad'
expect 4 'is for Linux' run good --initrd large
# Others that use a disk.
flocked() {
  got=0
  flock "$1" large "$nestor" run good --disk "$2" 2>err </dev/null || got=$?
  [ "$got" -eq "$3" ] && { [ -z "$4" ] || grep -q "$4" err; } || fail "flock $1, --disk $2: status $got, $(cat err)"
}
flocked -x large 4 'another process writes to it'
flocked -s large,writable=on 4 'another process uses it, and writable=on needs it alone'
flocked -s large 5 ''
if [ "$(id -u)" -ne 0 ]; then
  cp good secret
  chmod 0 secret
  expect 4 'Permission denied' run secret
fi

# --- images
printf 'hello, world\n' >text
expect 4 'it is no bootable image' run text
head -c 31 good >truncated
expect 4 'truncated' run truncated
printf '\177ELF\002\001\001\000\000\000\000\000\000\000\000\000\002\000\267\000' >arm
truncate -s 4096 arm
expect 4 'AArch64' run arm
head -c 40 arm >short
expect 4 'the ELF header is truncated' run short
# The end of the zeroed memory lies beyond RAM.
{
  head -c 24 good
  printf '\000\000\000\377'
  tail -c +29 good
} >oversized
expect 4 'outside RAM' run oversized

# --- processors: CPUID.1:EAX goes to the debug exit, which keeps 7 bits of it
flat '\270\001\000\000\000\017\242\347\364\364' >signature
expect 77 '' run signature
expect 133 '' run signature --cpu Westmere
expect 241 '' run signature --cpu SapphireRapids,-pku

# --- ends of a guest
expect 5 '' run good
expect 5 '' run good --tlb keep
expect 5 '' run hello
[ "$(cat out)" = H ] || fail "the serial output is '$(cat out)', not H"
expect 5 '' run hello --serial none
[ ! -s out ] || fail "--serial none wrote '$(cat out)'"
expect 5 '' run hello --serial2 serial2.txt
[ ! -s serial2.txt ] || fail "COM2 wrote '$(cat serial2.txt)'"
expect 2 'both write to' run hello --serial2 two --serial3 ./two
expect 14 'cannot write /nonexistent/serial: No such file' run hello --serial4 /nonexistent/serial
expect 5 '' run hello --serial serial.txt
[ "$(cat serial.txt)" = H ] || fail "the serial file holds '$(cat serial.txt)', not H"
flat '\017\013' >triple
expect 8 'L1 shut down after a triple fault' run triple --quiet
got=0
"$nestor" run triple 2>all </dev/null || got=$?
[ "$got" -eq 8 ] && grep -q '^nestor: warning: L1: triple fault at RIP 0x100020' all &&
  grep -q '^  #UD at RIP 0x100020' all && grep -q 'the IDT limit is below its gate): triple fault' all ||
  fail "the triple fault is not explained: status $got, $(cat all)"
# MOV EAX, 300000H; zeros; debug exit.
{
  flat '\270\000\000\060\000'
  head -c 12288 /dev/zero
  printf '\270\002\000\000\000\347\364\364'
} >zeros
expect 5 'a page of zeros at 0x101000' run zeros
# MOV ESP, 0; PUSH EAX; debug exit.
flat '\274\000\000\000\000\120\270\002\000\000\000\347\364\364' >stack
expect 5 'the stack was used at 0xfffffffc, where there is no RAM' run stack
# MOV DWORD [B8000H], "ok"; debug exit.
flat '\307\005\000\200\013\000\157\007\153\007\270\002\000\000\000\347\364\364' >screen
expect 5 '' run --screen screen
[ "$(cat out)" = ok ] || fail "--screen shows '$(cat out)', not ok"
expect 5 '' run screen --screen=screen.txt
[ ! -s out ] && [ "$(cat screen.txt)" = ok ] || fail "--screen=FILE wrote '$(cat screen.txt)'"
expect 2 'would be overwritten' run screen --screen=screen
expect 2 'both write to the standard output' run screen --serial none --screen --trace -
# MOV EAX, [EBX + 24]; MOV EAX, [EAX + 8]; MOVZX EAX, BYTE [EAX]; debug exit: the first character of
# the first module's command line, of which 7 bits are kept.
flat '\213\103\030\213\100\010\017\266\000\347\364\364' >modules
printf module >first
printf module >first,second
expect 205 '' run modules --module first
expect 195 '' run modules --module first,arguments
expect 197 '' run modules --module first,,second,but
# MOV ECX, 3AH; RDMSR; debug exit.
flat '\271\072\000\000\000\017\062\347\364\364' >feature-control
expect 11 '' run feature-control
expect 1 '' run feature-control --feature-control unlocked
flat '\353\376' >loop
expect 12 'budget' run loop --max-instructions 100000
grep -q '^processor 0: L1, 32-bit protected mode, RIP 0x100020: eb fe "jmp 0x100020"' places ||
  fail "the loop is not shown: $(cat places)"
flat '\372\364' >halt
expect 18 'L1 halted' run halt
grep -q '^processor 0: L1, 32-bit protected mode, halted, RIP' places || fail "no halt: $(cat places)"
flat '\260\376\346\144\353\376' >reset
expect 20 'reset' run reset

# --- outputs that cannot be written
expect 14 'cannot write /nonexistent/trace: No such file' run good --trace /nonexistent/trace
expect 14 'cannot write /nonexistent/serial: No such file' run good --serial /nonexistent/serial
if [ -e /dev/full ]; then
  got=0
  "$nestor" --version >/dev/full 2>err || got=$?
  [ "$got" -eq 14 ] && grep -q 'cannot write the standard output' err || fail "--version: $got, $(cat err)"
fi
expect 14 'cannot write /dev/full: No space left on device' run good --trace /dev/full
expect 14 'cannot write /nonexistent/vmcs: No such file' run good --dump-vmcs on-exit /nonexistent/vmcs
expect 14 'cannot write /dev/full: No space left on device' run good --trace /dev/full --trace-format jsonl
expect 14 'cannot write /dev/full: No space left on device' run hello --serial /dev/full
expect 14 'cannot write /nonexistent/profile: No such file' run good --profile /nonexistent/profile
expect 14 'cannot write /dev/full: No space left on device' run good --profile /dev/full

# --- a standard error that is closed or full: what was lost is a status, and hides none
# lost STATUS ARGUMENT...
lost() {
  status=$1
  shift
  for way in closed full; do
    got=0
    if [ $way = closed ]; then
      timeout 60 "$nestor" "$@" >out 2>&- </dev/null || got=$?
    else
      timeout 60 "$nestor" "$@" >out 2>/dev/full </dev/null || got=$?
    fi
    [ "$got" -eq "$status" ] || fail "status $got, not $status, with a $way standard error: nestor $*"
  done
}
lost 5 run good
lost 14 run good --stats
lost 14 run zeros
lost 12 run loop --max-instructions 1000 --stats
lost 4 run missing
lost 4 audit missing
lost 2 run --bogus
got=0
"$nestor" run hello --trace trace >&- 2>&- </dev/null || got=$?
[ "$got" -eq 14 ] || fail "status $got, not 14, with closed outputs"
[ ! -s trace ] || grep -q '^ *[0-9]* debug-exit' trace || fail "the trace holds '$(cat trace)'"

# --- pipes
got=0
"$nestor" run - <hello >out || got=$?
[ "$got $(cat out)" = '5 H' ] || fail "from the standard input: status $got, output '$(cat out)'"
got=0
cat hello | "$nestor" run /dev/stdin --module hello >out || got=$?
[ "$got $(cat out)" = '5 H' ] || fail "from a pipe: status $got, output '$(cat out)'"

# --- a standard input that is not read is told once, and only where something may be in it
# unread COUNT ARGUMENT...: so many such warnings.
unread() {
  count=$1
  shift
  "$nestor" "$@" >out 2>err || :
  [ "$(grep -c '^nestor: warning: the standard input is no terminal and is not read; --serial-input -' err)" -eq "$count" ] ||
    fail "not $count warnings of an unread input: nestor $*: $(cat err)"
}
echo command >typed
unread 1 run hello <typed
echo command | unread 1 run hello
unread 0 run hello --quiet <typed
unread 0 run hello --serial none <typed
unread 0 run hello --serial-input - <typed
unread 0 run - <hello
unread 0 run /dev/stdin <hello
unread 0 run hello </dev/null
unread 0 run hello <empty
unread 0 run hello <&-

# --- signals: one line, 128 and the signal
# interrupted SIGNAL STATUS ARGUMENT...
interrupted() {
  signal=$1
  status=$2
  shift 2
  "$nestor" "$@" >out 2>err </dev/null &
  process=$!
  sleep 1
  kill -s "$signal" $process
  got=0
  wait $process || got=$?
  [ "$got" -eq "$status" ] || fail "status $got, not $status, after SIG$signal: nestor $*"
  grep -q '^nestor: interrupted' err || fail "SIG$signal is not told: nestor $*"
}
interrupted TERM 143 run loop
interrupted TERM 143 compare-mmu loop
# nohup has it ignored.
(trap '' HUP && exec "$nestor" run loop >out 2>err </dev/null) &
process=$!
sleep 1
kill -s HUP $process
sleep 1
kill -s TERM $process
got=0
wait $process || got=$?
[ "$got" -eq 143 ] || fail "status $got, not 143, after a SIGHUP that was ignored"
# A shell lets its background jobs ignore SIGINT.
expect 2 '--log' run good --log debug
expect 5 '' run zeros --quiet

# --- nestor audit
expect 2 'VMCS' audit
expect 4 'No such file or directory' audit missing
expect 4 'line 1: there is no VMCS in it' audit text
printf '{"Guest CR0": 1,\n "Guest CR9": 1}\n' >unknown.json
expect 4 'unknown.json: line 2: "Guest CR9" is no field of a VMCS; did you mean "Guest CR0"?' audit unknown.json
printf '{"Guest CR0": "0000016"}\n' >zeros.json
expect 4 'Write 0x before it, or no leading zeros' audit zeros.json
printf '{"guest_es_selector": "0x10000"}\n' >wide.json
expect 4 'too wide' audit wide.json
printf '{"GUEST_CR0": "0x80000031"}\n' >sparse.json
expect 24 '' audit sparse.json
grep -q 'VM-instruction error 7' out || fail 'the audit does not say how VM entry ends'
expect 24 '' audit --json sparse.json
grep -q '"check": "pin-based-reserved"' out || fail 'the audit has no JSON'
expect 0 '' audit --only-stated sparse.json
printf '[ 1.0] GUEST_CR0: 31\n' >doubtful.log
for form in '' --json; do
  expect 4 'doubtful.log: line 1: "GUEST_CR0": "31" is hexadecimal or decimal?' audit $form doubtful.log
  [ ! -s out ] || fail 'a report is printed of nothing'
done
printf 'kernel: *** Guest State ***\nkernel: CR0: actual=0x80000011, shadow=0x0, gh_mask=0\n' >kvm.log
expect 24 '' audit kvm.log
grep -q 'CR0.NE must be 1' out || fail 'the audit of a log does not name the bit'
mkfifo pipe
cat kvm.log kvm.log >pipe &
expect 24 '' audit pipe
grep -q '^pipe #2: 1 violation' out || fail 'the audit of a pipe does not find two dumps'

# --- the trace is the same twice
for run in 1 2; do
  expect 5 '' run hello --trace "trace$run" --trace-format jsonl --serial none
done
[ -s trace1 ] || fail 'the trace is empty'
cmp -s trace1 trace2 || fail 'two runs gave different traces'

[ "$failures" -eq 0 ] || exit 1
echo 'all as documented'
