// SPDX-License-Identifier: GPL-2.0-or-later
//
// Writes the price tables of emu/timing/tables/ from the scheduling models of LLVM 22. Called by
// scripts/price-tables/generate, which builds it; docs/timing.md, "The tables".
//
//   generate OVERRIDES FOLDER
//
// Every encoding that emu/timing/encoding.h can name is disassembled once by LLVM. An encoding's
// form is LLVM's instruction with the places in which its register operands are encoded.
#include <llvm/MC/MCAsmInfo.h>
#include <llvm/MC/MCContext.h>
#include <llvm/MC/MCDisassembler/MCDisassembler.h>
#include <llvm/MC/MCInst.h>
#include <llvm/MC/MCInstrDesc.h>
#include <llvm/MC/MCInstrInfo.h>
#include <llvm/MC/MCRegisterInfo.h>
#include <llvm/MC/MCSubtargetInfo.h>
#include <llvm/MC/MCTargetOptions.h>
#include <llvm/MC/TargetRegistry.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/TargetParser/Triple.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <tuple>
#include <vector>

#include "emu/timing/table_types.h"
#include "scripts/price-tables/overrides.h"

namespace nestor::emu::timing {
namespace {

struct Cpu {
  const char* file;
  const char* llvm_name;
};
constexpr Cpu kCpus[] = {{"haswell", "haswell"},
                         {"broadwell", "broadwell"},
                         {"skylake_server", "skylake-avx512"},
                         {"ice_lake", "icelake-server"}};
constexpr size_t kCpuCount = std::size(kCpus);

// Registers that stand in the places of an encoding while forms are found out: each another one.
constexpr unsigned kReg = 7, kRm = 6, kVvvv = 5, kIs4 = 4;

struct Register {
  RegisterClass type = RegisterClass::kNone;
  unsigned number = 0;
};

struct Price {
  unsigned latency = 0, operand_latency = 0, uops = 0;
  std::vector<Use> use;
  auto operator<=>(const Price&) const = default;
};

struct FoundForm {
  Form form;
  std::string name;
  std::array<std::optional<Price>, kCpuCount> price;
};

class Generator {
 public:
  explicit Generator(const std::string& overrides) {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86Disassembler();
    const llvm::Triple triple("x86_64-unknown-linux-gnu");
    std::string error;
    const llvm::Target* target = llvm::TargetRegistry::lookupTarget(triple, error);
    if (target == nullptr) fail(error);
    registers_.reset(target->createMCRegInfo(triple));
    instructions_.reset(target->createMCInstrInfo());
    assembler_.reset(target->createMCAsmInfo(*registers_, triple, options_));
    for (const Cpu& cpu : kCpus)
      subtargets_.emplace_back(target->createMCSubtargetInfo(triple, cpu.llvm_name, ""));
    context_ = std::make_unique<llvm::MCContext>(triple, assembler_.get(), registers_.get(),
                                                 subtargets_[0].get());
    disassembler_.reset(target->createMCDisassembler(*subtargets_[2], *context_));
    overrides_ = read_overrides(overrides);
  }

  void find_forms() {
    forms_.push_back({});  // form 0: none
    for (uint32_t key = 0; key < EncodingKey::kEnd; ++key) {
      if (!EncodingKey::from(key).meaningful()) continue;
      const uint16_t form = form_of(EncodingKey::from(key));
      if (runs_.empty() || runs_.back().second != form) runs_.emplace_back(key, form);
    }
    for (const Override& rule : overrides_)
      if (!rule.used) fail("a rule of the overrides matches nothing");
  }

  void write(const std::string& folder) const {
    write_forms(folder + "/forms.inc");
    for (size_t cpu = 0; cpu < kCpuCount; ++cpu)
      write_prices(folder + "/" + kCpus[cpu].file + ".inc", cpu);
  }

