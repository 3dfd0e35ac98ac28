// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/machine/state_file.h"

#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <new>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "emu/l0/vmcs_build.h"
#include "emu/memory/page_size.h"
#include "emu/memory/ram.h"

namespace nestor::emu {
namespace {

constexpr std::string_view kMagic = "NESTOR STATE\n";
// Fast rather than small: most of a state is memory.
constexpr int kCompressionLevel = 1;

bool fits_below_rom(const DiskConfig& flash, uint64_t rom_bytes) {
  return rom_bytes != 0 && flash.bytes != 0 && flash.bytes % kPageSize == 0 &&
         flash.bytes <= kMostRomBytes - rom_bytes;
}

// What the command line would have refused too.
bool can_be_made(const MachineConfig& config) {
  const L0ModeInfo& l0 = info_of(config.l0.mode);
  const uint64_t pages = config.l0.shadow_page_limit;
  return config.memory_bytes >= Ram::kMinimumSize && config.memory_bytes <= Ram::kMaximumSize &&
         config.memory_bytes % kPageSize == 0 && (!config.standard_vga || !l0.has_l0) &&
         (config.rom_bytes == 0 || (is_rom_size(config.rom_bytes) && !l0.has_l0)) &&
         (!config.flash || fits_below_rom(*config.flash, config.rom_bytes)) &&
         !l0_misses(config.processor.type, config.l0.mode) &&
         (!l0.has_l0 || !config.l0.vmcs_shadowing ||
          config.processor.type.has(vmx::Feature::kVmxShadowing)) &&
         (pages == 0 || (l0.fills_tables && pages >= kFewestShadowPages));
}

// 0: all was written; else errno.
int write_all(int descriptor, std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t done = ::write(descriptor, bytes.data(), bytes.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return errno;
    bytes = bytes.subspan(static_cast<size_t>(done));
  }
  return 0;
}

// Compresses on the way to a file.
class Compressor {
 public:
  explicit Compressor(int descriptor) : descriptor_(descriptor), context_(ZSTD_createCCtx()) {
    if (!context_) throw std::bad_alloc();
    ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_compressionLevel, kCompressionLevel);
    ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_checksumFlag, 1);
  }

  void write(std::span<const uint8_t> bytes) { compress(bytes, ZSTD_e_continue); }
  // Returns 0, or the first error.
  int finish() {
    compress({}, ZSTD_e_end);
    return error_;
  }

 private:
  void compress(std::span<const uint8_t> bytes, ZSTD_EndDirective directive) {
    ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
    while (error_ == 0) {
      ZSTD_outBuffer out{chunk_.data(), chunk_.size(), 0};
      const size_t left = ZSTD_compressStream2(context_.get(), &out, &in, directive);
      error_ =
          ZSTD_isError(left) ? ENOMEM : write_all(descriptor_, std::span(chunk_).first(out.pos));
      if (directive == ZSTD_e_end ? left == 0 : in.pos == in.size) return;
    }
  }

  struct Free {
    void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  };
  const int descriptor_;
  std::unique_ptr<ZSTD_CCtx, Free> context_;
  std::vector<uint8_t> chunk_ = std::vector<uint8_t>(ZSTD_CStreamOutSize());
  int error_ = 0;
};

class Input final : public StateInput {
 public:
  Input(std::string path, std::FILE* file)
      : path_(std::move(path)), file_(file), context_(ZSTD_createDCtx()) {
    if (!context_) throw std::bad_alloc();
  }

  std::optional<std::string> read_header();
  const MachineConfig& config() const override { return config_; }
  std::optional<std::string> load(Machine& machine) override;

 private:
  std::span<const uint8_t> decompress();
  std::string damaged() const {
    return "the saved state '" + path_ + "' is damaged or incomplete; save it again";
  }

  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  struct Free {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };
  const std::string path_;
  std::unique_ptr<std::FILE, Close> file_;
  std::unique_ptr<ZSTD_DCtx, Free> context_;
  std::vector<uint8_t> compressed_ = std::vector<uint8_t>(ZSTD_DStreamInSize());
  std::vector<uint8_t> chunk_ = std::vector<uint8_t>(ZSTD_DStreamOutSize());
  ZSTD_inBuffer in_{compressed_.data(), 0, 0};
  bool complete_ = false;  // the frame has ended, and its checksum holds
  StateReader reader_{[this] { return decompress(); }};
  MachineConfig config_;
};

