// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/qemu/machine.h"

#include <spdlog/fmt/fmt.h>

#include <charconv>
#include <cmath>
#include <optional>

#include "emu/cli/numbers.h"
#include "emu/cli/qemu/reasons.h"
#include "emu/cpu/processor_config.h"

namespace nestor::emu::qemu {
namespace {

using enum Treatment;

// --- -machine and -accel

constexpr std::string_view kMachineHelp =
    "Supported machines are:\n"
    "pc                   Nestor's PC: i440FX, PIIX3 and a PIIX4's ACPI (default)\n"
    "q35                  the same\n";
constexpr std::string_view kAccelHelp =
    "Accelerators supported in QEMU binary:\ntcg\nkvm\nhvf\nwhpx\nhax\nnvmm\n";
constexpr std::string_view kAccelerators = "tcg|kvm|hvf|whpx|hax|nvmm";

Complaint take_type(const std::string& value, Wanted& wanted) {
  if (is_one_of(value, "help|?")) return {std::string(kMachineHelp), ExitStatus::kSuccess};
  if (value == "pc" || value.starts_with("pc-i440fx")) return {};
  if (value == "q35" || value.starts_with("pc-q35")) {
    wanted.report.ignored.push_back("-machine " + value +
                                    " is ignored: the machine is a PC with an i440FX, whose PCI "
                                    "configuration space is also in memory");
    return {};
  }
  if (is_one_of(value, "microvm|isapc|none|xenfv|xenpv|x-remote"))
    return missing("the machine is a PC");
  return fmt::format("there is no machine '{}'; it is pc", value);
}

Complaint take_accel(const std::string& value, Wanted&) {
  if (is_one_of(value, "help|?")) return {std::string(kAccelHelp), ExitStatus::kSuccess};
  // Several, in the order in which they are to be tried.
  for (size_t at = 0; at <= value.size();) {
    const size_t end = std::min(value.find(':', at), value.size());
    const std::string name = value.substr(at, end - at);
    if (name == "xen") return missing(kNoXen);
    if (!is_one_of(name, kAccelerators)) return fmt::format("there is no accelerator '{}'", name);
    at = end + 1;
  }
  return {};
}

constexpr const char* kOwn = "the processor and its board are Nestor's";
constexpr Row<Wanted> kMachineKeys[] = {
    {"type", "NAME", kTaken, "", {}, take_type},
    {"accel", "NAME", kTaken, "", {}, take_accel},
    {"kernel-irqchip", "on|off|split", kMet, kOwn},
    {"kernel_irqchip", "on|off|split", kMet, kOwn},
    {"kvm-shadow-mem", "SIZE", kMet, kOwn},
    {"mem-merge", "on|off", kMet, kOwn},
    {"dump-guest-core", "on|off", kMet, kOwn},
    {"suppress-vmdesc", "on|off", kMet, kOwn},
    {"smm", "on|off", kIgnored, "there is no system management mode", "off|auto"},
    {"vmport", "on|off", kMissing, "there is no port of VMware's", "off|auto"},
    {"usb", "on|off", kIgnored, kNoUsb, "off"},
    {"pit", "on|off", kIgnored, kIsThere, "on"},
    {"pic", "on|off", kIgnored, kIsThere, "on"},
    {"hpet", "on|off", kIgnored, kIsThere, "on"},
    {"acpi", "on|off", kIgnored, "the tables are there in any case", "on|auto"},
    {"sata", "on|off", kIgnored, "there is AHCI for a CD drive alone", "on"},
    {"smbus", "on|off", kIgnored, "there is none", "off"},
    {"fd-bootchk", "on|off", kMet, "there is no floppy drive"},
    {"graphics", "on|off", kIgnored, "use -nographic", "on"},
    {"nvdimm", "on|off", kMissing, "there is no NVDIMM", "off"},
    {"hmat", "on|off", kMissing, "there is no NUMA", "off"},
    {"confidential-guest-support", "ID", kMissing, "memory is not encrypted"},
    {"memory-encryption", "ID", kMissing, "memory is not encrypted"},
    {"memory-backend", "ID", kMet, kOwn},
    {"max-ram-below-4g", "SIZE", kIgnored, "RAM below 4 GiB ends at 3 GiB"},
    {"i8042", "on|off", kIgnored, kIsThere, "on"},
    {"default-bus-bypass-iommu", "on|off", kMet, kNoIommu},
};

constexpr Row<Wanted> kAccelKeys[] = {
    {"accel", "NAME", kTaken, "", {}, take_accel},
    {"thread", "single|multi", kMet, kOwn},
    {"tb-size", "N", kMet, kOwn},
    {"one-insn-per-tb", "on", kMet, kOwn},
    {"split-wx", "on", kMet, kOwn},
    {"kernel-irqchip", "on|off|split", kMet, kOwn},
    {"kvm-shadow-mem", "SIZE", kMet, kOwn},
    {"dirty-ring-size", "N", kMet, kOwn},
    {"notify-vmexit", "run|internal-error|disable", kMet, kOwn},
    {"notify-window", "N", kMet, kOwn},
    {"igd-passthru", "on", kMissing, kNoIommu, "off"},
};

// --- -icount

constexpr const char* kOneClock = "the clock follows the instructions in any case";

Complaint take_shift(const std::string& value, Wanted&) {
  constexpr uint64_t kMost = 10;
  if (value == "auto" || parse_count(value).value_or(kMost + 1) <= kMost) return {};
  return fmt::format("'{}' is neither auto nor a number up to {}", value, kMost);
}

constexpr Row<Wanted> kIcountKeys[] = {
    {"shift", "SHIFT", kTaken, "", {}, take_shift},
    {"align", "on", kMet, kOneClock},
    {"sleep", "on", kIgnored, "use nestor's --realtime", "off"},
    {"rr", "record|replay", kMissing, "each run is the same; nestor's --gdb goes back in one"},
    {"rrfile", "FILE", kMissing, "each run is the same; nestor's --gdb goes back in one"},
    {"rrsnapshot", "NAME", kMissing, "each run is the same; nestor's --gdb goes back in one"},
};

// --- -m

// A number, which may have a fraction, with a suffix; without one it is MiB.
std::optional<double> parse_bytes(std::string_view text) {
  double factor = 1 << 20;
  constexpr std::string_view kSuffixes = "BKMGT";
  if (!text.empty()) {
    const char last = text.back() >= 'a' ? static_cast<char>(text.back() - 'a' + 'A') : text.back();
    if (const size_t power = kSuffixes.find(last); power != kSuffixes.npos) {
      factor = std::ldexp(1.0, static_cast<int>(power) * 10);
      text.remove_suffix(1);
    }
  }
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  constexpr double kMost = 1ull << 52;
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (!(number > 0) || number * factor > kMost) return std::nullopt;
  return number * factor;
}

Complaint take_size(const std::string& value, Wanted& wanted) {
  constexpr uint64_t kUnit = 8192;  // QEMU rounds up to it
  const auto bytes = parse_bytes(value);
  if (!bytes) return fmt::format("'{}' is no size; write MiB, or a number with K, M or G", value);
  wanted.memory_bytes = (static_cast<uint64_t>(std::ceil(*bytes)) + kUnit - 1) / kUnit * kUnit;
  return {};
}

constexpr Row<Wanted> kMemoryKeys[] = {
    {"size", "SIZE", kTaken, "", {}, take_size},
    {"slots", "N", kMet, "memory stays as it is"},
    {"maxmem", "SIZE", kMet, "memory stays as it is"},
};

// --- -smp

struct Topology {
  std::optional<unsigned> cpus{};
  std::optional<unsigned> most{};  // maxcpus
  unsigned product = 1;            // of sockets, cores and threads
  bool has_parts = false;
};

constexpr unsigned kMostProcessors = 1 << 15;  // far more than any machine has

std::optional<unsigned> parse_number(const std::string& text) {
  const auto number = parse_count(text);
  if (number.value_or(0) == 0 || *number > kMostProcessors) return std::nullopt;
  return static_cast<unsigned>(*number);
}

Complaint take_cpus(const std::string& value, Topology& to) {
  to.cpus = parse_number(value);
  return to.cpus ? Complaint() : Complaint(fmt::format("'{}' is no number of processors", value));
}

Complaint take_most(const std::string& value, Topology& to) {
  to.most = parse_number(value);
  return to.most ? Complaint() : Complaint(fmt::format("'{}' is no number of processors", value));
}

Complaint take_part(const std::string& value, Topology& to) {
  const auto number = parse_number(value);
  if (!number) return fmt::format("'{}' is no number", value);
  to.product = std::min(to.product * *number, kMostProcessors);
  to.has_parts = true;
  return {};
}

constexpr Row<Topology> kSmpKeys[] = {
    {"cpus", "N", kTaken, "", {}, take_cpus},    {"sockets", "N", kTaken, "", {}, take_part},
    {"dies", "N", kTaken, "", {}, take_part},    {"clusters", "N", kTaken, "", {}, take_part},
    {"cores", "N", kTaken, "", {}, take_part},   {"threads", "N", kTaken, "", {}, take_part},
    {"maxcpus", "N", kTaken, "", {}, take_most},
};

// --- -boot

Complaint take_order(const std::string& value, Wanted& wanted) {
  wanted.boots_from_cd = value.starts_with('d');
  if (value.starts_with('c') || value.starts_with('d')) return {};
  return missing("there are disks (c) and a CD drive (d)");
}

constexpr Row<Wanted> kBootKeys[] = {
    {"order", "cd", kTaken, "", {}, take_order},
    {"once", "cd", kTaken, "", {}, take_order},
    {"menu", "on|off", kIgnored, "firmware has no menu", "off"},
    {"strict", "on|off", kMet, "firmware starts what is there"},
    {"splash", "FILE", kIgnored, "SeaBIOS shows no picture here"},
    {"splash-time", "N", kIgnored, "SeaBIOS shows no picture here"},
    {"reboot-timeout", "TIME", kIgnored, "a reset ends the run"},
};

constexpr Row<Wanted> kRtcKeys[] = {
    {"base", "DATE", kIgnored, "the clock starts at 2000-01-01 00:00:00, so that runs repeat"},
    {"clock", "host|rt|vm", kMet, "the clock is that of the machine"},
    {"driftfix", "none|slew", kMet, "the clock is that of the machine"},
};

}  // namespace

Complaint read_machine(const std::string& text, Wanted& wanted) {
  return apply_keys<Wanted>("-machine", split_keys(text, "type"), kMachineKeys, wanted,
                            wanted.report);
}

Complaint read_accel(const std::string& text, Wanted& wanted) {
  return apply_keys<Wanted>("-accel", split_keys(text, "accel"), kAccelKeys, wanted, wanted.report);
}

Complaint read_memory(const std::string& text, Wanted& wanted) {
  return apply_keys<Wanted>("-m", split_keys(text, "size"), kMemoryKeys, wanted, wanted.report);
}

Complaint read_smp(const std::string& text, Wanted& wanted) {
  Topology topology;
  if (Complaint bad =
          apply_keys<Topology>("-smp", split_keys(text, "cpus"), kSmpKeys, topology, wanted.report);
      !bad.empty())
    return bad;
  wanted.cpus = topology.cpus.value_or(topology.product);
  if (topology.most && *topology.most < wanted.cpus)
    return fmt::format("maxcpus={} is less than {}", *topology.most, wanted.cpus);
  if (wanted.cpus > ProcessorConfig::kMaxCount) {
    return missing(fmt::format("invalid number of SMP CPUs {}; the most that there are is {}",
                               wanted.cpus, ProcessorConfig::kMaxCount));
  }
  return {};
}

Complaint read_boot(const std::string& text, Wanted& wanted) {
  return apply_keys<Wanted>("-boot", split_keys(text, "order"), kBootKeys, wanted, wanted.report);
}

Complaint read_rtc(const std::string& text, Wanted& wanted) {
  return apply_keys<Wanted>("-rtc", split_keys(text, "base"), kRtcKeys, wanted, wanted.report);
}

Complaint read_icount(const std::string& text, Wanted& wanted) {
  return apply_keys<Wanted>("-icount", split_keys(text, "shift"), kIcountKeys, wanted,
                            wanted.report);
}

Complaint read_gdb(const std::string& text, Wanted& wanted) {
  constexpr std::string_view kTcp = "tcp:", kUnix = "unix:";
  const std::string address = text.substr(0, text.find(','));
  if (address == "none") {
    wanted.gdb.reset();
  } else if (address == "stdio" || address.starts_with(kUnix)) {
    wanted.gdb = address;
  } else if (address.starts_with(kTcp)) {
    wanted.gdb = address.substr(kTcp.size());
  } else {
    return missing("GDB comes by tcp:HOST:PORT, unix:PATH or stdio");
  }
  return {};
}

}  // namespace nestor::emu::qemu
