#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# gdb_test.sh NESTOR IMAGES: Debian's gdb debugs runs of the images in the folder IMAGES, as a user
# does it.
set -u
nestor=$1 images=$2
command -v gdb >/dev/null || {
  echo 'there is no gdb: run scripts/setup'
  exit 1
}
# shellcheck source=tests/cli/command_line.sh
. "$(dirname -- "$0")/command_line.sh"

# start IMAGE ARGUMENT...: a run that listens at the socket `s`.
start() {
  image=$images/$1/$1.elf
  shift
  rm -f s
  timeout 120 "$nestor" run "$image" --quiet --serial serial --gdb unix:s "$@" 2>err </dev/null &
  run=$!
  for _ in $(seq 100); do [ -S s ] && return; sleep 0.1; done
  fail "no socket: $(cat err)"
}
# symbol IMAGE NAME: its address.
symbol() { nm "$images/$1/$1.elf64" | awk -v name="$2" '$3 == name { sub(/^0*/, "", $1); print "0x" $1 }'; }
# Of hello-vmx: L2's first instruction, XOR and CPUID; of two-processors: what it writes early.
entry=$(symbol hello-vmx guest_entry)
leaf=$(printf '0x%x' $((entry + 5)))
cpuid=$(printf '0x%x' $((entry + 7)))
idt=$(symbol two-processors idt)

# debug: gdb with the commands of the standard input, where @ENTRY@ and the like stand for these
# addresses; what it prints is in the file `log`.
debug() {
  { echo 'target remote s'; sed -e "s/@ENTRY@/$entry/" -e "s/@LEAF@/$leaf/" -e "s/@CPUID@/$cpuid/" -e "s/@IDT@/$idt/"; } >script
  timeout 100 gdb -q -nx -batch -ex 'set pagination off' -ex 'set confirm off' \
    -ex 'set architecture i386:x86-64' -x script >log 2>&1
}
# ends STATUS: so does the run.
ends() {
  got=0
  wait "$run" || got=$?
  [ "$got" -eq "$1" ] || { fail "status $got, not $1"; cat err log; }
}
# says TEXT...: the log has these lines or parts of lines, in this order.
says() {
  from=1
  for text; do
    line=$(tail -n "+$from" log | grep -n -m 1 -F -e "$text" | cut -d: -f1)
    if [ -z "$line" ]; then
      fail "no '$text' from line $from on"
      cat -n log
      return
    fi
    from=$((from + line))
  done
}

# --- The run is the same, whoever looks, and wherever it stops.
"$nestor" run "$images/hello-vmx/hello-vmx.elf" --quiet --serial plain.txt --trace plain 2>/dev/null
start hello-vmx --stopped --trace traced
debug <<'END'
hbreak *@CPUID@
continue
stepi
reverse-stepi
reverse-stepi
continue
delete
monitor stop-on vm-exit
continue
continue
reverse-continue
reverse-continue
continue
monitor stop-on off
continue
END
ends 1
cmp plain traced || fail 'the trace is another one under gdb'
cmp plain.txt serial || fail 'the output is another one under gdb'
says "Breakpoint 1, $(printf '0x%016x' "$cpuid")" 'exited with code 01'

# --- Both levels: registers, steps, breakpoints, walks, the VMCS.
start hello-vmx --stopped
debug <<'END'
info threads
monitor stop-on vm-entry
continue
print $level
print $vmx_operation
info registers rip cr0 efer
print $vmcs != -1
info threads
monitor walk @ENTRY@
x/3i $pc
break *@CPUID@
monitor stop-on off
continue
print $rax
print/x $rip
stepi
print $level
monitor where
monitor explain
monitor audit
monitor vmcs exit reason
monitor vmcs nothing
monitor exits
monitor nonsense
reverse-stepi
print $level
print/x $rip
reverse-stepi
print/x $rip
set var $rax = 5
print $rax
python
try:
  gdb.execute("set var $vmcs = 1")
except gdb.error as error:
  print(error)
end
delete
continue
END
ends 3  # L1 finds that RAX is another one
says 'L1, 32-bit protected mode' "VM entry: to RIP $entry" '$1 = 2' '$2 = non_root' \
  "rip            $entry" 'cr0' 'efer' '$3 = 1' 'L2, 64-bit mode' 'EPT   level 4 entry at' \
  'guest level 4 entry at' "memory references: guest-physical address $entry" 'cpuid' \
  'Breakpoint 1' '$4 = 1073741824' "\$5 = $cpuid" '$6 = 1' 'last VM exit: CPUID' \
  'reason=CPUID' 'always causes a VM exit' 'no violation' 'Exit reason = 0xa' \
  "'nothing' is no field" '1 VM exits' "'nonsense' is no command" '$7 = 2' "\$8 = $cpuid" \
  "\$9 = $leaf" '$10 = 5' 'vmcs is read only' 'exited with code'

