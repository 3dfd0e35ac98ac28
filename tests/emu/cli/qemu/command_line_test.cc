// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/qemu/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "emu/cli/options.h"
#include "emu/cli/processor_choice.h"
#include "emu/cli/qemu/option_table.h"
#include "emu/events/filter.h"
#include "tests/emu/loaders/image_builder.h"

namespace nestor::emu::qemu {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

using Words = std::vector<std::string>;

// A folder with kernels of three kinds and disks of two.
class QemuCommandLine : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = fs::temp_directory_path() / "nestor-qemu-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    write("multiboot", testing::multiboot1_flat());
    write("linux", testing::build_linux());
    write("disk", testing::ByteVector(512));
    write("qcow2", {'Q', 'F', 'I', 0xfb});
  }
  void TearDown() override { fs::remove_all(folder_); }

  void write(const char* name, const testing::ByteVector& bytes) {
    std::ofstream(folder_ / name, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
  }
  std::string path(const char* name) const { return folder_ / name; }

  // The arguments after "-kernel KERNEL".
  Translation translated(Words arguments, const char* kernel = "multiboot") const {
    if (kernel != nullptr) arguments.insert(arguments.begin(), {"-kernel", path(kernel)});
    auto result = translate(arguments);
    if (const auto* print = std::get_if<PrintAndExit>(&result)) {
      ADD_FAILURE() << print->text;
      return {};
    }
    return std::get<Translation>(std::move(result));
  }
  // What nestor takes of it.
  RunOptions parsed(const Words& arguments, const char* kernel = "multiboot") const {
    const Translation translation = translated(arguments, kernel);
    EXPECT_THAT(translation.report.missing, IsEmpty());
    auto options = parse_command_line(translation.arguments, {});
    if (const auto* print = std::get_if<PrintAndExit>(&options)) {
      ADD_FAILURE() << print->text;
      return {};
    }
    return std::get<RunOptions>(std::move(options));
  }
  PrintAndExit printed(Words arguments, const char* kernel = "multiboot") const {
    if (kernel != nullptr) arguments.insert(arguments.begin(), {"-kernel", path(kernel)});
    auto result = translate(arguments);
    if (const auto* print = std::get_if<PrintAndExit>(&result)) return *print;
    ADD_FAILURE() << "the command line was accepted";
    return {};
  }
  Words missing(const Words& arguments, const char* kernel = "multiboot") const {
    const Translation translation = translated(arguments, kernel);
    EXPECT_THAT(translation.arguments, IsEmpty());
    return translation.report.missing;
  }

  fs::path folder_;
};

TEST_F(QemuCommandLine, AKernelIsTheImage) {
  const RunOptions run = parsed({"-append", "-a --b=c", "--smp", "2", "-no-reboot"});
  EXPECT_EQ(run.image, path("multiboot"));
  EXPECT_EQ(run.append, "-a --b=c");
  EXPECT_EQ(run.machine.processor.count, 2u);
  EXPECT_EQ(run.machine.memory_bytes, 128ull << 20);
  EXPECT_EQ(run.machine.debug_exit_port, kDebugExitPort);
}

TEST_F(QemuCommandLine, SizesAreQemus) {
  for (const auto& [text, bytes] : std::initializer_list<std::pair<const char*, uint64_t>>{
           {"512", 512ull << 20},
           {"1G", 1ull << 30},
           {"1.5g", 3ull << 29},
           {"size=64M,slots=2,maxmem=4G", 64ull << 20},
           {"2097153k", (2ull << 30) + 8192},
           {"67108864b", 64ull << 20}})
    EXPECT_EQ(parsed({"-m", text}).machine.memory_bytes, bytes) << text;
  for (const char* bad : {"", "x", "-1", "0", "1X", "1e300"})
    EXPECT_THAT(printed({"-m", bad}).text, HasSubstr("no size")) << bad;
}

