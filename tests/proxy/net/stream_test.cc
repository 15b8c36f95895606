#include "proxy/net/stream.h"

#include <gtest/gtest.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <string>
#include <vector>

#include "proxy/net/outbox.h"

namespace satchel::net {
namespace {

// Both ends of a connection over the loopback.
class StreamTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* raw = reinterpret_cast<sockaddr*>(&address);
    ASSERT_EQ(bind(listener, raw, size), 0);
    ASSERT_EQ(listen(listener, 1), 0);
    ASSERT_EQ(getsockname(listener, raw, &size), 0);
    peer = socket(AF_INET, SOCK_STREAM, 0);
    ASSERT_EQ(connect(peer, raw, size), 0);
    stream = Stream(accept4(listener, nullptr, nullptr, SOCK_NONBLOCK));
    ASSERT_TRUE(stream.open());
    close(listener);
  }
  void TearDown() override { close(peer); }

  // What the peer reads until the end; `reset` tells whether that was a reset.
  std::string ReadAll(bool* reset = nullptr) const {
    std::string all;
    std::array<char, 65536> buffer;
    ssize_t n = 0;
    while ((n = recv(peer, buffer.data(), buffer.size(), 0)) > 0) {
      all.append(buffer.data(), static_cast<size_t>(n));
    }
    if (reset != nullptr) *reset = n < 0;
    return all;
  }
  unsigned SegmentsReceived() const {
    tcp_info info{};
    socklen_t size = sizeof info;
    EXPECT_EQ(getsockopt(peer, IPPROTO_TCP, TCP_INFO, &info, &size), 0);
    return info.tcpi_segs_in;
  }
  IoResult Write(const std::vector<std::string>& texts, bool last = false) {
    std::vector<iovec> pieces;
    for (const std::string& text : texts) pieces.push_back(Slice(text));
    return stream.Write(pieces, last);
  }

  Stream stream;
  int peer = -1;
};

TEST_F(StreamTest, PiecesOfEverySizeArriveInTheirOrder) {
  std::string expected;
  for (const size_t size : {1UL, 2000UL, 4095UL, 4096UL, 4097UL, 50'000UL}) {
    const std::vector<std::string> texts = {"head ", "", std::string(size - 1, 'b'), "t"};
    std::string whole;
    for (const std::string& text : texts) whole += text;
    EXPECT_EQ(Write(texts).bytes, whole.size());
    expected += whole;
  }
  stream.Close();
  EXPECT_EQ(ReadAll(), expected);
}

TEST_F(StreamTest, TheEndTravelsWithTheLastBytes) {
  const unsigned before = SegmentsReceived();
  EXPECT_EQ(Write({"good", "bye"}, /*last=*/true).bytes, 7U);
  stream.Close();
  EXPECT_EQ(ReadAll(), "goodbye");
  EXPECT_EQ(SegmentsReceived(), before + 1);
}

TEST_F(StreamTest, AHalfCloseSendsWhatWasHeldBackForIt) {
  Write({"goodbye"}, /*last=*/true);
  stream.ShutdownWrite();
  EXPECT_EQ(ReadAll(), "goodbye");
}

TEST_F(StreamTest, LastBytesAreNotLostToInputThatNobodyRead) {
  ASSERT_EQ(send(peer, "more", 4, 0), 4);
  char byte = 0;
  ASSERT_EQ(recv(stream.fd(), &byte, 1, MSG_PEEK), 1);  // it is there
  const unsigned before = SegmentsReceived();
  Write({"goodbye"}, /*last=*/true);
  stream.Close();  // which sends a reset, but behind them
  EXPECT_EQ(SegmentsReceived(), before + 2);
}

TEST_F(StreamTest, AResetTakesWhatWasHeldBackWithIt) {
  Write({"half of it"}, /*last=*/true);
  stream.ResetOnClose();
  stream.Close();
  bool reset = false;
  EXPECT_EQ(ReadAll(&reset), "");
  EXPECT_TRUE(reset);
}

}  // namespace
}  // namespace satchel::net
