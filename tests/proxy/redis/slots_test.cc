#include "proxy/redis/slots.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "tests/support/redis_process.h"

namespace satchel::redis {
namespace {

Reply Integer(int64_t value) {
  Reply reply;
  reply.type = Reply::Type::kInteger;
  reply.integer = value;
  return reply;
}

Reply Text(std::string text) {
  Reply reply;
  reply.type = Reply::Type::kString;
  reply.text = std::move(text);
  return reply;
}

Reply Array(std::vector<Reply> items) {
  Reply reply;
  reply.type = Reply::Type::kArray;
  reply.items = std::move(items);
  return reply;
}

Reply Range(int64_t first, int64_t last, const std::string& host, int64_t port) {
  return Array({Integer(first), Integer(last), Array({Text(host), Integer(port), Text("id")})});
}

TEST(SlotTest, IsWhatTheServerSays) {
  testing::RedisProcess server({"--cluster-enabled", "yes", "--cluster-port", "0"});
  std::mt19937 random(7);
  std::vector<std::string> keys = {"",
                                   "123456789",
                                   "{}",
                                   "a{}b",
                                   "foo{{bar}}zap",
                                   "{user}:1",
                                   "satchel:1:{QqsSA2H9JAEGbgp_6aaX-A}:v"};
  for (int i = 0; i < 50; ++i) {
    std::string key;
    for (size_t length = 1 + random() % 20; key.size() < length;) {
      key += "{}abc:\xff"[random() % 7];
    }
    keys.push_back(key);
  }
  for (const std::string& key : keys) {
    EXPECT_EQ(std::to_string(SlotOf(key)), server.Command({"CLUSTER", "KEYSLOT", key})) << key;
  }
}

TEST(ReadSlotsTest, RangesNameTheirMasters) {
  const auto ranges =
      ReadSlots(Array({Range(0, 99, "10.0.0.1", 7000), Range(100, 16383, "", 7001)}), "me");
  ASSERT_TRUE(ranges.has_value());
  ASSERT_EQ(ranges->size(), 2u);
  EXPECT_EQ((*ranges)[0].last, 99);
  EXPECT_EQ((*ranges)[0].master, (ServerAddress{.host = "10.0.0.1", .port = 7000}));
  EXPECT_EQ((*ranges)[1].master, (ServerAddress{.host = "me", .port = 7001}));
}

TEST(ReadSlotsTest, WhatDoesNotFitIsAnError) {
  for (const Reply& bad :
       {Text("OK"), Array({Text("x")}), Array({Range(0, 16384, "h", 1)}),
        Array({Range(-1, 5, "h", 1)}), Array({Range(9, 5, "h", 1)}), Array({Range(0, 5, "h", 0)}),
        Array({Range(0, 5, "h", 65536)}), Array({Range(0, 5, "unix:/x", 1)}),
        Array({Range(0, 5, std::string(300, 'h'), 1)}),
        Array({Array({Integer(0), Integer(1), Array({})})}),
        Array({Array({Integer(0), Integer(1), Text("h")})}),
        Array({Array({Text("0"), Integer(1), Array({Text("h"), Integer(1)})})})}) {
    EXPECT_FALSE(ReadSlots(bad, "me").has_value());
  }
}

TEST(ReadRedirectTest, MovedAndAskNameSlotAndServer) {
  const auto moved = ReadRedirect("MOVED 3999 127.0.0.1:6381", "me");
  ASSERT_TRUE(moved.has_value());
  EXPECT_EQ(moved->kind, Redirect::Kind::kMoved);
  EXPECT_EQ(moved->slot, 3999);
  EXPECT_EQ(moved->to, (ServerAddress{.host = "127.0.0.1", .port = 6381}));
  const auto ask = ReadRedirect("ASK 0 ::1:6381", "me");
  ASSERT_TRUE(ask.has_value());
  EXPECT_EQ(ask->kind, Redirect::Kind::kAsk);
  EXPECT_EQ(ask->to.host, "::1");
  EXPECT_EQ(ReadRedirect("MOVED 1 :7000", "me")->to.host, "me");
  EXPECT_EQ(ReadRedirect("MOVED 1 ?:7000", "me")->to.host, "me");
}

TEST(ReadRedirectTest, NonsenseIsNone) {
  for (const char* text : {"", "MOVED", "MOVED 1", "MOVED x h:1", "MOVED 16384 h:1", "MOVED 1 h",
                           "MOVED 1 h:0", "MOVED 1 h:99999", "MOVED 1 h:1x", "MOVED -1 h:1",
                           "MOVED 1 unix:/s:1", "ERR 1 h:1", "ASKING 1 h:1", "MOVED 1:2"}) {
    EXPECT_FALSE(ReadRedirect(text, "me").has_value()) << text;
  }
}

}  // namespace
}  // namespace satchel::redis