 private:
  static std::vector<uint8_t> bytes_of(const EncodingKey& key, unsigned vvvv) {
    std::vector<uint8_t> bytes;
    const auto add = [&](unsigned byte) { bytes.push_back(static_cast<uint8_t>(byte)); };
    if (key.space < kFirstVexSpace) {
      if (key.lock) add(0xf0);
      if (key.repeat == EncodingKey::kRepne) add(0xf2);
      if (key.repeat == EncodingKey::kRep) add(0xf3);
      if (key.operand_size) add(0x66);
      if (key.wide) add(0x48);
      if (key.space != 0) add(0x0f);
      if (key.space == 2) add(0x38);
      if (key.space == 3) add(0x3a);
    } else {
      add(0xc4);
      add(0xe0u | (key.space - kFirstVexSpace + 1u));
      const unsigned pp = key.operand_size                    ? 1
                          : key.repeat == EncodingKey::kRep   ? 2
                          : key.repeat == EncodingKey::kRepne ? 3
                                                              : 0;
      add((key.wide ? 0x80u : 0u) | (~vvvv & 0xfu) << 3 | (key.vector_256 ? 4u : 0u) | pp);
    }
    add(key.opcode);
    add((key.memory ? 0u : 0xc0u) | unsigned{key.reg} << 3 | (key.memory ? kRm : key.rm));
    for (int i = 0; i < 12; ++i) add(kIs4 << 4);
    return bytes;
  }

  std::optional<llvm::MCInst> decode(const EncodingKey& key, unsigned vvvv) const {
    const std::vector<uint8_t> bytes = bytes_of(key, vvvv);
    llvm::MCInst instruction;
    uint64_t size = 0;
    if (disassembler_->getInstruction(instruction, size, bytes, 0x1000, llvm::nulls()) !=
        llvm::MCDisassembler::Success)
      return std::nullopt;
    // LLVM takes a prefix that it does not understand for an instruction.
    if (instructions_->getName(instruction.getOpcode()).ends_with("_PREFIX")) return std::nullopt;
    return instruction;
  }

  static bool is_prefix(const EncodingKey& key) {
    if (key.space != 0) return false;
    const unsigned o = key.opcode;
    return (o & 0xe7) == 0x26 || (o & 0xf0) == 0x40 || (o >= 0x64 && o <= 0x67) || o == 0xf0 ||
           o == 0xf2 || o == 0xf3 || o == 0x0f || o == 0xc4 || o == 0xc5 || o == 0x62 ||
           o == 0xd5 || (o == 0x8f && key.reg != 0);
  }

  uint16_t form_of(const EncodingKey& key) {
    if (is_prefix(key)) return 0;
    const bool vex = key.space >= kFirstVexSpace;
    // LLVM's disassembler takes LOCK for an instruction; which ones it may precede is not asked.
    EncodingKey unlocked = key;
    unlocked.lock = false;
    auto instruction = decode(unlocked, vex ? kVvvv : 0);
    if (vex && !instruction) instruction = decode(key, 0);
    if (!instruction) return 0;
    // Places are found out where each register is another one; the rest is the same.
    EncodingKey shown = unlocked;
    const llvm::MCInst* placed = &*instruction;
    std::optional<llvm::MCInst> other;
    if (key.reg != kReg || (!key.memory && key.rm != kRm)) {
      for (const unsigned reg : {kReg, unsigned{key.reg}}) {
        for (const unsigned rm : {kRm, unsigned{key.rm}}) {
          shown.reg = static_cast<uint8_t>(reg);
          shown.rm = static_cast<uint8_t>(key.memory ? 0 : rm);
          other = decode(shown, vex ? kVvvv : 0);
          if (vex && !other) other = decode(shown, 0);
          if (other && other->getOpcode() == instruction->getOpcode()) {
            placed = &*other;
            goto found;
          }
        }
      }
    }
  found:
    const Form form = describe(shown, *placed);
    const llvm::MCInstrDesc& desc = instructions_->get(placed->getOpcode());
    if (key.lock && !(desc.mayLoad() && desc.mayStore())) return 0;
    const auto identity =
        std::make_tuple(placed->getOpcode(), form, key.lock, above_or_below(*placed));
    const auto known = known_.find(identity);
    if (known != known_.end()) return known->second;
    const auto number = static_cast<uint16_t>(forms_.size());
    known_.emplace(identity, number);
    std::string name = instructions_->getName(placed->getOpcode()).str();
    if (key.lock) name = "LOCK_" + name;
    FoundForm found{form, name, {}};
    for (size_t cpu = 0; cpu < kCpuCount; ++cpu) found.price[cpu] = price_of(*placed, found, cpu);
    forms_.push_back(std::move(found));
    return number;
  }