TEST_F(QemuCommandLine, TopologiesAreCounted) {
  EXPECT_EQ(parsed({"-smp", "cores=2,threads=2"}).machine.processor.count, 4u);
  EXPECT_EQ(parsed({"-smp", "3,maxcpus=8"}).machine.processor.count, 3u);
  for (const char* bad : {"3,maxcpus=2", "1,maxcpus=0", "1,maxcpus="})
    EXPECT_THAT(printed({"-smp", bad}).text, HasSubstr("maxcpus=")) << bad;
  EXPECT_EQ(parsed({"-smp", "cpus=2,sockets=2"}).machine.processor.count, 2u);
  // kvm-unit-tests takes the last word for the limit.
  EXPECT_THAT(missing({"-smp", "9"}), ElementsAre(AllOf(HasSubstr("SMP CPUs 9"), HasSubstr(" 8"))));
  EXPECT_THAT(printed({"-smp", "0"}).text, HasSubstr("no number"));
  EXPECT_THAT(missing({"-smp", "cores=32768,threads=32768,sockets=32768"}), Not(IsEmpty()));
}

TEST_F(QemuCommandLine, AnInitrdIsOfLinuxOrModules) {
  const std::string file = path("disk"), other = path("qcow2");
  const RunOptions linux = parsed({"-initrd", file}, "linux");
  ASSERT_EQ(linux.modules.size(), 1u);
  EXPECT_TRUE(linux.modules[0].initrd);
  // QEMU's multiboot.c: the command line of a module has the name of its file in front.
  const RunOptions multiboot = parsed({"-initrd", file + " a=1,," + "," + other});
  ASSERT_EQ(multiboot.modules.size(), 2u);
  EXPECT_FALSE(multiboot.modules[0].initrd);
  EXPECT_EQ(multiboot.modules[0].path, file);
  EXPECT_EQ(multiboot.modules[0].command_line, file + " a=1,");
  EXPECT_EQ(multiboot.modules[1].path, other);
  EXPECT_EQ(multiboot.modules[1].command_line, other);
}

TEST_F(QemuCommandLine, SerialPortsGoWhereQemuSays) {
  const RunOptions run = parsed({"-chardev", "file,id=a,path=x", "-serial", "chardev:a", "-serial",
                                 "mon:stdio", "-serial", "null", "-serial", "file:none"});
  EXPECT_EQ(run.serial, "x");
  EXPECT_THAT(run.further_serial, ElementsAre("stdio", "none", "./none"));
  EXPECT_THAT(missing({"-serial", "none", "-serial", "none", "-serial", "none", "-serial", "none",
                       "-serial", "none"}),
              ElementsAre(HasSubstr("4 serial ports")));
  EXPECT_THAT(printed({"-serial", "chardev:b"}).text, HasSubstr("no -chardev with id=b"));
  EXPECT_EQ(printed({"-serial", "tcp::4444"}).status, ExitStatus::kNotInNestor);
  EXPECT_THAT(printed({"-serial", "bogus"}).text, HasSubstr("none of stdio"));
  EXPECT_THAT(missing({"-chardev", "socket,id=a,path=x"}), ElementsAre(HasSubstr("socket")));
  EXPECT_THAT(printed({"-chardev", "stdio"}).text, HasSubstr("id="));
  EXPECT_THAT(printed({"-chardev", "file,id=a"}).text, HasSubstr("path="));
}

// With a window the serial port is one of its tabs, and the screen is seen.
TEST_F(QemuCommandLine, WithoutSerialTheOutputIsWhereSomebodySeesIt) {
  EXPECT_EQ(parsed({}).serial, "stdio");
  EXPECT_EQ(parsed({}).screen, "-");
  EXPECT_EQ(parsed({"-nographic"}).serial, "stdio");
  EXPECT_FALSE(parsed({"-nographic"}).screen);
  EXPECT_EQ(parsed({"-display", "none"}).serial, "none");
  EXPECT_FALSE(parsed({"-display", "none"}).screen);
  EXPECT_EQ(parsed({"-nodefaults", "-nographic"}).serial, "none");
  EXPECT_EQ(parsed({"-display", "gtk"}).serial, "stdio");
}

TEST_F(QemuCommandLine, TheDisplayIsWhatIsAskedFor) {
  EXPECT_FALSE(parsed({}).machine.standard_vga);
  EXPECT_TRUE(parsed({"-vga", "std"}).machine.standard_vga);
  EXPECT_TRUE(parsed({"-device", "VGA"}).machine.standard_vga);
  EXPECT_FALSE(parsed({"-vga", "none"}).machine.standard_vga);
}

