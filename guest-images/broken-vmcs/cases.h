// SPDX-License-Identifier: GPL-2.0-or-later
//
// The gallery's vocabulary: a case is a valid VMCS with one thing broken, and what must come of it.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest-images/lib/vmcs.h"

// How a VMX instruction or a VM entry ended.
typedef enum {
  kSucceeded,
  kFailedInvalid,  // VMfailInvalid
  kFailedValid,    // VMfailValid: number = VM-instruction error
  kExited,  // VM exit, or failed VM entry: number = exit reason field, and its exit qualification
} OutcomeKind;

typedef struct {
  OutcomeKind kind;
  uint32_t number;
  uint64_t qualification;
  uint32_t or_number;  // expected outcomes only: another VM-instruction error that the manual
                       // permits; 0 = none
} Outcome;

#define FAILS_INVALID \
  { .kind = kFailedInvalid }
#define FAILS_WITH(error) \
  { .kind = kFailedValid, .number = (error) }
#define FAILS_WITH_EITHER(error, other) \
  { .kind = kFailedValid, .number = (error), .or_number = (other) }
#define BAD_GUEST_STATE(qualifies) \
  { .kind = kExited, .number = 0x80000021, .qualification = (qualifies) }
#define BAD_MSR_LOADING(entry) \
  { .kind = kExited, .number = 0x80000022, .qualification = (entry) }

enum {
  kErrorVmcallInRoot = 1,
  kErrorVmclearAddress = 2,
  kErrorVmclearVmxonPointer = 3,
  kErrorVmlaunchNonClear = 4,
  kErrorVmresumeNonLaunched = 5,
  kErrorControls = 7,
  kErrorHostState = 8,
  kErrorVmptrldAddress = 9,
  kErrorVmptrldVmxonPointer = 10,
  kErrorVmptrldRevision = 11,
  kErrorUnsupportedField = 12,
  kErrorReadOnlyField = 13,
  kErrorVmxonInRoot = 15,
  kErrorBlockedByMovSs = 26,
  kErrorInvalidation = 28,
};

// Exit qualifications of "VM-entry failure due to invalid guest state".
enum {
  kQualificationNone = 0,
  kQualificationPdptes = 2,
  kQualificationNmiBlockedBySti = 3,
  kQualificationLinkPointer = 4,
};

// Controls that a case sets; where the processor does not offer them, the case is skipped.
typedef struct {
  ControlField field;
  uint32_t bits;
} NeededControls;

// field = (field & ~clear) | set. All zeros: unused.
typedef struct {
  VmcsField field;
  uint64_t clear, set;
} Change;

#define SET(field, bits) \
  { (field), 0, (bits) }
#define CLEAR(field, bits) \
  { (field), (bits), 0 }
#define VALUE(field, value) \
  { (field), ~0ull, (value) }

typedef struct {
  const char* name;
  const char* why;  // the rule that is broken
  Outcome expected;
  NeededControls needs[3];
  Change changes[8];
  // Says why the case does not apply to this processor; null if it does. May be absent.
  const char* (*unfit)(void);
} EntryCase;

typedef struct {
  const EntryCase* cases;
  size_t count;
} EntryCases;

// The groups of the gallery, in the manual's order.
EntryCases control_cases(void);
EntryCases injection_cases(void);
EntryCases host_state_cases(void);
EntryCases guest_state_cases(void);
EntryCases guest_segment_cases(void);
EntryCases msr_loading_cases(void);

// Makes VMCS_REGION the current VMCS, clear, and fills it with a valid guest that executes VMCALL.
void valid_vmcs_make(void);
extern uint8_t vmxon_region[4096], vmcs_region[4096];

// VMLAUNCH or VMRESUME of the current VMCS.
Outcome entry_outcome(bool resume);

// Prints one line for a case that ran, or was skipped. Counts failures.
void report(const char* name, const char* why, Outcome expected, Outcome actual);
void report_skipped(const char* name, const char* why);

// The VMX instructions other than VM entries of the groups above.
void run_instruction_cases(void);

// Values that are wrong wherever they appear: no canonical address, beyond any physical-address
// width, no page.
#define NON_CANONICAL (1ull << 63)
#define BEYOND_WIDTH (1ull << 62)
#define MISALIGNED 1ull