  // The condition of an instruction with one: -1, or 1 for those that read CF and ZF.
  int above_or_below(const llvm::MCInst& instruction) const {
    const llvm::MCInstrDesc& desc = instructions_->get(instruction.getOpcode());
    for (unsigned i = 0; i < desc.getNumOperands(); ++i) {
      if (desc.operands()[i].OperandType == kConditionOperand) {
        const auto condition = instruction.getOperand(i).getImm();
        return condition == 6 || condition == 7;
      }
    }
    return -1;
  }
  // llvm::X86::OPERAND_COND_CODE, which LLVM keeps to itself.
  static constexpr unsigned kConditionOperand = llvm::MCOI::OPERAND_FIRST_TARGET + 2;

  Register register_of(unsigned id) const {
    const std::string name = registers_->getName(id);
    const auto number = static_cast<unsigned>(registers_->getEncodingValue(id));
    static const std::pair<std::regex, RegisterClass> kNames[] = {
        {std::regex("[ABCD]H"), RegisterClass::kHighByte},
        {std::regex("[ABCD]L|SPL|BPL|SIL|DIL|R[0-9]+B"), RegisterClass::kByte},
        {std::regex("[ABCD]X|SP|BP|SI|DI|R[0-9]+W"), RegisterClass::kWord},
        {std::regex("E[ABCD]X|E[SB]P|E[SD]I|R[0-9]+D"), RegisterClass::kDoubleword},
        {std::regex("R[ABCD]X|R[SB]P|R[SD]I|R[0-9]+"), RegisterClass::kQuadword},
        {std::regex("[XY]MM[0-9]+"), RegisterClass::kVector},
        {std::regex("MM[0-9]+"), RegisterClass::kMmx},
        {std::regex("ST[0-9]+|FP[0-9]+|FPSW|FPCW"), RegisterClass::kX87},
    };
    for (const auto& [pattern, type] : kNames)
      if (std::regex_match(name, pattern)) return {type, number};
    return {RegisterClass::kOther, number};
  }

  void describe_operand(Form& form, const EncodingKey& key, const llvm::MCInstrDesc& desc,
                        const Register& reg, bool written) const {
    constexpr uint64_t kFormMask = 127, kAddRegister = 2;  // llvm::X86II
    Place place = kPlaces;
    if ((desc.TSFlags & kFormMask) == kAddRegister && reg.number == (key.opcode & 7u))
      place = kOpcodePlace;
    else if (reg.number == kReg && key.reg == kReg)
      place = kRegPlace;
    else if (reg.number == kVvvv && key.space >= kFirstVexSpace)
      place = kVvvvPlace;
    else if (reg.number == kIs4 && key.space >= kFirstVexSpace)
      place = kIs4Place;
    else if (reg.number == key.rm && !key.memory)
      place = kRmPlace;
    else if (reg.type == RegisterClass::kX87)
      place = kRmPlace;
    if (place == kPlaces) {
      if (reg.type == RegisterClass::kOther) return;
      add_implicit(form, reg, written);
      return;
    }
    auto type = reg.type;
    if (type == RegisterClass::kHighByte) type = RegisterClass::kByte;
    if (form.place(place) == RegisterClass::kNone)
      form.classes |= static_cast<uint32_t>(type) << 4 * place;
    (written ? form.written : form.read) |= static_cast<uint8_t>(1u << place);
  }

  static void add_implicit(Form& form, const Register& reg, bool written) {
    uint32_t bits = 0;
    switch (reg.type) {
      case RegisterClass::kHighByte:
        bits = 1u << (reg.number & 3);
        break;
      case RegisterClass::kByte:
      case RegisterClass::kWord:
      case RegisterClass::kDoubleword:
      case RegisterClass::kQuadword:
        bits = 1u << reg.number;
        break;
      case RegisterClass::kVector:
        bits = reg.number == 0 ? kImplicitXmm0 : 0;
        break;
      case RegisterClass::kX87:
        bits = kImplicitX87;
        break;
      default:
        break;
    }
    (written ? form.implicit_written : form.implicit_read) |= bits;
  }

  // Which flags: LLVM has one register for all.
  static uint32_t flags_of(const std::string& name, bool written) {
    const auto is = [&](const char* pattern) {
      return std::regex_match(name, std::regex(pattern));
    };
    if (written) {
      if (is("(LOCK_)?(INC|DEC)(8|16|32|64).*")) return kImplicitOtherFlags;
      if (is("(ROL|ROR|RCL|RCR|BT|BTS|BTR|BTC)(8|16|32|64).*|CMC|STC|CLC")) return kImplicitCarry;
      return kImplicitFlags;
    }
    if (is("(ADC|SBB|RCL|RCR|SETB_C)[0-9].*|CMC|ADCX.*|(LOCK_)?(ADC|SBB).*")) return kImplicitCarry;
    return kImplicitFlags;
  }

