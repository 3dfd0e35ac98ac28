// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/qemu/streams.h"

#include <spdlog/fmt/fmt.h>

namespace nestor::emu::qemu {
namespace {

constexpr std::string_view kChardevHelp =
    "Available chardev backend types:\n  file\n  null\n  stdio\n";
constexpr std::string_view kOtherBackends =
    "pty|socket|udp|tcp|telnet|websocket|tn3270|unix|pipe|serial|tty|parport|parallel|vc|console|"
    "ringbuf|memory|msmouse|wctablet|braille|testdev|spicevmc|spiceport|hub";

// A file that is called as a word of nestor's is.
std::string name_file(const std::string& path) {
  return is_one_of(path, "stdio|none") ? "./" + path : path;
}

struct Chardev {
  std::string backend, id, path;
};

constexpr const char* kOfSockets = "it is of sockets, which Nestor does not write to";
constexpr Row<Chardev> kChardevKeys[] = {
    {"backend",
     "NAME",
     Treatment::kTaken,
     "",
     {},
     [](const std::string& value, Chardev& to) -> Complaint {
       to.backend = value;
       return {};
     }},
    {"id",
     "ID",
     Treatment::kTaken,
     "",
     {},
     [](const std::string& value, Chardev& to) -> Complaint {
       to.id = value;
       return {};
     }},
    {"path",
     "FILE",
     Treatment::kTaken,
     "",
     {},
     [](const std::string& value, Chardev& to) -> Complaint {
       to.path = value;
       return {};
     }},
    {"append", "on", Treatment::kIgnored, "a file is written anew", "off"},
    {"mux", "on", Treatment::kMet, "there is no monitor that would share it"},
    {"signal", "on", Treatment::kIgnored, "Ctrl-C is the guest's once it reads keys", "on|off"},
    {"logfile", "FILE", Treatment::kIgnored, "it is not written twice; use path"},
    {"logappend", "on", Treatment::kMet, "there is no logfile"},
    {"width", "N", Treatment::kMet, "there is no window"},
    {"height", "N", Treatment::kMet, "there is no window"},
    {"cols", "N", Treatment::kMet, "there is no window"},
    {"rows", "N", Treatment::kMet, "there is no window"},
    {"host", "NAME", Treatment::kMet, kOfSockets},
    {"port", "PORT", Treatment::kMet, kOfSockets},
    {"server", "on", Treatment::kMet, kOfSockets},
    {"wait", "on", Treatment::kMet, kOfSockets},
    {"telnet", "on", Treatment::kMet, kOfSockets},
    {"delay", "on", Treatment::kMet, kOfSockets},
};

}  // namespace

Complaint read_chardev(const std::string& text, Wanted& wanted) {
  if (is_one_of(text, "help|?")) return {std::string(kChardevHelp), ExitStatus::kSuccess};
  Chardev made;
  const std::vector<Pair> pairs = split_keys(text, "backend");
  if (Complaint bad = apply_keys<Chardev>("-chardev", pairs, kChardevKeys, made, wanted.report);
      !bad.empty())
    return bad;
  if (is_one_of(made.backend, kOtherBackends))
    return missing(
        fmt::format("a character device is stdio, file or null; '{}' is not there", made.backend));
  if (!is_one_of(made.backend, "stdio|null|file"))
    return fmt::format("there is no backend '{}'; use stdio, file or null", made.backend);
  if (made.id.empty()) return "it needs an id=";
  if (made.backend == "file" && made.path.empty()) return "it needs a path=";
  if (wanted.chardevs.contains(made.id)) return fmt::format("there are two with id={}", made.id);
  wanted.chardevs[made.id] = made.backend == "stdio"  ? "stdio"
                             : made.backend == "null" ? "none"
                                                      : name_file(made.path);
  return {};
}

std::variant<std::string, Complaint> find_stream(const std::string& text, const Wanted& wanted) {
  constexpr std::string_view kFile = "file:", kChardev = "chardev:";
  // What is after a comma is of the file or of the terminal: "file:x,append=on".
  const std::string word = text.substr(0, text.find_first_of(":,"));
  if (is_one_of(text, "stdio|mon:stdio")) return std::string("stdio");
  if (is_one_of(word, "none|null|vc")) return std::string("none");
  if (text.starts_with(kFile)) {
    const std::string path = text.substr(kFile.size());
    if (path.empty()) return Complaint(fmt::format("'{}' names no file", text));
    return name_file(path);
  }
  if (text.starts_with(kChardev)) {
    const std::string id = text.substr(kChardev.size());
    const auto found = wanted.chardevs.find(id);
    if (found == wanted.chardevs.end())
      return Complaint(fmt::format("there is no -chardev with id={}", id));
    return found->second;
  }
  if (is_one_of(word, kOtherBackends) || text.starts_with("mon:") || text.starts_with("/dev/"))
    return missing(fmt::format("bytes go to stdio, file:FILE or null; not to '{}'", text));
  return Complaint(
      fmt::format("'{}' is none of stdio, mon:stdio, file:FILE, null, none, chardev:ID", text));
}

}  // namespace nestor::emu::qemu