# --- Watchpoints, in L2 too, and the way back to one.
start ept-violation --stopped
debug <<'END'
monitor stop-on vm-exit 48
continue
monitor explain
monitor reverse
maintenance flush register-cache
monitor stop-on off
monitor stop-on vm-exit vmcall
continue
monitor stop-on off
monitor level l2
watch *(long *) 0x7010
continue
print $level
print *(long *) 0x7010
stepi
reverse-continue
print *(long *) 0x7010
delete
monitor level running
continue
END
ends 1
says 'VM exit: EPT violation (48)' 'the walk of EPT' 'memory references: EPT violation' \
  'no VM exit before' 'VM exit: VMCALL' 'Hardware watchpoint 1' 'New value = 4369' '= 2' '= 4369' \
  'Old value = 4369' '$3 = '

# A VMCS that has had no VM exit says nothing of one.
start broken-vmcs --stopped
debug <<'END'
monitor stop-on check-failed
continue
monitor explain
kill
END
ends 38
says 'check failed: ' 'the current VMCS has had no VM exit yet'

start two-processors --stopped --cpus 2
debug <<'END'
info threads
watch *(int *) @IDT@
continue
reverse-continue
delete
monitor stop-on msr 0x1b
continue
info threads
thread 2
print $rip
stepi
monitor where
monitor stop-on off
continue
END
ends 1
says 'Thread 1 (L1' 'Thread 2 (L1' 'Hardware watchpoint' 'Old value' 'New value' \
  'RDMSR or WRMSR of 0x1b' 'processor 1:'

# --- Ctrl-C, detach and kill, and a client that goes away.
# A jump to itself, in the place of the first instruction.
start hello-vmx --stopped
debug <<'END'
set var {short} $rip = 0xfeeb
python
import os, signal, threading
threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT)).start()
end
continue
print/x $rip
kill
END
ends 38
says 'received signal SIGINT' '0x10000c'
start hello-vmx --stopped
debug <<'END'
stepi
kill
END
ends 38
start hello-vmx --stopped
debug <<'END'
stepi
detach
END
ends 1
start hello-vmx --stopped
printf '$g#67garbage$m0,ffffffffffffffff#00' >bytes
timeout 10 python3 -c 'import socket
s = socket.socket(socket.AF_UNIX)
s.connect("s")
s.send(open("bytes", "rb").read())
s.recv(100)' || fail 'the socket refuses a client'
ends 1
[ ! -e s ] || fail 'the socket stays behind'

# A signal before anybody has connected; what is not its own at the path stays.
start hello-vmx --stopped
rm s && touch s
kill -TERM "$run"
ends 143
[ -f s ] || fail 'a file that somebody put in place of the socket is gone'

# Where a run cannot go back GDB says so.
head -c 65536 /dev/zero >disk.img
start hello-vmx --stopped --disk disk.img,writable=on
debug <<'END'
stepi
reverse-stepi
END
says 'does not support'
ends 1

# --- The standard streams, and what is refused.
gdb -q -nx -batch -ex 'set confirm off' \
  -ex "target remote | exec $nestor run $images/hello-vmx/hello-vmx.elf --quiet --gdb stdio" \
  -ex 'info registers rip' -ex continue >log 2>&1
says 'rip            0x10000c' 'exited with code 01'
refused() {
  status=$1 text=$2
  shift 2
  got=0
  timeout 20 "$nestor" run "$images/hello-vmx/hello-vmx.elf" "$@" >out 2>err </dev/null || got=$?
  [ "$got" -eq "$status" ] || fail "status $got, not $status: $*"
  grep -q -F -e "$text" err && [ "$(wc -l <err)" -eq 1 ] || fail "$*: $(cat err)"
}
refused 2 'is no address' --gdb nowhere
refused 14 'cannot listen at' --gdb unix:/nonexistent/s
touch taken
echo before >trace
refused 14 'Address already in use' --gdb unix:taken --trace trace
[ "$(cat trace)" = before ] || fail 'the trace is lost though nothing ran'
refused 2 'both write to the standard output' --gdb stdio --screen
refused 14 'cannot find host' --gdb no.such.host.invalid:1

[ "$failures" -eq 0 ] || exit 1