// Nothing: the frame has ended, or is damaged.
std::span<const uint8_t> Input::decompress() {
  while (!complete_) {
    if (in_.pos == in_.size) {
      in_ = {compressed_.data(), std::fread(compressed_.data(), 1, compressed_.size(), file_.get()),
             0};
    }
    const bool file_ended = in_.size == 0;
    ZSTD_outBuffer out{chunk_.data(), chunk_.size(), 0};
    const size_t left = ZSTD_decompressStream(context_.get(), &out, &in_);
    if (ZSTD_isError(left)) break;
    complete_ = left == 0;
    if (out.pos != 0) return std::span(chunk_).first(out.pos);
    if (file_ended) break;
  }
  return {};
}

std::optional<std::string> Input::read_header() {
  std::array<char, kMagic.size()> magic{};
  std::array<uint8_t, 4> version{};
  if (std::fread(magic.data(), 1, magic.size(), file_.get()) != magic.size() ||
      std::string_view(magic.data(), magic.size()) != kMagic ||
      std::fread(version.data(), 1, version.size(), file_.get()) != version.size()) {
    return "'" + path_ + "' is no saved state; nestor run --save-state FILE makes one";
  }
  uint32_t number = 0;
  for (unsigned i = 0; i < version.size(); ++i) number |= uint32_t{version[i]} << (8 * i);
  if (number != kStateVersion) {
    return "the saved state '" + path_ + "' has version " + std::to_string(number) +
           " of the format, and this nestor reads version " + std::to_string(kStateVersion) +
           "; save it again";
  }
  reader_.section("configuration");
  reader_(config_);
  if (!reader_.ok() || !can_be_made(config_)) return damaged();
  return std::nullopt;
}

std::optional<std::string> Input::load(Machine& machine) {
  machine.serialize(reader_);
  // Bytes behind the frame are none of the state.
  if (!reader_.ok() || !reader_.at_end() || !complete_ || in_.pos != in_.size ||
      std::fgetc(file_.get()) != EOF) {
    return damaged();
  }
  return std::nullopt;
}

}  // namespace

// --- writing

StateOutput::StateOutput(std::string path, NewFile file)
    : path_(std::move(path)), file_(std::move(file)) {}

std::variant<std::unique_ptr<StateOutput>, std::string> StateOutput::open(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
    return "cannot save to '" + path + "': it is no regular file";
  }
  auto file = NewFile::open(path);
  if (const int* error = std::get_if<int>(&file))
    return "cannot save to '" + path + "': " + std::strerror(*error);
  return std::unique_ptr<StateOutput>(new StateOutput(path, std::get<NewFile>(std::move(file))));
}

std::optional<std::string> StateOutput::fail(int error_number) const {
  return "cannot save to '" + path_ + "': " + std::strerror(error_number);
}

std::optional<std::string> StateOutput::save(Machine& machine, const MachineConfig& config) {
  std::vector<uint8_t> header(kMagic.begin(), kMagic.end());
  for (unsigned i = 0; i < 4; ++i) header.push_back(static_cast<uint8_t>(kStateVersion >> (8 * i)));
  int error = write_all(file_.descriptor(), header);
  if (error == 0) {
    Compressor compressor(file_.descriptor());
    StateWriter writer([&](std::span<const uint8_t> bytes) { compressor.write(bytes); });
    writer.section("configuration");
    MachineConfig saved = config;
    writer(saved);
    machine.serialize(writer);
    writer.flush();
    error = compressor.finish();
  }
  if (error == 0) error = file_.finish();
  return error != 0 ? fail(error) : std::nullopt;
}

// --- reading

std::variant<std::unique_ptr<StateInput>, std::string> StateInput::open(const std::string& path) {
  std::FILE* const file = std::fopen(path.c_str(), "rbe");
  if (file == nullptr) return "cannot read '" + path + "': " + std::strerror(errno);
  auto input = std::make_unique<Input>(path, file);
  if (auto error = input->read_header()) return *error;
  return input;
}

}  // namespace nestor::emu
