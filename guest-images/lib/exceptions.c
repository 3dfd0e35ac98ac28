// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdint.h>

#include "guest-images/abi/machine_ports.h"
#include "guest-images/lib/console.h"

// What the stubs and the processor leave on the stack.
typedef struct {
  uint64_t vector, error_code, rip, cs, rflags, rsp, ss;
} ExceptionFrame;

_Noreturn void exception_report(const ExceptionFrame* frame);

static const char* const kExceptionNames[32] = {
    [0] = "#DE",  [1] = "#DB",  [2] = "NMI",  [3] = "#BP",  [4] = "#OF",
    [5] = "#BR",  [6] = "#UD",  [7] = "#NM",  [8] = "#DF",  [10] = "#TS",
    [11] = "#NP", [12] = "#SS", [13] = "#GP", [14] = "#PF", [16] = "#MF",
    [17] = "#AC", [18] = "#MC", [19] = "#XM", [20] = "#VE", [21] = "#CP",
};

void exception_report(const ExceptionFrame* frame) {
  const char* name = kExceptionNames[frame->vector & 31];
  uint64_t cr2;
  __asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
  print(
      "unexpected exception %lu (%s) in L1: error code %#lx, RIP %#lx, RSP %#lx, RFLAGS %#lx, CR2 "
      "%#lx\n",
      frame->vector, name ? name : "reserved", frame->error_code, frame->rip, frame->rsp,
      frame->rflags, cr2);
  machine_exit(NESTOR_EXIT_UNEXPECTED_EXCEPTION);
}
