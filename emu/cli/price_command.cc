// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/price_command.h"

#include <spdlog/fmt/fmt.h>

#include <cstdint>
#include <cstdio>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "emu/cli/complain.h"
#include "emu/decode/decoder.h"
#include "emu/loaders/read_file.h"
#include "emu/timing/accumulator.h"
#include "emu/timing/block_price.h"
#include "emu/timing/processor.h"
#include "emu/timing/resources.h"

namespace nestor::emu {
namespace {

using CodeBytes = std::vector<uint8_t>;

// A block of many thousand instructions is a mistake, and would take long.
constexpr size_t kLargestBlock = 16u << 10;
constexpr uint64_t kLargestRowsFile = 1ull << 30;

// A block, decoded and priced.
struct Block {
  std::vector<timing::InstructionPrice> prices;
  std::vector<std::string> texts;
};

struct Shares {
  size_t instructions = 0, default_priced = 0;
  void add(const Block& block) {
    instructions += block.prices.size();
    for (const auto& price : block.prices) default_priced += price.default_priced ? 1 : 0;
  }
};

std::optional<unsigned> digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return std::nullopt;
}

// The error says what is wrong, without saying where the text comes from.
std::variant<CodeBytes, std::string> parse_hex(std::string_view text) {
  if (text.empty()) return "there is no code in it";
  CodeBytes bytes;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto value = digit(text[i]);
    if (!value) return fmt::format("'{}' is no hexadecimal digit", text[i]);
    if (i % 2 == 0)
      bytes.push_back(static_cast<uint8_t>(*value << 4));
    else
      bytes.back() |= static_cast<uint8_t>(*value);
  }
  if (text.size() % 2 != 0) return "an odd number of digits";
  return bytes;
}

class Pricer {
 public:
  Pricer(const timing::Processor& processor, const PriceOptions& options)
      : processor_(processor), options_(options) {}

  // The error is of a form that may follow a name and a colon.
  std::variant<Block, std::string> block(std::span<const uint8_t> code) {
    if (code.size() > kLargestBlock)
      return fmt::format("{} bytes are too many, the limit is {}", code.size(), kLargestBlock);
    Block block;
    std::vector<uint8_t> lengths;
    for (size_t at = 0; at < code.size();) {
      const auto instruction = decoder_.decode(code.subspan(at), CodeMode::k64);
      if (!instruction)
        return fmt::format("byte {} ({:02x}) starts no valid instruction", at, code[at]);
      lengths.push_back(instruction->length);
      block.texts.push_back(decoder_.text_at(code.subspan(at), CodeMode::k64, at));
      at += instruction->length;
    }
    block.prices = timing::price_instructions(code, lengths, CodeMode::k64, processor_);
    return block;
  }

  double cycles(const Block& block) const {
    if (options_.pieces != 0) {
      return timing::price_in_pieces(block.prices, processor_, options_.repetition,
                                     options_.pieces);
    }
    return timing::price_block(block.prices, processor_, options_.repetition).cycles();
  }

  const timing::Processor& processor() const { return processor_; }
  const PriceOptions& options() const { return options_; }

 private:
  const timing::Processor& processor_;
  const PriceOptions& options_;
  Decoder decoder_;
};

// "p06", or the names of what is taken like a port.
std::string ports_text(uint16_t ports) {
  if (ports == timing::kSerial) return "serial";
  if (ports == timing::kIntegerDivider) return "divider";
  if (ports == timing::kFloatingPointDivider) return "fp-divider";
  std::string text = "p";
  for (unsigned port = 0; port < 10; ++port)
    if ((ports >> port & 1) != 0) text += static_cast<char>('0' + port);
  return text;
}

std::string uses_text(const timing::InstructionPrice& price) {
  std::string text;
  for (const timing::PortUse& use : price.uses()) {
    if (!text.empty()) text += "+";
    if (use.cycles != 1) text += fmt::format("{}*", use.cycles);
    text += ports_text(use.ports);
  }
  return text.empty() ? "-" : text;
}

std::string notes_text(const timing::InstructionPrice& price) {
  std::string text;
  const auto note = [&](bool applies, std::string_view what) {
    if (applies) text += fmt::format("{}{}", text.empty() ? "" : ", ", what);
  };
  note(price.fused_into_previous, "fused with the one before");
  note(price.eliminated, "eliminated");
  note(price.breaks_dependency && !price.eliminated, "breaks the dependency");
  note(price.complex_decoder, "complex decoder");
  note(price.length_changing_prefix, "length-changing prefix");
  note(price.default_priced, "default-priced");
  return text;
}