TEST_F(QemuCommandLine, DebugDevicesHaveTheirPorts) {
  EXPECT_EQ(parsed({"-device", "isa-debug-exit"}).machine.debug_exit_port, 0x501);
  EXPECT_EQ(parsed({"-device", "isa-debug-exit,iobase=0xf4,iosize=0x4"}).machine.debug_exit_port,
            0xf4);
  EXPECT_EQ(parsed({"-debugcon", "file:x"}).debug_console, "x");
  EXPECT_FALSE(parsed({}).debug_console);
  const Words firmware = {"-debugcon", "file:x", "-global", "isa-debugcon.iobase=0x402"};
  EXPECT_THAT(missing(firmware), ElementsAre(HasSubstr("0x402")));
  Words with_disk = firmware;
  with_disk.insert(with_disk.end(), {"-hda", path("disk")});
  EXPECT_EQ(parsed(with_disk, nullptr).firmware_log, "x");
  EXPECT_THAT(missing({"-device", "isa-debugcon,iobase=0x500"}), ElementsAre(HasSubstr("0x500")));
  EXPECT_THAT(printed({"-device", "isa-debug-exit,iobase=x"}).text, HasSubstr("no port"));
}

TEST_F(QemuCommandLine, DrivesBecomeDisks) {
  const std::string disk = path("disk");
  const RunOptions run =
      parsed({"-drive", "file=" + disk + ",format=raw,if=none,id=a", "-device",
              "virtio-blk-pci,drive=a", "-drive", "file=unused,if=none,id=b,format=raw", "-hda",
              disk, "-drive", "format=raw,readonly=on,file=" + disk, "-cdrom", disk},
             nullptr);
  ASSERT_EQ(run.machine.disks.size(), 3u);
  EXPECT_TRUE(run.machine.disks[0].writable);
  EXPECT_FALSE(run.machine.disks[1].writable);
  EXPECT_TRUE(run.machine.disks[2].writable);
  EXPECT_EQ(run.machine.cd->path, disk);
  EXPECT_EQ(run.firmware, "seabios");
  EXPECT_FALSE(parsed({"-snapshot", disk}, nullptr).machine.disks[0].writable);
  EXPECT_EQ(parsed({"-drive", "media=cdrom,file=" + disk}, nullptr).machine.cd->path, disk);
}

// IDE's are SATA disks.
TEST_F(QemuCommandLine, DrivesHaveAnInterface) {
  const auto is_ahci = [this](const Words& line) {
    return parsed(line, nullptr).machine.disks.at(0).ahci;
  };
  const std::string drive = "file=a,format=raw", none = drive + ",if=none,id=x";
  EXPECT_TRUE(is_ahci({"-hda", "a"}));
  EXPECT_TRUE(is_ahci({"-drive", drive}));
  EXPECT_TRUE(is_ahci({"-drive", drive + ",if=ide,readonly=on"}));
  EXPECT_TRUE(
      is_ahci({"-drive", none, "-device", "ahci,id=ahci", "-device", "ide-hd,drive=x,bus=ahci.0"}));
  EXPECT_TRUE(is_ahci({"-drive", none, "-device", "ide-drive,drive=x"}));
  EXPECT_FALSE(is_ahci({"-drive", drive + ",if=virtio"}));
  EXPECT_FALSE(is_ahci({"-drive", drive + ",if=scsi"}));
  EXPECT_FALSE(is_ahci({"-drive", none, "-device", "virtio-blk-pci,drive=x"}));
  Words many;
  for (unsigned i = 0; i < 6; ++i)
    many.insert(many.end(), {"-drive", drive + ",index=" + std::to_string(i)});
  EXPECT_THAT(missing(many), ElementsAre(HasSubstr("there are 5 IDE disks")));
}

TEST_F(QemuCommandLine, NamesThatThereAreNot) {
  EXPECT_THAT(printed({"-display", "foo"}).text, HasSubstr("no display 'foo'"));
  EXPECT_THAT(printed({"-display", "help"}).text, HasSubstr("none"));
  EXPECT_THAT(printed({"-vga", "foo"}).text, HasSubstr("'foo'"));
  EXPECT_THAT(printed({"-action", "reboot=foo"}).text, HasSubstr("reset or shutdown"));
  EXPECT_THAT(printed({"-action", "zz=1"}).text, HasSubstr("'zz'"));
}

