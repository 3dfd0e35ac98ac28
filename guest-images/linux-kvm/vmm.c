// SPDX-License-Identifier: GPL-2.0-or-later
//
// A virtual machine monitor on /dev/kvm that is just large enough for a Linux kernel: one
// processor, KVM's own interrupt controllers and 8254, and a 16550 whose output goes to the
// standard output.
//   vmm KERNEL INITRAMFS COMMAND-LINE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
  kMemory = 160 << 20,
  // Where things are put, all below the kernel.
  kGdt = 0x1000,
  kPml4 = 0x2000,
  kPdpt = 0x3000,
  kPageDirectory = 0x4000,  // and three more
  kZeroPage = 0x10000,
  kCommandLine = 0x11000,
  kStack = 0x20000,
  // The keyboard controller, through which the guest resets the machine: that ends the run.
  kKeyboardPort = 0x64,
  kReset = 0xfe,
  kSerialPort = 0x3f8,
  kSerialIrq = 4,
};

// "The Linux/x86 Boot Protocol": offsets in the kernel's file and in the zero page.
enum {
  kE820Count = 0x1e8,
  kSetupSectors = 0x1f1,
  kJump = 0x201,
  kHeader = 0x202,
  kLoaderType = 0x210,
  kRamdisk = 0x218,
  kRamdiskSize = 0x21c,
  kCommandLinePointer = 0x228,
  kPreferredAddress = 0x258,
  kE820Table = 0x2d0,
  kE820Entry = 20,
  kEntry64 = 0x200,  // behind the start of the kernel
};

static uint8_t* memory;
static int vm;

static void fail(const char* what) {
  fprintf(stderr, "vmm: %s: %s\n", what, strerror(errno));
  exit(1);
}

static int request(int fd, unsigned long number, void* argument, const char* name) {
  const int result = ioctl(fd, number, argument);
  if (result < 0) fail(name);
  return result;
}

static void put(uint32_t at, uint64_t value, size_t size) { memcpy(memory + at, &value, size); }

// Allocates what it returns.
static uint8_t* read_file(const char* name, size_t* size) {
  const int file = open(name, O_RDONLY);
  struct stat status;
  if (file < 0 || fstat(file, &status) < 0) fail(name);
  *size = (size_t)status.st_size;
  uint8_t* content = malloc(*size);
  if (content == NULL) fail(name);
  for (size_t at = 0; at != *size;) {
    const ssize_t got = read(file, content + at, *size - at);
    if (got <= 0) fail(name);
    at += (size_t)got;
  }
  close(file);
  return content;
}

// Returns the address of the 64-bit entry.
static uint64_t load_kernel(const char* kernel_name, const char* initramfs_name,
                            const char* command_line) {
  size_t kernel_size, initramfs_size;
  uint8_t* kernel = read_file(kernel_name, &kernel_size);
  uint8_t* initramfs = read_file(initramfs_name, &initramfs_size);
  if (kernel_size < 0x1000 || memcmp(kernel + kHeader, "HdrS", 4) != 0) {
    fprintf(stderr, "vmm: %s is no bzImage\n", kernel_name);
    exit(1);
  }
  uint64_t start;
  memcpy(&start, kernel + kPreferredAddress, sizeof start);
  const size_t setup = (kernel[kSetupSectors] + 1u) * 512;
  const uint64_t initramfs_at = (kMemory - initramfs_size) & ~0xfffull;
  if (initramfs_size > kMemory / 2 || start + kernel_size > kMemory / 2) {
    fprintf(stderr, "vmm: kernel and initramfs are too large\n");
    exit(1);
  }
  memcpy(memory + start, kernel + setup, kernel_size - setup);
  memcpy(memory + initramfs_at, initramfs, initramfs_size);
  memcpy(memory + kZeroPage + kSetupSectors, kernel + kSetupSectors,
         kHeader + kernel[kJump] - kSetupSectors);
  snprintf((char*)memory + kCommandLine, 0x1000, "%s", command_line);
  put(kZeroPage + kLoaderType, 0xff, 1);
  put(kZeroPage + kRamdisk, initramfs_at, 4);
  put(kZeroPage + kRamdiskSize, initramfs_size, 4);
  put(kZeroPage + kCommandLinePointer, kCommandLine, 4);
  const uint64_t ranges[2][2] = {{0, 0x9fc00}, {0x100000, kMemory - 0x100000}};
  for (int i = 0; i < 2; ++i) {
    const uint32_t entry = (uint32_t)(kZeroPage + kE820Table + i * kE820Entry);
    put(entry, ranges[i][0], 8);
    put(entry + 8, ranges[i][1], 8);
    put(entry + 16, 1, 4);  // RAM
  }
  put(kZeroPage + kE820Count, 2, 1);
  free(kernel);
  free(initramfs);
  return start + kEntry64;
}

