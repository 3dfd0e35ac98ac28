// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/gdb/registers.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <functional>
#include <string_view>

namespace nestor::emu {
namespace {

using vmx::CpuState;

// Where a register is looked up.
struct Place {
  const Inspection& machine;
  unsigned processor;
  const CpuState& state() const { return machine.state(processor); }
};

struct GdbRegister {
  std::string_view feature, group;
  std::string name;
  std::string_view type;
  unsigned bits = 64;
  std::function<std::vector<uint8_t>(const Place&)> read{};
  // Empty: it is only read.
  std::function<void(Inspection&, unsigned processor, std::span<const uint8_t>)> write{};
};

std::vector<uint8_t> little_endian(uint64_t value, unsigned bits) {
  std::vector<uint8_t> bytes(bits / 8);
  for (size_t i = 0; i < bytes.size() && i < sizeof value; ++i)
    bytes[i] = static_cast<uint8_t>(value >> (8 * i));
  return bytes;
}

uint64_t number_of(std::span<const uint8_t> bytes) {
  uint64_t value = 0;
  for (size_t i = std::min<size_t>(bytes.size(), sizeof value); i-- != 0;)
    value = value << 8 | bytes[i];
  return value;
}

constexpr std::string_view kCore = "org.gnu.gdb.i386.core", kSse = "org.gnu.gdb.i386.sse",
                           kSegments = "org.gnu.gdb.i386.segments", kControl = "nestor.control",
                           kDebug = "nestor.debug", kDescriptors = "nestor.descriptors",
                           kMsrs = "nestor.msr", kVmx = "nestor.vmx";

class Table {
 public:
  Table() {
    add_general();
    add_x87();
    add_sse();
    add_system();
    add_msrs();
    add_vmx();
  }
  const std::vector<GdbRegister>& registers() const { return registers_; }

 private:
  using Read = std::function<uint64_t(const Place&)>;
  // Where in the state it is.
  using Locate = std::function<uint64_t&(CpuState&)>;

  GdbRegister& add(std::string_view feature, std::string_view group, std::string name,
                   std::string_view type, unsigned bits) {
    registers_.push_back({feature, group, std::move(name), type, bits});
    return registers_.back();
  }
  void add_read(std::string_view feature, std::string_view group, std::string name,
                std::string_view type, unsigned bits, Read read) {
    add(feature, group, std::move(name), type, bits).read = [read = std::move(read),
                                                             bits](const Place& place) {
      return little_endian(read(place), bits);
    };
  }
  void add_state(std::string_view feature, std::string_view group, std::string name,
                 std::string_view type, unsigned bits, const Locate& locate) {
    add_read(feature, group, std::move(name), type, bits, [locate](const Place& place) {
      CpuState state = place.state();
      return locate(state);
    });
    registers_.back().write = [locate](Inspection& machine, unsigned processor,
                                       std::span<const uint8_t> value) {
      locate(machine.edit_state(processor)) = number_of(value);
    };
  }

  void add_general();
  void add_x87();
  void add_sse();
  void add_system();
  void add_msrs();
  void add_vmx();