// Firmware starts from the first one.
TEST_F(QemuCommandLine, DrivesHaveAnOrder) {
  const std::string a = "file=a,format=raw", b = "file=b,format=raw";
  const std::string virtio = "virtio-blk-pci,drive=";
  const std::vector<Words> lines = {
      {"-hdb", "a", "-hda", "b"},
      {"-drive", a + ",index=1", "-drive", b + ",index=0"},
      {"-drive", a + ",bus=0,unit=1", "-drive", b + ",unit=0"},
      {"-drive", a + ",if=none,id=x", "-drive", b + ",if=none,id=y", "-device", virtio + "y",
       "-device", virtio + "x"},
      {"-drive", a + ",if=none,id=x", "-drive", b + ",if=none,id=y", "-device",
       virtio + "x,bootindex=2", "-device", virtio + "y,bootindex=1"},
      {"-drive", a, "-drive", b + ",if=none,id=y", "-device", virtio + "y,bootindex=0"}};
  for (const Words& line : lines) {
    const RunOptions run = parsed(line, nullptr);
    ASSERT_EQ(run.machine.disks.size(), 2u);
    EXPECT_EQ(run.machine.disks[0].path, "b") << ::testing::PrintToString(line);
  }
  EXPECT_THAT(printed({"-hda", "a", "-drive", b + ",index=0"}).text, HasSubstr("index=0"));
  EXPECT_THAT(printed({"-drive", a + ",id=x", "-drive", b + ",id=x"}).text, HasSubstr("id=x"));
  EXPECT_THAT(printed({"-drive", a + ",index=-1"}).text, HasSubstr("number"));
}

TEST_F(QemuCommandLine, ADriveIsReadOnlyByQemusWords) {
  const auto is_writable = [this](const std::string& keys) {
    return parsed({"-drive", "file=a,format=raw," + keys}, nullptr).machine.disks[0].writable;
  };
  for (const char* on : {"on", "yes", "true", "y"})
    EXPECT_FALSE(is_writable(std::string("readonly=") + on)) << on;
  for (const char* off : {"off", "no", "false", "n"})
    EXPECT_TRUE(is_writable(std::string("snapshot=") + off)) << off;
  for (const char* bad : {"readonly=1", "readonly=ON", "readonly=", "snapshot=foo"})
    EXPECT_THAT(printed({"-drive", std::string("file=a,format=raw,") + bad}).text,
                HasSubstr("is none of on|off"))
        << bad;
}

TEST_F(QemuCommandLine, WhatIsNoRawFileIsNamed) {
  EXPECT_THAT(missing({"-hda", path("qcow2")}), ElementsAre(HasSubstr("is qcow2")));
  EXPECT_THAT(missing({"-drive", "file=x,format=vmdk"}), ElementsAre(HasSubstr("raw")));
  EXPECT_THAT(missing({"-drive", "file=fat:rw:esp,format=raw"}), ElementsAre(HasSubstr("folders")));
  EXPECT_THAT(missing({"-drive", "file=x,format=raw,if=floppy"}), Not(IsEmpty()));
  EXPECT_THAT(printed({"-device", "virtio-blk-pci,drive=a"}).text, HasSubstr("id=a"));
  EXPECT_THAT(printed({"-drive", "file=x,format=raw,if=bogus"}).text, HasSubstr("if=bogus"));
}

TEST_F(QemuCommandLine, FirmwareIsBiosOrFlash) {
  EXPECT_EQ(parsed({"-bios", "OVMF.fd"}, nullptr).firmware, "ovmf");
  EXPECT_EQ(parsed({"-bios", path("disk")}, nullptr).firmware, path("disk"));
  const Words flash = {"-drive", "if=pflash,format=raw,readonly=on,file=" + path("disk"), "-drive",
                       "if=pflash,format=raw,file=" + path("qcow2")};
  EXPECT_EQ(parsed(flash, nullptr).firmware, path("disk"));
  EXPECT_EQ(parsed(flash, nullptr).machine.flash,
            (DiskConfig{.path = path("qcow2"), .writable = true}));
  Words kept = flash;
  kept.emplace_back("-snapshot");
  EXPECT_FALSE(parsed(kept, nullptr)
                   .machine.flash.value_or(DiskConfig{.path = "", .writable = true})
                   .writable);
  const std::string file = "if=pflash,format=raw,file=" + path("disk");
  EXPECT_EQ(parsed({"-drive", file + ",unit=1,readonly=on", "-drive", file + ",unit=0"}, nullptr)
                .machine.flash,
            DiskConfig{.path = path("disk")});
  EXPECT_THAT(printed({"-drive", file + ",unit=1"}).text, HasSubstr("unit=0"));
  EXPECT_THAT(printed({"-bios", "OVMF.fd", "-drive", file}).text, HasSubstr("leave one out"));
  EXPECT_THAT(printed({"-drive", file + ",unit=0", "-drive", file + ",unit=0"}).text,
              HasSubstr("already"));
  EXPECT_THAT(missing({"-bios", "OVMF.fd"}), ElementsAre(HasSubstr("-kernel and -bios")));
}