// 64-bit mode, with the first 4 GiB mapped to themselves.
static void enter_64_bit_mode(int processor, uint64_t entry) {
  put(kGdt + 0x10, 0x00af9b000000ffff, 8);
  put(kGdt + 0x18, 0x00cf93000000ffff, 8);
  put(kPml4, kPdpt | 3, 8);
  for (uint32_t i = 0; i < 4; ++i) put(kPdpt + 8 * i, (kPageDirectory + i * 0x1000) | 3, 8);
  for (uint32_t i = 0; i < 2048; ++i) put(kPageDirectory + 8 * i, (uint64_t)i << 21 | 0x83, 8);
  struct kvm_sregs system;
  request(processor, KVM_GET_SREGS, &system, "KVM_GET_SREGS");
  struct kvm_segment code = {
      .limit = 0xffffffff, .selector = 0x10, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1};
  struct kvm_segment data = {
      .limit = 0xffffffff, .selector = 0x18, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1};
  system.cs = code;
  system.ds = system.es = system.fs = system.gs = system.ss = data;
  system.gdt.base = kGdt;
  system.gdt.limit = 0x1f;
  system.cr3 = kPml4;
  system.cr4 = 0x20;        // PAE
  system.cr0 = 0x80010011;  // PG, WP, ET, PE
  system.efer = 0x500;      // LMA, LME
  request(processor, KVM_SET_SREGS, &system, "KVM_SET_SREGS");
  struct kvm_regs registers = {.rip = entry, .rsi = kZeroPage, .rsp = kStack, .rflags = 2};
  request(processor, KVM_SET_REGS, &registers, "KVM_SET_REGS");
}

// --- a 16550 that receives nothing

enum {
  kData,
  kInterruptEnable,
  kInterruptId,
  kLineControl,
  kModemControl,
  kLineStatus,
  kModemStatus,
  kScratch
};

static struct {
  uint8_t interrupt_enable, line_control, modem_control, scratch, divisor[2];
  int empty;  // the interrupt of an empty transmitter waits
} serial;

static void update_serial_irq(void) {
  struct kvm_irq_level line = {.irq = kSerialIrq,
                               .level = (serial.interrupt_enable & 2) != 0 && serial.empty};
  request(vm, KVM_IRQ_LINE, &line, "KVM_IRQ_LINE");
}

static uint8_t read_serial(int at) {
  const int latch = serial.line_control & 0x80;
  switch (at) {
    case kData:
      return latch ? serial.divisor[0] : 0;
    case kInterruptEnable:
      return latch ? serial.divisor[1] : serial.interrupt_enable;
    case kInterruptId:
      if ((serial.interrupt_enable & 2) == 0 || !serial.empty) return 0xc1;
      serial.empty = 0;
      update_serial_irq();
      return 0xc2;
    case kLineControl:
      return serial.line_control;
    case kModemControl:
      return serial.modem_control;
    case kLineStatus:
      return 0x60;  // the transmitter is empty
    case kModemStatus:
      return serial.modem_control & 0x10 ? (uint8_t)(serial.modem_control << 4) : 0xb0;
    default:
      return serial.scratch;
  }
}

static void write_serial(int at, uint8_t value) {
  const int latch = serial.line_control & 0x80;
  switch (at) {
    case kData:
      if (latch) {
        serial.divisor[0] = value;
        return;
      }
      putchar(value);
      if (value == '\n') fflush(stdout);
      serial.empty = 1;
      break;
    case kInterruptEnable:
      if (latch) {
        serial.divisor[1] = value;
        return;
      }
      serial.interrupt_enable = value & 15;
      serial.empty |= (value & 2) != 0;
      break;
    case kLineControl:
      serial.line_control = value;
      return;
    case kModemControl:
      serial.modem_control = value;
      return;
    case kScratch:
      serial.scratch = value;
      return;
    default:
      return;
  }
  update_serial_irq();
}