  Form describe(const EncodingKey& key, const llvm::MCInst& instruction) const {
    const llvm::MCInstrDesc& desc = instructions_->get(instruction.getOpcode());
    const std::string name = instructions_->getName(instruction.getOpcode()).str();
    Form form{};
    for (unsigned i = 0; i < desc.getNumOperands() && i < instruction.getNumOperands(); ++i) {
      const llvm::MCOperandInfo& info = desc.operands()[i];
      const llvm::MCOperand& operand = instruction.getOperand(i);
      // LLVM does not mark the operands of some LEAs as memory.
      const bool address = name.starts_with("LEA") && i >= desc.getNumDefs();
      if (info.OperandType == llvm::MCOI::OPERAND_MEMORY || (address && name != "LEAVE64")) {
        form.flags |= kHasMemory;
        continue;
      }
      if (info.OperandType == kConditionOperand) form.flags |= kHasCondition;
      if (operand.isImm() && info.OperandType == llvm::MCOI::OPERAND_IMMEDIATE)
        form.flags |= kHasImmediate;
      if (!operand.isReg() || operand.getReg() == 0) continue;
      describe_operand(form, key, desc, register_of(operand.getReg()), i < desc.getNumDefs());
    }
    const auto implicit = [&](unsigned id, bool written) {
      if (name.starts_with("VZERO")) return;  // nothing waits for the upper halves
      const std::string reg = registers_->getName(id);
      if (reg == "EFLAGS")
        (written ? form.implicit_written : form.implicit_read) |= flags_of(name, written);
      else if (reg != "MXCSR" && reg != "DF" && reg != "SSP" && reg != "RIP" && reg != "EIP")
        add_implicit(form, register_of(id), written);
    };
    for (const auto id : desc.implicit_uses()) implicit(id, false);
    for (const auto id : desc.implicit_defs()) implicit(id, true);
    if (desc.mayLoad()) form.flags |= kLoads;
    if (desc.mayStore()) form.flags |= kStores;
    if (desc.isBranch() || desc.isCall() || desc.isReturn()) form.flags |= kBranches;
    // llvm::X86II: all forms below MRM0X are without ModRM.
    constexpr uint64_t kFormMask = 127, kFirstWithModrm = 11;
    if ((desc.TSFlags & kFormMask) >= kFirstWithModrm) form.flags |= kHasModrm;
    if (std::regex_match(name, std::regex("(LODS|CMPS|SCAS|MOVS)[BWLQ]"))) form.flags |= kLoads;
    if (std::regex_match(name, std::regex("(STOS|MOVS)[BWLQ]"))) form.flags |= kStores;
    if (std::regex_match(name, std::regex("(PUSH|POP)(16|32|64|F16|F64|FS|GS).*|CALL.*|RET.*"))) {
      constexpr uint32_t kStackPointer = 1u << 4;
      form.implicit_read |= kStackPointer;
      form.implicit_written |= kStackPointer;
      form.flags |= kUsesStack;
      form.flags |= name.starts_with("POP") || name.starts_with("RET") ? kLoads : kStores;
    }
    return form;
  }

  std::optional<Price> price_of(const llvm::MCInst& instruction, const FoundForm& found,
                                size_t cpu) {
    const llvm::MCSubtargetInfo& subtarget = *subtargets_[cpu];
    const llvm::MCSchedModel& model = subtarget.getSchedModel();
    unsigned id = instructions_->get(instruction.getOpcode()).getSchedClass();
    while (id != 0 && model.getSchedClassDesc(id)->isVariant())
      id = subtarget.resolveVariantSchedClass(id, &instruction, instructions_.get(),
                                              model.getProcessorID());
    const llvm::MCSchedClassDesc* schedule = model.getSchedClassDesc(id);
    std::optional<Price> price;
    if (id != 0 && schedule->isValid()) price = price_of(*schedule, subtarget);
    for (Override& rule : overrides_) {
      if (!std::regex_match(kCpus[cpu].file, rule.cpu)) continue;
      if (!std::regex_match(found.name, rule.name)) continue;
      rule.used = true;
      if (!price) price = Price{};
      if (rule.latency) price->latency = *rule.latency;
      if (rule.operand_latency) price->operand_latency = *rule.operand_latency;
      if (rule.uops) price->uops = *rule.uops;
      if (rule.use) price->use = *rule.use;
      for (const Use& use : rule.more) price->use.push_back(use);
      std::ranges::sort(price->use);
    }
    return price;
  }