  std::vector<GdbRegister> registers_;
};

void Table::add_general() {
  constexpr std::array<std::pair<std::string_view, vmx::Gpr>, 16> kGeneral = {{{"rax", vmx::kRax},
                                                                               {"rbx", vmx::kRbx},
                                                                               {"rcx", vmx::kRcx},
                                                                               {"rdx", vmx::kRdx},
                                                                               {"rsi", vmx::kRsi},
                                                                               {"rdi", vmx::kRdi},
                                                                               {"rbp", vmx::kRbp},
                                                                               {"rsp", vmx::kRsp},
                                                                               {"r8", vmx::kR8},
                                                                               {"r9", vmx::kR9},
                                                                               {"r10", vmx::kR10},
                                                                               {"r11", vmx::kR11},
                                                                               {"r12", vmx::kR12},
                                                                               {"r13", vmx::kR13},
                                                                               {"r14", vmx::kR14},
                                                                               {"r15", vmx::kR15}}};
  for (const auto& [name, number] : kGeneral) {
    const bool pointer = number == vmx::kRbp || number == vmx::kRsp;
    add_state(kCore, "", std::string(name), pointer ? "data_ptr" : "int64", 64,
              [number = number](CpuState& s) -> uint64_t& { return s.gpr[number]; });
  }
  add_state(kCore, "", "rip", "code_ptr", 64, [](CpuState& s) -> uint64_t& { return s.rip; });
  add_state(kCore, "", "eflags", "i386_eflags", 32,
            [](CpuState& s) -> uint64_t& { return s.rflags; });
  constexpr std::array<std::pair<std::string_view, vmx::SegmentRegister>, 6> kSelectors = {
      {{"cs", vmx::kCs},
       {"ss", vmx::kSs},
       {"ds", vmx::kDs},
       {"es", vmx::kEs},
       {"fs", vmx::kFs},
       {"gs", vmx::kGs}}};
  for (const auto& [name, number] : kSelectors) {
    add_read(kCore, "", std::string(name), "int32", 32, [number = number](const Place& place) {
      return uint64_t{place.state().segment[number].selector};
    });
  }
}

// FTW of FXSAVE has one bit a register; GDB wants the tag word, two bits each.
uint64_t tag_word(const ExtendedState& state) {
  const unsigned top = state.fsw >> 11 & 7;
  uint64_t tags = 0;
  for (unsigned i = 0; i < 8; ++i) {
    const auto& st = state.st[(i - top) & 7];
    const unsigned exponent = (st[9] & 0x7fu) << 8 | st[8];
    const bool zero = std::all_of(st.begin(), st.begin() + 8, [](uint8_t b) { return b == 0; });
    unsigned tag = 3;  // empty
    if ((state.ftw >> i & 1) != 0)
      tag = exponent == 0 && zero                                  ? 1
            : exponent != 0 && exponent != 0x7fff && st[7] >= 0x80 ? 0
                                                                   : 2;
    tags |= uint64_t{tag} << (2 * i);
  }
  return tags;
}

void Table::add_x87() {
  for (unsigned i = 0; i < 8; ++i) {
    GdbRegister& added = add(kCore, "", fmt::format("st{}", i), "i387_ext", 80);
    added.read = [i](const Place& place) {
      const auto st = place.machine.extended_state(place.processor).st[i];
      return std::vector<uint8_t>(st.begin(), st.end());
    };
    added.write = [i](Inspection& machine, unsigned processor, std::span<const uint8_t> value) {
      ExtendedState state = machine.extended_state(processor);
      std::ranges::copy(value, state.st[i].begin());
      machine.write_extended_state(processor, state);
    };
  }
  using Extended = uint64_t (*)(const ExtendedState&);
  constexpr std::array<std::pair<std::string_view, Extended>, 8> kControls = {
      {{"fctrl", [](const ExtendedState& s) { return uint64_t{s.fcw}; }},
       {"fstat", [](const ExtendedState& s) { return uint64_t{s.fsw}; }},
       {"ftag", tag_word},
       {"fiseg", [](const ExtendedState& s) { return uint64_t{s.fcs}; }},
       {"fioff", [](const ExtendedState& s) { return s.fip; }},
       {"foseg", [](const ExtendedState& s) { return uint64_t{s.fds}; }},
       {"fooff", [](const ExtendedState& s) { return s.fdp; }},
       {"fop", [](const ExtendedState& s) { return uint64_t{s.fop}; }}}};
  for (const auto& [name, get] : kControls) {
    add_read(kCore, "float", std::string(name), "int", 32, [get = get](const Place& place) {
      return get(place.machine.extended_state(place.processor));
    });
  }
}

void Table::add_sse() {
  for (unsigned i = 0; i < 16; ++i) {
    GdbRegister& added = add(kSse, "", fmt::format("xmm{}", i), "vec128", 128);
    added.read = [i](const Place& place) {
      std::vector<uint8_t> bytes;
      const ExtendedState state = place.machine.extended_state(place.processor);
      for (const uint64_t half : state.xmm[i]) {
        const auto part = little_endian(half, 64);
        bytes.insert(bytes.end(), part.begin(), part.end());
      }
      return bytes;
    };
    added.write = [i](Inspection& machine, unsigned processor, std::span<const uint8_t> value) {
      ExtendedState state = machine.extended_state(processor);
      state.xmm[i] = {number_of(value.first(8)), number_of(value.subspan(8))};
      machine.write_extended_state(processor, state);
    };
  }
  add_read(kSse, "vector", "mxcsr", "i386_mxcsr", 32, [](const Place& place) {
    return uint64_t{place.machine.extended_state(place.processor).mxcsr};
  });
  registers_.back().write = [](Inspection& machine, unsigned processor,
                               std::span<const uint8_t> value) {
    ExtendedState state = machine.extended_state(processor);
    state.mxcsr = static_cast<uint32_t>(number_of(value)) & kMxcsrMask;
    machine.write_extended_state(processor, state);
  };
  add_state(kSegments, "", "fs_base", "int", 64,
            [](CpuState& s) -> uint64_t& { return s.segment[vmx::kFs].base; });
  add_state(kSegments, "", "gs_base", "int", 64,
            [](CpuState& s) -> uint64_t& { return s.segment[vmx::kGs].base; });
}

void Table::add_system() {
  const auto state = [&](std::string_view feature, std::string name, const Locate& locate) {
    add_state(feature, "", std::move(name), "int64", 64, locate);
  };
  const auto read = [&](std::string_view feature, std::string name, Read value) {
    add_read(feature, "", std::move(name), "int64", 64, std::move(value));
  };
  state(kControl, "cr0", [](CpuState& s) -> uint64_t& { return s.cr0; });
  state(kControl, "cr2", [](CpuState& s) -> uint64_t& { return s.cr2; });
  // Of who runs, also where shadow page tables run it.
  read(kControl, "cr3", [](const Place& place) { return place.machine.cr3(place.processor); });
  registers_.back().write = [](Inspection& machine, unsigned processor,
                               std::span<const uint8_t> value) {
    machine.edit_state(processor).cr3 = number_of(value);
  };
  state(kControl, "cr4", [](CpuState& s) -> uint64_t& { return s.cr4; });
  for (unsigned i = 0; i < 4; ++i) {
    state(kDebug, fmt::format("dr{}", i), [i](CpuState& s) -> uint64_t& { return s.dr[i]; });
  }
  state(kDebug, "dr6", [](CpuState& s) -> uint64_t& { return s.dr6; });
  state(kDebug, "dr7", [](CpuState& s) -> uint64_t& { return s.dr7; });

  constexpr std::array<std::pair<std::string_view, vmx::SegmentRegister>, 8> kNames = {
      {{"cs", vmx::kCs},
       {"ss", vmx::kSs},
       {"ds", vmx::kDs},
       {"es", vmx::kEs},
       {"fs", vmx::kFs},
       {"gs", vmx::kGs},
       {"ldtr", vmx::kLdtr},
       {"tr", vmx::kTr}}};
  for (const auto& [name, number] : kNames) {
    const auto segment = [number = number](const Place& place) {
      return place.state().segment[number];
    };
    if (number == vmx::kLdtr || number == vmx::kTr)
      read(kDescriptors, std::string(name), [=](const Place& p) { return segment(p).selector; });
    if (number != vmx::kFs && number != vmx::kGs) {
      read(kDescriptors, fmt::format("{}_base", name),
           [=](const Place& p) { return segment(p).base; });
    }
    read(kDescriptors, fmt::format("{}_limit", name),
         [=](const Place& p) { return segment(p).limit; });
    read(kDescriptors, fmt::format("{}_rights", name),
         [=](const Place& p) { return segment(p).rights.value; });
  }
  state(kDescriptors, "gdtr_base", [](CpuState& s) -> uint64_t& { return s.gdtr.base; });
  read(kDescriptors, "gdtr_limit", [](const Place& p) { return uint64_t{p.state().gdtr.limit}; });
  state(kDescriptors, "idtr_base", [](CpuState& s) -> uint64_t& { return s.idtr.base; });
  read(kDescriptors, "idtr_limit", [](const Place& p) { return uint64_t{p.state().idtr.limit}; });
}

void Table::add_msrs() {
  const std::pair<std::string_view, uint64_t CpuState::*> msrs[] = {
      {"efer", &CpuState::efer},
      {"star", &CpuState::star},
      {"lstar", &CpuState::lstar},
      {"cstar", &CpuState::cstar},
      {"fmask", &CpuState::fmask},
      {"kernel_gs_base", &CpuState::kernel_gs_base},
      {"sysenter_cs", &CpuState::sysenter_cs},
      {"sysenter_esp", &CpuState::sysenter_esp},
      {"sysenter_eip", &CpuState::sysenter_eip},
      {"pat", &CpuState::pat},
      {"debugctl", &CpuState::debugctl},
      {"tsc_aux", &CpuState::tsc_aux},
      {"spec_ctrl", &CpuState::spec_ctrl},
      {"misc_enable", &CpuState::misc_enable},
      {"perf_global_ctrl", &CpuState::perf_global_ctrl},
  };
  for (const auto& [name, member] : msrs) {
    add_state(kMsrs, "", std::string(name), "int64", 64,
              [member = member](CpuState& s) -> uint64_t& { return s.*member; });
  }
  add_read(kMsrs, "", "tsc", "int64", 64,
           [](const Place& place) { return place.machine.tsc(place.processor); });
}

void Table::add_vmx() {
  const auto read = [&](std::string name, std::string_view type, Read value) {
    add_read(kVmx, "", std::move(name), type, 64, std::move(value));
  };
  read("vmx_operation", "vmx_operation", [](const Place& place) -> uint64_t {
    if (!place.machine.vmx(place.processor).in_vmx_operation()) return 0;
    return place.machine.level(place.processor) == 2 ? 2 : 1;
  });
  read("level", "int64", [](const Place& place) {
    return static_cast<uint64_t>(place.machine.level(place.processor));
  });
  read("vmcs", "int64", [](const Place& place) {
    const auto pointer = place.machine.vmx(place.processor).current_vmcs_pointer();
    return pointer ? pointer->value : ~uint64_t{0};
  });
  read("eptp", "int64", [](const Place& place) {
    const vmx::Vmcs* vmcs = place.machine.vmcs(place.processor);
    const bool enabled = vmcs != nullptr && vmcs->has(vmx::SecondaryProcBased::kEnableEpt);
    return enabled ? (*vmcs)[vmx::Field::kEptPointer] : 0;
  });
  read("vm_exits", "int64", [](const Place& place) { return place.machine.exits(); });
}

const std::vector<GdbRegister>& table() {
  static const Table kTable;
  return kTable.registers();
}

constexpr std::string_view kCoreTypes =
    "<flags id=\"i386_eflags\" size=\"4\">"
    "<field name=\"CF\" start=\"0\" end=\"0\"/><field name=\"\" start=\"1\" end=\"1\"/>"
    "<field name=\"PF\" start=\"2\" end=\"2\"/><field name=\"AF\" start=\"4\" end=\"4\"/>"
    "<field name=\"ZF\" start=\"6\" end=\"6\"/><field name=\"SF\" start=\"7\" end=\"7\"/>"
    "<field name=\"TF\" start=\"8\" end=\"8\"/><field name=\"IF\" start=\"9\" end=\"9\"/>"
    "<field name=\"DF\" start=\"10\" end=\"10\"/><field name=\"OF\" start=\"11\" end=\"11\"/>"
    "<field name=\"NT\" start=\"14\" end=\"14\"/><field name=\"RF\" start=\"16\" end=\"16\"/>"
    "<field name=\"VM\" start=\"17\" end=\"17\"/><field name=\"AC\" start=\"18\" end=\"18\"/>"
    "<field name=\"VIF\" start=\"19\" end=\"19\"/><field name=\"VIP\" start=\"20\" end=\"20\"/>"
    "<field name=\"ID\" start=\"21\" end=\"21\"/></flags>";
constexpr std::string_view kSseTypes =
    "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>"
    "<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
    "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/>"
    "<vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
    "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/>"
    "<vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
    "<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/>"
    "<field name=\"v2_double\" type=\"v2d\"/><field name=\"v16_int8\" type=\"v16i8\"/>"
    "<field name=\"v8_int16\" type=\"v8i16\"/><field name=\"v4_int32\" type=\"v4i32\"/>"
    "<field name=\"v2_int64\" type=\"v2i64\"/><field name=\"uint128\" type=\"uint128\"/></union>"
    "<flags id=\"i386_mxcsr\" size=\"4\">"
    "<field name=\"IE\" start=\"0\" end=\"0\"/><field name=\"DE\" start=\"1\" end=\"1\"/>"
    "<field name=\"ZE\" start=\"2\" end=\"2\"/><field name=\"OE\" start=\"3\" end=\"3\"/>"
    "<field name=\"UE\" start=\"4\" end=\"4\"/><field name=\"PE\" start=\"5\" end=\"5\"/>"
    "<field name=\"DAZ\" start=\"6\" end=\"6\"/><field name=\"IM\" start=\"7\" end=\"7\"/>"
    "<field name=\"DM\" start=\"8\" end=\"8\"/><field name=\"ZM\" start=\"9\" end=\"9\"/>"
    "<field name=\"OM\" start=\"10\" end=\"10\"/><field name=\"UM\" start=\"11\" end=\"11\"/>"
    "<field name=\"PM\" start=\"12\" end=\"12\"/><field name=\"FZ\" start=\"15\" end=\"15\"/>"
    "</flags>";
constexpr std::string_view kVmxTypes =
    "<enum id=\"vmx_operation\" size=\"8\"><evalue name=\"off\" value=\"0\"/>"
    "<evalue name=\"root\" value=\"1\"/><evalue name=\"non_root\" value=\"2\"/></enum>";

std::string_view types_of(std::string_view feature) {
  if (feature == kCore) return kCoreTypes;
  if (feature == kSse) return kSseTypes;
  return feature == kVmx ? kVmxTypes : std::string_view{};
}

}  // namespace

std::string gdb_target_description() {
  std::string xml =
      "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\">"
      "<target version=\"1.0\"><architecture>i386:x86-64</architecture>";
  std::string_view feature;
  for (const GdbRegister& one : table()) {
    if (one.feature != feature) {
      if (!feature.empty()) xml += "</feature>";
      feature = one.feature;
      xml += fmt::format("<feature name=\"{}\">{}", feature, types_of(feature));
    }
    xml += fmt::format("<reg name=\"{}\" bitsize=\"{}\" type=\"{}\"", one.name, one.bits, one.type);
    if (!one.group.empty()) xml += fmt::format(" group=\"{}\"", one.group);
    xml += "/>";
  }
  return xml + "</feature></target>";
}

size_t gdb_registers() { return table().size(); }

std::optional<size_t> find_gdb_register(std::string_view name) {
  const auto found = std::ranges::find(table(), name, &GdbRegister::name);
  if (found == table().end()) return std::nullopt;
  return static_cast<size_t>(found - table().begin());
}

std::vector<uint8_t> read_gdb_register(const Inspection& machine, unsigned processor,
                                       size_t number) {
  if (number >= table().size()) return {};
  return table()[number].read({machine, processor});
}

std::string write_gdb_register(Inspection& machine, unsigned processor, size_t number,
                               std::span<const uint8_t> value) {
  if (number >= table().size()) return "there is no such register";
  const GdbRegister& one = table()[number];
  if (!one.write) return fmt::format("{} is read only", one.name);
  if (value.size() != one.bits / 8) return fmt::format("{} has {} bytes", one.name, one.bits / 8);
  one.write(machine, processor, value);
  return {};
}

}  // namespace nestor::emu