// --- exits

// 0: the guest has reset the machine.
static int handle_io(struct kvm_run* run) {
  static uint8_t rtc_index;
  const int at = run->io.port - kSerialPort, is_serial = at >= 0 && at < 8;
  uint8_t* data = (uint8_t*)run + run->io.data_offset;
  for (uint32_t i = 0; i < run->io.count; ++i, data += run->io.size) {
    if (run->io.direction == KVM_EXIT_IO_OUT) {
      if (run->io.port == kKeyboardPort && *data == kReset) return 0;
      if (is_serial) write_serial(at, *data);
      if (run->io.port == 0x70) rtc_index = *data & 0x7f;
      continue;
    }
    memset(data, 0xff, run->io.size);
    if (is_serial) *data = read_serial(at);
    if (run->io.port == kKeyboardPort) *data = 0;  // it is ready
    // A clock that stands still: its registers A to D, and the first of January.
    static const uint8_t kRtc[] = {0x26, 0x02, 0x00, 0x80};
    if (run->io.port == 0x71) *data = rtc_index >= 10 && rtc_index < 14 ? kRtc[rtc_index - 10] : 1;
  }
  return 1;
}

int main(int count, char** arguments) {
  if (count != 4) {
    fprintf(stderr, "usage: vmm KERNEL INITRAMFS COMMAND-LINE\n");
    return 2;
  }
  const int kvm = open("/dev/kvm", O_RDWR);
  if (kvm < 0) fail("/dev/kvm");
  vm = request(kvm, KVM_CREATE_VM, NULL, "KVM_CREATE_VM");
  // Three pages and one that KVM needs, where nothing else is.
  uint64_t identity_map = 0xfffbc000;
  if (ioctl(vm, KVM_SET_IDENTITY_MAP_ADDR, &identity_map) < 0) fail("KVM_SET_IDENTITY_MAP_ADDR");
  if (ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000) < 0) fail("KVM_SET_TSS_ADDR");
  request(vm, KVM_CREATE_IRQCHIP, NULL, "KVM_CREATE_IRQCHIP");
  struct kvm_pit_config pit = {0};
  request(vm, KVM_CREATE_PIT2, &pit, "KVM_CREATE_PIT2");
  memory = mmap(NULL, kMemory, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail("memory of the guest");
  struct kvm_userspace_memory_region region = {.memory_size = kMemory,
                                               .userspace_addr = (uintptr_t)memory};
  request(vm, KVM_SET_USER_MEMORY_REGION, &region, "KVM_SET_USER_MEMORY_REGION");

  const int processor = request(vm, KVM_CREATE_VCPU, NULL, "KVM_CREATE_VCPU");
  const int run_size = request(kvm, KVM_GET_VCPU_MMAP_SIZE, NULL, "KVM_GET_VCPU_MMAP_SIZE");
  struct kvm_run* run =
      mmap(NULL, (size_t)run_size, PROT_READ | PROT_WRITE, MAP_SHARED, processor, 0);
  if (run == MAP_FAILED) fail("kvm_run");
  enum { kMostCpuidEntries = 256 };
  struct kvm_cpuid2* cpuid =
      calloc(1, sizeof *cpuid + kMostCpuidEntries * sizeof cpuid->entries[0]);
  if (cpuid == NULL) fail("CPUID");
  cpuid->nent = kMostCpuidEntries;
  request(kvm, KVM_GET_SUPPORTED_CPUID, cpuid, "KVM_GET_SUPPORTED_CPUID");
  request(processor, KVM_SET_CPUID2, cpuid, "KVM_SET_CPUID2");
  enter_64_bit_mode(processor, load_kernel(arguments[1], arguments[2], arguments[3]));

  for (unsigned long exits = 1;; ++exits) {
    if (ioctl(processor, KVM_RUN, 0) < 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      fail("KVM_RUN");
    }
    switch (run->exit_reason) {
      case KVM_EXIT_IO:
        if (handle_io(run)) break;
        printf("vmm: the guest resets its machine, after %lu exits to vmm\n", exits);
        return 0;
      case KVM_EXIT_MMIO:
        if (!run->mmio.is_write) memset(run->mmio.data, 0xff, sizeof run->mmio.data);
        break;
      default:
        fprintf(stderr, "vmm: KVM ends with exit reason %u\n", run->exit_reason);
        return 1;
    }
  }
}