std::string table_text(const Block& block) {
  std::string text = fmt::format("\n{:>4} {:>6} {:>7}  {:<20} {:<44} {}\n", "uops", "issued",
                                 "latency", "ports", "instruction", "notes");
  for (size_t i = 0; i < block.prices.size(); ++i) {
    const timing::InstructionPrice& price = block.prices[i];
    std::string line =
        fmt::format("{:>4} {:>6} {:>7}  {:<20} {:<44} {}", price.uops, price.issued_uops,
                    price.latency, uses_text(price), block.texts[i], notes_text(price));
    line.resize(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

std::string bounds_text(const timing::BlockPrice& price) {
  std::string text;
  for (unsigned i = 0; i < timing::kBounds; ++i) {
    const auto bound = static_cast<timing::Bound>(i);
    std::string note;
    if (bound == timing::Bound::kPorts && price.busiest_ports != 0)
      note = "  " + ports_text(price.busiest_ports);
    if (!price.applies[i]) note += "  not on its way";
    if (bound == price.bottleneck()) note += "  the bottleneck";
    text += fmt::format("{:<10} {:>9.2f}{}\n", timing::name_of(bound), price.bound[i], note);
  }
  return text;
}

std::string share_text(const Shares& shares) {
  return fmt::format("{} of {} instructions ({:.2f} %) have no price and took the default",
                     shares.default_priced, shares.instructions,
                     100.0 * static_cast<double>(shares.default_priced) /
                         static_cast<double>(shares.instructions));
}

std::string report(const Pricer& pricer, const Block& block) {
  const PriceOptions& options = pricer.options();
  const timing::BlockPrice price =
      timing::price_block(block.prices, pricer.processor(), options.repetition);
  const std::string_view model =
      vmx::kProcessorModels[static_cast<size_t>(options.generation)].name;
  const bool unrolled = options.repetition == timing::Repetition::kUnrolled;
  std::string text = fmt::format("{}, {}: {:.2f} cycles for one iteration\n", model,
                                 unrolled ? "unrolled" : "as a loop", price.cycles());
  if (options.pieces != 0) {
    text += fmt::format("in pieces of {}: {:.2f} cycles\n", options.pieces, pricer.cycles(block));
  }
  text += "\n" + bounds_text(price) + table_text(block);
  Shares shares;
  shares.add(block);
  if (shares.default_priced != 0) text += "\n" + share_text(shares) + "\n";
  return text;
}

bool write_out(std::string_view text) {
  return std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
}

int finish(bool written, int status) {
  if (std::fflush(stdout) != 0 || !written)
    return complain(ExitStatus::kOutputError, "cannot write the standard output");
  return status;
}

// Takes the first line off `text`, without its end.
std::string_view take_line(std::string_view& text) {
  const size_t end = text.find('\n');
  std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

// Prints "ROW,CYCLES" for each line "ROW,HEX,...". A row that has no price does not stop the
// others.
int price_rows(Pricer& pricer, const std::string& name, std::string_view text) {
  Shares shares;
  bool written = true, refused = false;
  for (size_t number = 1; !text.empty() && written; ++number) {
    const std::string_view line = take_line(text);
    if (line.empty()) continue;
    const size_t comma = line.find(',');
    const std::string_view row = line.substr(0, comma);
    std::string bad = "a row and a comma are missing before the code";
    if (comma != std::string_view::npos) {
      const std::string_view rest = line.substr(comma + 1);
      auto code = parse_hex(rest.substr(0, rest.find(',')));
      auto block = std::holds_alternative<CodeBytes>(code)
                       ? pricer.block(std::get<CodeBytes>(code))
                       : std::variant<Block, std::string>(std::get<std::string>(code));
      if (const auto* priced = std::get_if<Block>(&block)) {
        shares.add(*priced);
        written = write_out(fmt::format("{},{:.4f}\n", row, pricer.cycles(*priced)));
        continue;
      }
      bad = std::get<std::string>(block);
    }
    refused = true;
    complain(ExitStatus::kBadImage,
             fmt::format("{}: line {}: row '{}': {}", name, number, row.substr(0, 40), bad));
  }
  if (shares.default_priced != 0) tell("nestor: " + share_text(shares) + "\n");
  return finish(written, static_cast<int>(refused ? ExitStatus::kBadImage : ExitStatus::kSuccess));
}

}  // namespace

int price_command(const PriceOptions& options) {
  const timing::Processor* processor = timing::find_processor(options.generation);
  if (processor == nullptr)
    return complain(ExitStatus::kNoSuchProcessor, "--cpu: there are no prices for this model");
  Pricer pricer(*processor, options);
  CodeBytes content;
  std::string name = "--hex";
  ExitStatus status = ExitStatus::kBadUsage;
  if (options.source == PriceOptions::Source::kHex) {
    auto parsed = parse_hex(options.input);
    if (const auto* bad = std::get_if<std::string>(&parsed))
      return complain(status, fmt::format("{}: {}", name, *bad));
    content = std::get<CodeBytes>(std::move(parsed));
  } else {
    const bool rows = options.source == PriceOptions::Source::kCsv;
    auto read =
        read_file(options.input, rows ? "CSV" : "code", rows ? kLargestRowsFile : kLargestBlock);
    status = ExitStatus::kBadImage;
    if (const auto* bad = std::get_if<LoadError>(&read)) return complain(status, bad->message);
    content = std::get<CodeBytes>(std::move(read));
    name = options.input == "-" ? "standard input" : file_name(options.input);
    if (rows) {
      return price_rows(pricer, name,
                        {reinterpret_cast<const char*>(content.data()), content.size()});
    }
  }
  const auto block = pricer.block(content);
  if (const auto* bad = std::get_if<std::string>(&block))
    return complain(status, fmt::format("{}: {}", name, *bad));
  const bool written = write_out(report(pricer, std::get<Block>(block)));
  return finish(written, static_cast<int>(ExitStatus::kSuccess));
}

}  // namespace nestor::emu