TEST_F(QemuCommandLine, ProcessorsBecomeNestors) {
  const auto arguments = [&](const char* cpu) { return translated({"-cpu", cpu}).arguments; };
  EXPECT_THAT(arguments("host"), Contains(default_processor_name()));
  EXPECT_THAT(arguments("max,+vmx"), Contains("SapphireRapids,+vmx"));
  EXPECT_THAT(arguments("qemu64,-x2apic,tsc_deadline=on,sse4_1=off"),
              Contains("Westmere,-x2apic,+tsc-deadline,-sse4.1"));
  EXPECT_THAT(arguments("Haswell-noTSX-IBRS"), Contains("Haswell"));
  EXPECT_THAT(arguments("Skylake-Server-v4,vendor=GenuineIntel,migratable=no,hv-relaxed=off"),
              Contains("Skylake-Server"));
  EXPECT_THAT(missing({"-cpu", "EPYC-v2"}), ElementsAre(HasSubstr("Intel")));
  EXPECT_THAT(missing({"-cpu", "max,+svm"}), ElementsAre(StartsWith("-cpu +svm: ")));
  EXPECT_THAT(missing({"-cpu", "host,hv_passthrough"}), ElementsAre(HasSubstr("Hyper-V")));
  EXPECT_THAT(printed({"-cpu", "Z80"}).text, HasSubstr("no model 'Z80'"));
  EXPECT_THAT(printed({"-cpu", "host,vmx=7"}).text, HasSubstr("vmx=7"));
}

TEST_F(QemuCommandLine, GdbListensWhereQemuWould) {
  EXPECT_EQ(parsed({"-s"}).gdb->port, 1234);
  EXPECT_TRUE(parsed({"-s", "-S"}).stopped);
  EXPECT_EQ(parsed({"-gdb", "tcp::99,server=on"}).gdb->port, 99);
  EXPECT_EQ(parsed({"-gdb", "tcp:127.0.0.1:99"}).gdb->host, "127.0.0.1");
  EXPECT_THAT(printed({"-S"}).text, HasSubstr("-s"));
  EXPECT_THAT(missing({"-gdb", "udp::9"}), Not(IsEmpty()));
}

TEST_F(QemuCommandLine, ANetworkIsVirtios) {
  const auto network_of = [&](const Words& arguments) {
    const Words to = translated(arguments).arguments;
    const auto found = std::ranges::find(to, "--net");
    return found == to.end() ? "none" : *(found + 1);
  };
  EXPECT_EQ(network_of({"-netdev", "user,id=n,hostfwd=tcp::2222-:22,hostfwd=udp:127.0.0.1:53-:5353",
                        "-device", "virtio-net-pci,netdev=n"}),
            "user,forward=tcp:2222:22,forward=udp:53:5353");
  EXPECT_EQ(network_of({"-device", "virtio-net,netdev=n", "-netdev", "user,id=n,restrict=on"}),
            "user");
  EXPECT_EQ(network_of({"-nic", "user,model=virtio-net-pci,hostfwd=::8080-10.0.2.15:80"}),
            "user,forward=tcp:8080:80");
  EXPECT_EQ(network_of({"-nic", "none"}), "none");
  EXPECT_EQ(network_of({"-nic", "user"}), "none");
  EXPECT_EQ(network_of({"-netdev", "user,id=n"}), "none") << "no card is plugged in";
  EXPECT_THAT(printed({"-netdev", "user,id=n,hostfwd=tcp::x-:22"}).text,
              HasSubstr("'tcp::x-:22' is not [tcp|udp]"));
  EXPECT_THAT(missing({"-netdev", "user,id=n,hostfwd=tcp:10.1.1.1:1-:22"}),
              ElementsAre(HasSubstr("and no other address")));
  const auto ignored = [&](const Words& arguments) { return translated(arguments).report.ignored; };
  EXPECT_THAT(ignored({"-device", "virtio-net,netdev=n", "-netdev", "user,id=n"}),
              ElementsAre(HasSubstr("the guest reaches only who comes by hostfwd")));
  EXPECT_THAT(ignored({"-device", "virtio-net,netdev=n", "-netdev", "user,id=n,restrict=on"}),
              IsEmpty());
  EXPECT_THAT(ignored({"-netdev", "user,id=n"}),
              ElementsAre(HasSubstr("no virtio-net-pci has it")));
  EXPECT_THAT(printed({"-netdev", "user"}).text, HasSubstr("it needs an id="));
  EXPECT_THAT(printed({"-netdev", "wire,id=n"}).text, HasSubstr("there is no network 'wire'"));
  EXPECT_THAT(printed({"-device", "virtio-net-pci,netdev=m"}).text,
              HasSubstr("there is no -netdev with id=m"));
  EXPECT_THAT(missing({"-netdev", "tap,id=n,ifname=t"}),
              ElementsAre(HasSubstr("-netdev tap,id=n")));
}

