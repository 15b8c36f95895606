#include "proxy/net/stream.h"

#include <gtest/gtest.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "cache/body.h"
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

constexpr cache::BodyFile::Limits kFiles{.files = 100, .bytes = 100'000'000};

// Every byte says where it stands, so that no two pieces of a few KiB are alike.
std::string Numbers(size_t size) {
  std::string text;
  for (size_t i = 0; text.size() < size; ++i) text += std::to_string(i) + ",";
  text.resize(size);
  return text;
}

TEST_F(StreamTest, APieceFromAFileFollowsWhatStandsBeforeIt) {
  const std::string bytes = Numbers(100'000);
  const cache::Body body = cache::Body::Copy(bytes).InFile(kFiles);
  ASSERT_GE(body.file(), 0);
  iovec pieces[3] = {Slice("head "), Slice("tail "), {}};
  ASSERT_EQ(body.Gather(1'000, 90'000, std::span(pieces).subspan(2)), 1u);
  const unsigned before = SegmentsReceived();
  EXPECT_EQ(stream.Write(pieces, false, {body.file(), 1'000}).bytes, 90'010u);
  EXPECT_EQ(stream.Write(std::span(pieces).subspan(2), false, {body.file(), 1'000}).bytes, 90'000u);
  EXPECT_GT(SegmentsReceived(), before);  // nothing is held back
  stream.Close();
  const std::string part = bytes.substr(1'000, 90'000);
  EXPECT_EQ(ReadAll(), "head tail " + part + part);
}

TEST_F(StreamTest, WhatThePeerHasNotReadStaysWholeWhenTheFileIsClosed) {
  const std::string bytes = Numbers(100'000);
  cache::Body body = cache::Body::Copy(bytes).InFile(kFiles);
  iovec piece[1];
  ASSERT_EQ(body.Gather(0, bytes.size(), piece), 1u);
  ASSERT_EQ(stream.Write(piece, false, {body.file(), 0}).bytes, bytes.size());
  body = {};
  // Whoever gets the memory next writes to it.
  std::vector<cache::Body> next;
  for (int i = 0; i < 50; ++i) {
    next.push_back(cache::Body::Copy(std::string(bytes.size(), 'x')).InFile(kFiles));
  }
  stream.Close();
  EXPECT_EQ(ReadAll(), bytes);
}

TEST_F(StreamTest, AnOutboxSendsFilesAndMemoryInTheirOrderAsTheSocketTakesThem) {
  const std::string bytes = Numbers(3'000'000);
  const auto body = std::make_shared<const cache::Body>(cache::Body::Copy(bytes).InFile(kFiles));
  ASSERT_GE(body->file(), 0);
  Outbox outbox;
  std::string expected;
  for (int i = 0; i < 8; ++i) {
    const std::string head = "[" + std::to_string(i) + "]";
    iovec pieces[2] = {Slice(head), {}};
    const uint64_t from = 1'000 * static_cast<uint64_t>(i);
    ASSERT_EQ(body->Gather(from, bytes.size(), std::span(pieces).subspan(1)), 1u);
    expected += head + bytes.substr(from);
    if (i % 3 == 2) {
      outbox.Queue(pieces[0], nullptr);
      outbox.Queue(pieces[1], body, {body->file(), from});
      continue;
    }
    // Kept with the body, so that the head is too: it lives until the end of the test.
    static const std::vector<std::string> kHeads = {"[0]", "[1]", "[2]", "[3]",
                                                    "[4]", "[5]", "[6]", "[7]"};
    pieces[0] = Slice(kHeads[static_cast<size_t>(i)]);
    EXPECT_NE(outbox.Send(stream, pieces, body, {body->file(), from}), IoStatus::kError);
  }
  EXPECT_GT(outbox.size(), 0u);  // more than the socket takes
  std::string got;
  std::thread reader([&] { got = ReadAll(); });
  while (!outbox.empty()) ASSERT_NE(outbox.Flush(stream), IoStatus::kError);
  stream.Close();
  reader.join();
  EXPECT_TRUE(got == expected);
}

}  // namespace
}  // namespace satchel::net