  // The ports of a resource, a bit each; the dividers are ports here, too.
  static uint16_t ports_of(const llvm::MCSchedModel& model, unsigned index) {
    const llvm::MCProcResourceDesc* resource = model.getProcResource(index);
    if (resource->SubUnitsIdxBegin != nullptr) {
      uint16_t ports = 0;
      for (unsigned i = 0; i < resource->NumUnits; ++i)
        ports |= ports_of(model, resource->SubUnitsIdxBegin[i]);
      return ports;
    }
    const std::string name = resource->Name;
    if (name.ends_with("FPDivider")) return kFloatingPointDivider;
    if (name.ends_with("Divider")) return kIntegerDivider;
    std::smatch match;
    if (!std::regex_match(name, match, std::regex("[A-Z]+Port([0-9])"))) return 0;
    return static_cast<uint16_t>(1u << std::stoi(match[1]));
  }

  Price price_of(const llvm::MCSchedClassDesc& schedule,
                 const llvm::MCSubtargetInfo& subtarget) const {
    const llvm::MCSchedModel& model = subtarget.getSchedModel();
    Price price;
    price.uops = schedule.NumMicroOps;
    int latency = 0;
    for (unsigned i = 0; i < schedule.NumWriteLatencyEntries; ++i)
      latency = std::max<int>(latency, subtarget.getWriteLatencyEntry(&schedule, i)->Cycles);
    int advance = 0;
    for (const llvm::MCReadAdvanceEntry& entry : subtarget.getReadAdvanceEntries(schedule))
      advance = std::max(advance, entry.Cycles);
    price.latency = static_cast<unsigned>(latency);
    price.operand_latency = static_cast<unsigned>(std::max(0, latency - advance));
    // LLVM counts the use of a port for each group, too, that holds it.
    std::vector<std::pair<uint16_t, int>> use;
    for (const auto* entry = subtarget.getWriteProcResBegin(&schedule);
         entry != subtarget.getWriteProcResEnd(&schedule); ++entry) {
      const uint16_t ports = ports_of(model, entry->ProcResourceIdx);
      if (ports == 0) continue;
      use.emplace_back(ports, entry->ReleaseAtCycle - entry->AcquireAtCycle);
    }
    std::ranges::stable_sort(use, {}, [](const auto& u) { return std::popcount(u.first); });
    for (size_t i = 0; i < use.size(); ++i) {
      for (size_t j = i + 1; j < use.size(); ++j) {
        const bool holds = (use[j].first & use[i].first) == use[i].first;
        if (holds && use[j].first != use[i].first) use[j].second -= use[i].second;
      }
    }
    for (const auto& [ports, cycles] : use)
      if (cycles > 0) price.use.push_back({ports, static_cast<unsigned>(cycles)});
    std::ranges::sort(price.use);
    return price;
  }

  // Numbers separated by commas, on lines of some 118 columns.
  class Numbers {
   public:
    explicit Numbers(std::ofstream& file) : file_(file) {}
    void add(const std::string& item) {
      if (line_.size() + item.size() + 1 > 118) flush();
      line_ += item + ",";
    }
    void flush() {
      file_ << line_ << "\n";
      line_.clear();
    }

   private:
    std::ofstream& file_;
    std::string line_;
  };

  static std::ofstream open(const std::string& path, const std::string& what) {
    std::ofstream file(path);
    if (!file) fail("cannot write " + path);
    file << "// SPDX-License-Identifier: GPL-2.0-or-later AND Apache-2.0 WITH LLVM-exception\n"
            "//\n// Written by scripts/price-tables/generate; do not edit. "
         << what
         << "\n// Facts from LLVM 22's X86 target: part of the LLVM Project, under the Apache "
            "License v2.0 with LLVM\n// Exceptions. See https://llvm.org/LICENSE.txt for license "
            "information.\n";
    return file;
  }