TEST_F(QemuCommandLine, LogItemsBecomeEventsOfTheTrace) {
  const RunOptions run = parsed({"-d", "int,cpu_reset,guest_errors,unimp,mmu", "-D", "log"});
  EXPECT_EQ(run.trace, "log");
  EXPECT_EQ(parsed({"-d", "int"}).trace, "/dev/stderr");
  EXPECT_FALSE(parsed({"-d", "in_asm,nochain"}).trace);
  EXPECT_THAT(translated({"-d", "in_asm"}).report.ignored, ElementsAre(StartsWith("-d in_asm ")));
  EXPECT_THAT(printed({"-d", "bogus"}).text, HasSubstr("bogus"));
}

TEST_F(QemuCommandLine, MachinesAndAcceleratorsAreNames) {
  EXPECT_THAT(translated({"-machine", "pc,accel=kvm:tcg,kernel-irqchip=split,pit=on", "-accel",
                          "tcg,thread=multi", "-enable-kvm"})
                  .report.ignored,
              IsEmpty());
  EXPECT_THAT(translated({"-M", "q35"}).report.ignored, ElementsAre(HasSubstr("q35")));
  EXPECT_THAT(translated({"-machine", "pit=off"}).report.ignored,
              ElementsAre(HasSubstr("pit=off")));
  EXPECT_THAT(missing({"-machine", "microvm"}), Not(IsEmpty()));
  EXPECT_THAT(missing({"-machine", "vmport=on"}), ElementsAre(StartsWith("-machine vmport=on: ")));
  EXPECT_THAT(printed({"-machine", "bogus"}).text, HasSubstr("bogus"));
  EXPECT_THAT(printed({"-machine", "bogus=1"}).text, HasSubstr("no such key"));
  EXPECT_THAT(printed({"-accel", "bogus"}).text, HasSubstr("bogus"));
}

TEST_F(QemuCommandLine, WhatIsMissingIsNamedLineByLine) {
  EXPECT_THAT(missing({"-device", "intel-iommu", "-qmp", "stdio", "-device", "bogus,x=y"}),
              ElementsAre(StartsWith("-device intel-iommu: "), StartsWith("-qmp stdio: "),
                          StartsWith("-device bogus,x=y: ")));
  EXPECT_THAT(
      translated({"-usb", "-net", "none", "-net", "user", "-monitor", "none"}).report.ignored,
      ElementsAre(StartsWith("-usb is ignored: "), StartsWith("-net user is ignored: ")));
}

TEST_F(QemuCommandLine, NamesThatLookLikeOptionsAreNames) {
  EXPECT_EQ(parsed({"-serial", "file:-x"}).serial, "-x");
  write("-y", testing::multiboot1_flat());
  const fs::path before = fs::current_path();
  fs::current_path(folder_);
  EXPECT_EQ(parsed({"-kernel", "-y"}, nullptr).image, "./-y");
  fs::current_path(before);
}

