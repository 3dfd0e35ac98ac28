// SPDX-License-Identifier: GPL-2.0-or-later
//
// The first processor: starts the second one, and then sends its guest whatever a processor can
// send.
#include "guest-images/lib/console.h"
#include "guest-images/lib/image_main.h"
#include "guest-images/lib/memory.h"
#include "guest-images/lib/processor.h"
#include "guest-images/lib/vmcs.h"
#include "guest-images/lib/vmx_names.h"
#include "guest-images/two-processors/apic.h"
#include "guest-images/two-processors/shared.h"

static const char kImage[] = "two-processors";

extern const uint8_t start_up_code[], start_up_code_end[], start_up_cr3[];  // start_up.S

enum {
  kPatience = 1000000,  // turns of a loop with PAUSE before something is not coming any more
  kMoment = 1000,
  kInterruptVector = 0x41,
  kSipiVector = 0x9a,
  kInformationValid = 1u << 31,
};

static unsigned failures;

static void check(bool condition, const char* what) {
  if (condition) return;
  print("  FAIL: %s\n", what);
  failures++;
}

static bool comes(const volatile uint32_t* counter, uint32_t value) {
  for (unsigned i = 0; i < kPatience; i++) {
    if (*counter >= value) return true;
    pause();
  }
  return false;
}

static void await(const volatile uint32_t* counter, uint32_t value, const char* what) {
  if (!comes(counter, value)) give_up("%s does not come", what);
}

static void await_flag(const volatile bool* flag, const char* what) {
  for (unsigned i = 0; !*flag; i++) {
    if (i == kPatience) give_up("%s does not come", what);
    pause();
  }
}

static void wait_a_moment(void) {
  for (unsigned i = 0; i < kMoment; i++) pause();
}

// Start-up IPIs are not remembered: one is sent again and again until it has had its effect.
static void start_up(uint32_t to, uint8_t vector, const volatile uint32_t* counter,
                     uint32_t value) {
  for (unsigned i = 0; *counter < value; i++) {
    if (i == kMoment) give_up("the start-up IPI has no effect");
    apic_send(to, kIpiStartUp | vector);
    wait_a_moment();
  }
}

static void start_second_processor(void) {
  uint8_t* const page = (uint8_t*)START_UP_PAGE;
  memcpy(page, start_up_code, (size_t)(start_up_code_end - start_up_code));
  const uint32_t cr3 = (uint32_t)read_cr3();
  memcpy(page + (start_up_cr3 - start_up_code), &cr3, sizeof cr3);
  // "MP Initialization Protocol Algorithm": INIT, and the start-up IPI twice.
  apic_send_to_all_others(kIpiInit);
  wait_a_moment();
  apic_send_to_all_others(kIpiStartUp | START_UP_VECTOR);
  wait_a_moment();
  if (start_ups == 0) apic_send_to_all_others(kIpiStartUp | START_UP_VECTOR);
  if (!comes(&start_ups, 1)) machine_lacks("a second processor (nestor run --cpus 2)");
}

// Waits for VM exit number COUNT, which must have this reason.
static const ExitRecord* await_exit(uint32_t count, uint32_t reason) {
  await(&exits_handled, count, exit_reason_name(reason));
  const ExitRecord* const record = &exit_records[count - 1];
  print("  VM exit: %s\n", exit_reason_name(record->reason));
  check(record->reason == reason, "the reason of the VM exit");
  return record;
}

void image_main(void) {
  print("%s: a guest on one, signals from the other\n", kImage);
  if (!(cpuid(1, 0).ecx & kCpuid1EcxX2apic)) machine_lacks("x2APIC mode");
  apic_enable();
  start_second_processor();
  print("the second processor has started in real mode at %#x\n", START_UP_PAGE);
  await(&guest_stage, 1, "the guest");
  const uint32_t second = second_id;
  print("its guest runs; its APIC ID is %u\n", second);
  uint32_t exits = 0;

  print("NMI to a guest that is active\n");
  apic_send(second, kIpiNmi);
  const ExitRecord* record = await_exit(++exits, kExitExceptionOrNmi);
  check(record->interruption == (kInformationValid | 0x202u), "it is an NMI");

  await(&guest_stage, 2, "HLT");
  wait_a_moment();
  print("interrupt %#x to a guest that has halted\n", kInterruptVector);
  apic_send(second, kIpiFixed | kInterruptVector);
  record = await_exit(++exits, kExitExternalInterrupt);
  check(record->interruption == (kInformationValid | kInterruptVector), "its vector");
  print("  activity state %u\n", record->activity);

  await(&guest_stage, 3, "the guest's last loop");
  print("start-up IPI to a guest that is active: dropped; then INIT\n");
  apic_send(second, kIpiStartUp | kSipiVector);
  wait_a_moment();
  apic_send(second, kIpiInit);
  await_exit(++exits, kExitInit);

  if (VMX_MISC_WAIT_FOR_SIPI(read_msr(kMsrVmxMisc))) {
    print("start-up IPI to a guest that waits for it\n");
    start_up(second, kSipiVector, &exits_handled, exits + 1);
    record = await_exit(++exits, kExitSipi);
    check(record->qualification == kSipiVector, "the vector in the exit qualification");
    check(record->activity == 3, "the activity state");
  } else {
    print("skipped: wait-for-sipi: the processor does not offer this activity state\n");
  }
  await_exit(++exits, kExitVmcall);

  print("INIT to a processor in VMX root operation\n");
  await_flag(&in_root_operation, "the end of the guest");
  apic_send(second, kIpiInit);
  wait_a_moment();
  init_sent = true;
  await_flag(&init_survived, "a sign of life after INIT");
  print("  it goes on, as INIT is blocked there\n");
  restart_expected = true;
  start_up(second, START_UP_VECTOR, &start_ups, start_ups + 1);
  print("  VMXOFF let INIT in, and a start-up IPI has started it again\n");
  finish(kImage, failures);
}