  void write_forms(const std::string& path) const {
    std::ofstream file = open(path, "Encodings and what they read and write.");
    file << "NESTOR_RUNS({\n";
    Numbers runs(file);
    for (const auto& [key, form] : runs_)
      runs.add("{" + std::to_string(key) + "," + std::to_string(form) + "}");
    runs.flush();
    file << "})\nNESTOR_FORMS({\n";
    Numbers forms(file);
    for (const FoundForm& found : forms_) {
      const Form& f = found.form;
      forms.add("{" + std::to_string(f.implicit_read) + "," + std::to_string(f.implicit_written) +
                "," + std::to_string(f.classes) + "," + std::to_string(f.read) + "," +
                std::to_string(f.written) + "," + std::to_string(f.flags) + "}");
    }
    forms.flush();
    file << "})\n";
    std::fprintf(stderr, "%zu runs, %zu forms\n", runs_.size(), forms_.size());
  }

  void write_prices(const std::string& path, size_t cpu) const {
    std::map<Price, unsigned> number;
    std::vector<Price> prices;
    std::vector<unsigned> of_form;
    for (const FoundForm& found : forms_) {
      if (!found.price[cpu]) {
        of_form.push_back(0);
        continue;
      }
      const auto [at, added] = number.emplace(*found.price[cpu], prices.size() + 1);
      if (added) prices.push_back(*found.price[cpu]);
      of_form.push_back(at->second);
    }
    std::ofstream file = open(path, std::string("Prices of LLVM's ") + kCpus[cpu].llvm_name + ".");
    file << "NESTOR_PRICE_OF_FORM({\n";
    Numbers numbers(file);
    for (const unsigned n : of_form) numbers.add(std::to_string(n));
    numbers.flush();
    file << "})\nNESTOR_PRICES({\n{},\n";
    Numbers rows(file);
    for (const Price& price : prices) {
      if (price.use.size() > TablePrice::kMaxUses)
        fail("more kinds of port uses than a price has room for");
      std::string text = "{" + std::to_string(std::min(price.latency, 999u)) + "," +
                         std::to_string(std::min(price.operand_latency, 999u)) + "," +
                         std::to_string(std::min(price.uops, 255u)) + ",{{";
      for (const Use& use : price.use)
        text += "{" + std::to_string(use.ports) + "," + std::to_string(use.cycles) + "},";
      if (text.back() == ',') text.pop_back();
      rows.add(text + "}}}");
    }
    rows.flush();
    file << "})\n";
    std::fprintf(stderr, "%s: %zu prices\n", kCpus[cpu].file, prices.size());
  }

 public:
  // NAME: what each processor's price is; to read, not to compile.
  void print(const std::string& path) const {
    std::ofstream file(path);
    for (size_t i = 1; i < forms_.size(); ++i) {
      file << i << " " << forms_[i].name << " r" << int{forms_[i].form.read} << " w"
           << int{forms_[i].form.written} << " ir" << std::hex << forms_[i].form.implicit_read
           << " iw" << forms_[i].form.implicit_written << " f" << int{forms_[i].form.flags}
           << std::dec;
      for (size_t cpu = 0; cpu < kCpuCount; ++cpu) {
        const auto& price = forms_[i].price[cpu];
        file << " | ";
        if (!price) continue;
        file << price->uops << "u " << price->latency << "/" << price->operand_latency;
        for (const Use& use : price->use) {
          file << " " << use.cycles << "*";
          for (unsigned p = 0; p < 16; ++p)
            if ((use.ports >> p & 1) != 0) file << std::hex << p << std::dec;
        }
      }
      file << "\n";
    }
  }

 private:
  llvm::MCTargetOptions options_;
  std::unique_ptr<llvm::MCRegisterInfo> registers_;
  std::unique_ptr<llvm::MCInstrInfo> instructions_;
  std::unique_ptr<llvm::MCAsmInfo> assembler_;
  std::vector<std::unique_ptr<llvm::MCSubtargetInfo>> subtargets_;
  std::unique_ptr<llvm::MCContext> context_;
  std::unique_ptr<llvm::MCDisassembler> disassembler_;
  std::vector<Override> overrides_;
  std::vector<FoundForm> forms_;
  std::map<std::tuple<unsigned, Form, bool, int>, uint16_t> known_;
  std::vector<std::pair<uint32_t, uint16_t>> runs_;
};

}  // namespace
}  // namespace nestor::emu::timing

int main(int argc, char** argv) {
  if (argc != 3 && argc != 4) {
    std::fputs("usage: generate OVERRIDES FOLDER [LIST]\n", stderr);
    return 2;
  }
  nestor::emu::timing::Generator generator(argv[1]);
  generator.find_forms();
  generator.write(argv[2]);
  if (argc == 4) generator.print(argv[3]);
  return 0;
}