TEST_F(QemuCommandLine, BadUsageIsOneLine) {
  const auto check = [&](const Words& arguments, const char* kernel, const char* text) {
    const PrintAndExit print = printed(arguments, kernel);
    EXPECT_EQ(print.status, ExitStatus::kBadUsage);
    EXPECT_THAT(print.text, HasSubstr(text));
    EXPECT_EQ(std::ranges::count(print.text, '\n'), 1);
  };
  check({"-bogus"}, "multiboot", "-bogus: invalid option");
  check({"--no-rebot"}, "multiboot", "did you mean -no-reboot");
  check({"-m"}, "multiboot", "-m: requires an argument");
  check({}, nullptr, "nothing to start");
  check({"-append", "x"}, nullptr, "only allowed with -kernel");
  check({"-initrd", "x"}, nullptr, "only allowed with -kernel");
  check({"-boot", "d"}, "multiboot", "no -cdrom");
  check({"-hda", ""}, "multiboot", "empty");
  check({"-icount", "zz"}, "multiboot", "shift=zz: 'zz' is neither auto nor a number up to 10");
  check({"-boot", "strict=foo"}, "multiboot", "strict=foo: 'foo' is none of on|off");
  check({"-cpu", "host,check=foo"}, "multiboot", "'foo' is none of on|off");
  check({"-cpu", "host,level=x"}, "multiboot", "'x' is no number");
  check({"-accel", "tcg,thread=many"}, "multiboot", "'many' is none of single|multi");
  check({"-accel", "tcg,color=red"}, "multiboot", "there is no such key");
  check({"-drive", "file=a,format=raw,cache=foo"}, "multiboot",
        "cache=foo: 'foo' is none of none|");
}

TEST_F(QemuCommandLine, AKernelThatIsNotThereIsNamedAsQemuDoes) {
  const PrintAndExit print = printed({"-kernel", "nowhere"}, nullptr);
  EXPECT_EQ(print.status, ExitStatus::kBadImage);
  EXPECT_EQ(print.text,
            "nestor-qemu: could not open kernel file 'nowhere': No such file or directory\n");
  EXPECT_THAT(printed({"-kernel", folder_}, nullptr).text, HasSubstr("directory"));
  // All else is judged before.
  EXPECT_THAT(missing({"-kernel", "nowhere", "-qmp", "stdio"}, nullptr), Not(IsEmpty()));
}

TEST_F(QemuCommandLine, HelpIsForScriptsToo) {
  EXPECT_THAT(printed({"-version"}).text, StartsWith("QEMU emulator version 7.2.0 "));
  EXPECT_THAT(printed({"--help"}).text, StartsWith("QEMU emulator version 7.2.0 "));
  for (const char* ask : {"?", "help"}) {
    const std::string devices = printed({"-device", ask}).text;
    EXPECT_THAT(devices, HasSubstr("name \"pc-testdev\""));
    EXPECT_THAT(devices, HasSubstr("name \"isa-debug-exit\""));
    EXPECT_THAT(devices, Not(HasSubstr("pci-testdev")));
  }
  EXPECT_THAT(printed({"-machine", "help"}).text, HasSubstr("\npc "));
  EXPECT_THAT(printed({"-accel", "help"}).text, HasSubstr("\ntcg\n"));
  EXPECT_THAT(printed({"-cpu", "help"}).text, HasSubstr("x86 qemu64"));
  EXPECT_THAT(printed({"-d", "help"}).text, HasSubstr("cpu_reset"));
  EXPECT_EQ(printed({"-help"}).status, ExitStatus::kSuccess);
}

TEST_F(QemuCommandLine, TheCommandIsForAShell) {
  EXPECT_EQ(shell_command({"run", "a b", "it's", "", "x=1"}),
            "nestor run 'a b' 'it'\\''s' '' x=1\n");
  EXPECT_TRUE(translated({"-nestor-print"}).print);
  EXPECT_THAT(translated({"-nestor", "--stats"}).arguments, Contains("--stats"));
  EXPECT_TRUE(translated({"-no-reboot"}).ends_at_reset);
  EXPECT_TRUE(translated({"-action", "reboot=shutdown"}).ends_at_reset);
  EXPECT_FALSE(translated({}).ends_at_reset);
}

// What docs/qemu.md says is what the table says.
TEST(QemuOptions, TheDocumentHasThemAll) {
  std::ifstream in(NESTOR_SOURCE_DIR "/docs/qemu.md");
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  std::set<std::string_view> names;
  for (const Row<Wanted>& row : option_table()) {
    EXPECT_TRUE(names.insert(row.name).second) << row.name << " is there twice";
    EXPECT_EQ(row.treatment == Treatment::kTaken, row.read != nullptr) << row.name;
    EXPECT_FALSE(row.text.empty()) << row.name;
    const std::string option = "-" + std::string(row.name);
    EXPECT_TRUE(text.find("`" + option + "`") != text.npos ||
                text.find("`" + option + " ") != text.npos)
        << option << " is not in docs/qemu.md";
  }
}

}  // namespace
}  // namespace nestor::emu::qemu
