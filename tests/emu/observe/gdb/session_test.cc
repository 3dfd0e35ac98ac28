// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/gdb/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/emu/observe/gdb/fake_target.h"

namespace nestor::emu {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class GdbSessionTest : public testing::Test {
 protected:
  FakeTarget target_;
  std::string sent_;
  GdbSession session_{target_, [this](std::string_view bytes) { sent_ += bytes; }, GdbStop{}};

  // What the packets of the answer say, without their frames; without acknowledgements.
  std::string ask(std::string_view data) {
    sent_.clear();
    session_.feed(framed(data));
    return answer();
  }
  std::string answer() const {
    PacketReader reader;
    reader.feed(sent_);
    std::string text;
    while (const auto received = reader.next()) {
      if (received->kind == Received::Kind::kPacket) text += received->data + "|";
      EXPECT_NE(received->kind, Received::Kind::kDamaged);
    }
    return text.substr(0, text.size() - 1);
  }
};

TEST_F(GdbSessionTest, AcknowledgesUntilItIsToldNotTo) {
  session_.feed("+$?#3f");
  EXPECT_EQ(sent_.substr(0, 1), "+");
  EXPECT_EQ(answer(), "T05thread:1;");
  sent_.clear();
  session_.feed("-");
  EXPECT_EQ(answer(), "T05thread:1;");  // once more
  sent_.clear();
  session_.feed("$?#40");  // a wrong checksum
  EXPECT_EQ(sent_, "-");
  EXPECT_EQ(ask("QStartNoAckMode"), "OK");
  sent_.clear();
  session_.feed("$?#3f");
  EXPECT_EQ(sent_.substr(0, 1), "$");
}

TEST_F(GdbSessionTest, TakesPacketsInPiecesAndPassesOverWhatIsNone) {
  const std::string packet = "garbage\x01" + framed("qC");
  for (const char byte : packet) session_.feed({&byte, 1});
  EXPECT_EQ(answer(), "QC1");
}

TEST_F(GdbSessionTest, APacketThatIsTooLongIsRefused) {
  session_.feed("$" + std::string(2 * kLargestPacket, 'a') + "#00");
  EXPECT_EQ(sent_, "-");
  EXPECT_EQ(ask("qC"), "QC1");
}

TEST_F(GdbSessionTest, SaysWhatItSupports) {
  const std::string supported = ask("qSupported:multiprocess+;swbreak+");
  EXPECT_THAT(supported, HasSubstr("PacketSize=7fff"));
  EXPECT_THAT(supported, HasSubstr("ReverseStep+;ReverseContinue+"));
  target_.reversible = false;
  EXPECT_THAT(ask("qSupported"), Not(HasSubstr("Reverse")));
  EXPECT_EQ(ask("bc"), "E16");
  EXPECT_EQ(ask("vMustReplyEmpty"), "");
}

TEST_F(GdbSessionTest, TheDescriptionComesInParts) {
  const std::string first = ask("qXfer:features:read:target.xml:0,ffb");
  EXPECT_EQ(first, "m" + std::string(0xffb, 'x'));
  EXPECT_EQ(ask("qXfer:features:read:target.xml:ffb,ffb"), "l" + std::string(5000 - 0xffb, 'x'));
  EXPECT_EQ(ask("qXfer:features:read:target.xml:ffffffffffffffff,ffffffffffffffff"), "l");
  EXPECT_EQ(ask("qXfer:features:read:other.xml:0,10"), "E00");
}

TEST_F(GdbSessionTest, ThreadsAreProcessors) {
  EXPECT_EQ(ask("qfThreadInfo"), "m1,2");
  EXPECT_EQ(ask("qsThreadInfo"), "l");
  EXPECT_EQ(ask("qThreadExtraInfo,2"), hex_of("processor 1"));
  EXPECT_EQ(ask("T2"), "OK");
  EXPECT_EQ(ask("T3"), "E16");
  EXPECT_EQ(ask("Hg2"), "OK");
  EXPECT_EQ(ask("qC"), "QC2");
  EXPECT_EQ(ask("Hg9"), "E16");
  EXPECT_EQ(ask("Hx1"), "E16");
  EXPECT_EQ(ask("H"), "E16");
}

TEST_F(GdbSessionTest, Registers) {
  EXPECT_EQ(ask("P1=0102030405060708"), "OK");
  EXPECT_EQ(ask("p1"), "0102030405060708");
  EXPECT_EQ(ask("g"),
            "0000000000000000"
            "0102030405060708");
  EXPECT_EQ(ask("G1100000000000000"
                "0000000000000022"),
            "OK");
  EXPECT_EQ(ask("p0"), "1100000000000000");
  EXPECT_EQ(ask("p2"), "E16");
  EXPECT_EQ(ask("P0=01"), "E.it is not so");
  EXPECT_EQ(ask("G11"), "E16");
  EXPECT_EQ(ask("G1"), "E16");
}

TEST_F(GdbSessionTest, MemoryUpToWhereThereIsNone) {
  EXPECT_EQ(ask("M1000,3:0a0b0c"), "OK");
  EXPECT_EQ(ask("m1000,4"), "0a0b0c00");
  EXPECT_EQ(ask(std::string("X1001,3:\x7d#*", 11)), "OK");  // framed() escapes
  EXPECT_EQ(ask("m1000,5"), "0a7d232a00");
  EXPECT_EQ(ask("m10fe,10"), "0000");
  EXPECT_EQ(ask("m5,1"), "E0e");
  EXPECT_EQ(ask("M10ff,2:0102"), "E0e");
  EXPECT_EQ(ask("mffffffffffffffff,ffffffffffffffff"), "E0e");
  EXPECT_EQ(ask("m1000"), "E16");
  EXPECT_EQ(ask("m11111111111111111,1"), "E16");
  EXPECT_EQ(ask("M1000,3:0a0b"), "E16");
}

TEST_F(GdbSessionTest, PointsGoToTheTarget) {
  EXPECT_EQ(ask("Z0,4000,1"), "OK");
  EXPECT_EQ(ask("Z2,5000,8"), "OK");
  EXPECT_EQ(ask("z2,5000,8"), "OK");
  EXPECT_EQ(ask("Z1,0,1"), "E16");
  EXPECT_EQ(ask("Z9,0,1"), "");
  EXPECT_EQ(ask("Z0,zz"), "E16");
  EXPECT_THAT(target_.asked,
              ElementsAre("insert 0 4000 1", "insert 2 5000 8", "remove 2 5000 8", "insert 1 0 1"));
}

TEST_F(GdbSessionTest, RunsAndSaysWhyItStopped) {
  target_.next_stop.processor = 1;
  target_.next_stop.why = GdbStop::Why::kBreakpoint;
  EXPECT_EQ(ask("vCont;c"), "T05thread:2;swbreak:;");
  target_.next_stop.why = GdbStop::Why::kWatchpoint;
  target_.next_stop.point = GdbPoint::kReadWatchpoint;
  target_.next_stop.address = 0x4000;
  target_.next_stop.text = "hello\n";
  EXPECT_EQ(ask("vCont;s:1;c"), "O" + hex_of("hello\n") + "|T05thread:2;rwatch:4000;");
  target_.next_stop = {};
  target_.next_stop.why = GdbStop::Why::kNoHistory;
  EXPECT_EQ(ask("bs"), "T05thread:1;replaylog:begin;");
  EXPECT_EQ(ask("bc"), "T05thread:1;replaylog:begin;");
  EXPECT_EQ(ask("Hc2"), "OK");
  EXPECT_EQ(ask("s"), "T05thread:1;replaylog:begin;");
  for (const char* bad : {"vCont;t", "vCont;", "vCont;;c", "vCont;cc", "vCont;c5", "vCont;S5",
                          "vCont;S056", "vCont;s;x"})
    EXPECT_EQ(ask(bad), "E16") << bad;
  EXPECT_EQ(ask("vCont;c:7"), "E16");
  EXPECT_THAT(target_.asked,
              ElementsAre("continue", "step 0", "back step 1", "back continue", "step 1"));
}

TEST_F(GdbSessionTest, EndsInItsOwnWays) {
  target_.next_stop.why = GdbStop::Why::kEnded;
  target_.next_stop.status = 7;
  EXPECT_EQ(ask("c"), "W07");
  EXPECT_EQ(session_.end(), GdbSession::End::kEnded);

  GdbSession detached(target_, [this](std::string_view bytes) { sent_ += bytes; }, {});
  detached.feed(framed("D"));
  EXPECT_EQ(detached.end(), GdbSession::End::kDetached);
  GdbSession killed(target_, [](std::string_view) {}, {});
  killed.feed(framed("k"));
  EXPECT_EQ(killed.end(), GdbSession::End::kKilled);
  GdbSession gone(target_, [](std::string_view) {}, {});
  target_.next_stop.why = GdbStop::Why::kDisconnected;
  gone.feed(framed("c"));
  EXPECT_EQ(gone.end(), GdbSession::End::kDisconnected);
}

TEST_F(GdbSessionTest, AnInterruptIsSeenWhileTheMachineRuns) {
  EXPECT_FALSE(session_.read_ahead("+"));
  EXPECT_TRUE(session_.read_ahead("\x03"));
  EXPECT_FALSE(session_.read_ahead(""));
  session_.feed("\x03");  // too late: nothing runs
  EXPECT_TRUE(target_.asked.empty());
}

TEST_F(GdbSessionTest, MonitorCommandsAnswerOnTheConsole) {
  EXPECT_EQ(ask("qRcmd," + hex_of("help me")), "O" + hex_of("did help me\n") + "|OK");
  EXPECT_EQ(ask("qRcmd,6"), "E16");
  EXPECT_THAT(target_.asked, ElementsAre("monitor 0 help me"));
}

}  // namespace
}  // namespace nestor::emu
