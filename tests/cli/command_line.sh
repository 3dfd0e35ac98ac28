# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
# What the tests of programs' command lines have in common. A test sources it, and goes on in an
# empty folder that goes with it. It defines `program`, what `expect` runs with the arguments, and
# says in `speaker` who complains if that is not nestor.
folder=$(mktemp -d)
trap 'rm -rf -- "$folder"' EXIT
trap 'exit 1' HUP INT TERM
cd -- "$folder" || exit 1
failures=0
speaker=nestor

fail() {
  failures=$((failures + 1))
  printf 'FAIL: %s\n' "$*"
}

# expect STATUS TEXT ARGUMENT...: the program returns STATUS, and the standard error is one line
# with TEXT in it; none at all when TEXT is empty. It is in the file err, the standard output in
# out. Lines that say where a processor was are set aside in the file places.
expect() {
  status=$1
  text=$2
  shift 2
  got=0
  program "$@" >out 2>all || got=$?
  grep '^processor [0-9]*: ' all >places || :
  grep -v '^processor [0-9]*: ' all >err || :
  [ "$got" -eq "$status" ] || fail "status $got, not $status: $speaker $*: $(cat err)"
  if [ -z "$text" ]; then
    [ ! -s err ] || fail "complaint '$(cat err)': $speaker $*"
    return 0
  fi
  [ "$(wc -l <err)" -eq 1 ] || fail "$(wc -l <err) lines on the standard error, not 1: $speaker $*"
  case $(cat err) in
    "$speaker: "*"$text"*) ;;
    *) fail "complaint '$(cat err)' without '$text': $speaker $*" ;;
  esac
}

# flat CODE: a Multiboot 1 image with address fields, entered at CODE (octal escapes of printf).
flat() {
  printf '\002\260\255\033\000\000\001\000\376\117\121\344' # magic, flags, checksum
  printf '\000\000\020\000\000\000\020\000\000\000\000\000' # header_addr, load_addr, load_end_addr
  printf '\000\000\000\000\040\000\020\000'                 # bss_end_addr, entry_addr: 1 MiB + 32
  # shellcheck disable=SC2059 # the code is the format
  printf "$1"
}
