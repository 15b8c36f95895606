#include "proxy/redis/resp.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace satchel::redis {
namespace {

using Next = ReplyReader::Next;

std::string Describe(const Reply& reply) {
  switch (reply.type) {
    case Reply::Type::kNil:
      return "nil";
    case Reply::Type::kStatus:
      return "+" + reply.text;
    case Reply::Type::kError:
      return "-" + reply.text;
    case Reply::Type::kInteger:
      return std::to_string(reply.integer);
    case Reply::Type::kString:
      return "'" + reply.text + "'";
    case Reply::Type::kArray: {
      std::string text = "[";
      for (const Reply& item : reply.items) text += (text.size() > 1 ? " " : "") + Describe(item);
      return text + "]";
    }
  }
  return "?";
}

// All replies of `wire`, fed in pieces of `piece` bytes; an error shows as "error".
std::vector<std::string> ReadAll(std::string_view wire, size_t piece,
                                 ReplyReader::Limits limits = {}) {
  ReplyReader reader(limits);
  std::vector<std::string> replies;
  for (size_t at = 0; at < wire.size(); at += piece) {
    reader.Feed(wire.substr(at, piece));
    Reply reply;
    Next next;
    while ((next = reader.Read(reply)) == Next::kReply) replies.push_back(Describe(reply));
    if (next == Next::kError) {
      replies.push_back("error");
      break;
    }
  }
  return replies;
}

using Replies = std::vector<std::string>;

TEST(RespTest, ReadsEveryTypeHoweverTheBytesArrive) {
  const std::string_view wire =
      "+OK\r\n-ERR no\r\n:-42\r\n$5\r\na\r\nb!\r\n$-1\r\n$0\r\n\r\n*-1\r\n*0\r\n"
      "*3\r\n:1\r\n*2\r\n$1\r\nx\r\n$-1\r\n+fine\r\n:9223372036854775807\r\n";
  const Replies expected = {"+OK", "-ERR no", "-42", "'a\r\nb!'",           "nil",
                            "''",  "nil",     "[]",  "[1 ['x' nil] +fine]", "9223372036854775807"};
  for (size_t piece = 1; piece <= wire.size(); ++piece) {
    EXPECT_EQ(ReadAll(wire, piece), expected) << piece;
  }
}

TEST(RespTest, ReadsALargeStringInSmallPieces) {
  std::string body(3 << 20, 'x');
  for (size_t i = 0; i < body.size(); i += 997) body[i] = static_cast<char>(i);
  const std::string wire = "$" + std::to_string(body.size()) + "\r\n" + body + "\r\n:7\r\n";
  EXPECT_EQ(ReadAll(wire, 16 << 10), (Replies{"'" + body + "'", "7"}));
}

TEST(RespTest, GarbageIsAnErrorForGood) {
  for (const char* wire : {"hello\r\n", "$abc\r\n", "$-2\r\n", "*-2\r\n", ":12x\r\n", "*x\r\n"}) {
    EXPECT_EQ(ReadAll(wire, 100), Replies{"error"}) << wire;
  }
  ReplyReader reader;
  reader.Feed("hello\r\n");
  Reply reply;
  EXPECT_EQ(reader.Read(reply), Next::kError);
  EXPECT_FALSE(reader.Feed("+OK\r\n"));
  EXPECT_EQ(reader.Read(reply), Next::kError);
  EXPECT_FALSE(reader.error().empty());
}

TEST(RespTest, ALengthInTheStreamAllocatesNothingBeyondTheLimits) {
  const ReplyReader::Limits limits{.max_bytes = 1000, .max_elements = 10};
  EXPECT_EQ(ReadAll("*2147483647\r\n", 100, limits), Replies{"error"});
  EXPECT_EQ(ReadAll("*11\r\n", 100, limits), Replies{"error"});
  EXPECT_EQ(ReadAll("*2\r\n*9\r\n", 100, limits), Replies{"error"});  // 11 in all
  EXPECT_EQ(ReadAll("*-2147483648\r\n", 100, limits), Replies{"error"});
  EXPECT_EQ(ReadAll("$1001\r\n" + std::string(1001, 'x') + "\r\n", 100, limits), Replies{"error"});
  EXPECT_EQ(ReadAll("$1000\r\n" + std::string(1000, 'x') + "\r\n", 100, limits),
            Replies{"'" + std::string(1000, 'x') + "'"});
  // Two strings of one reply count together, those of two replies do not.
  const std::string part = "$600\r\n" + std::string(600, 'x') + "\r\n";
  EXPECT_EQ(ReadAll("*2\r\n" + part + part, 100, limits), Replies{"error"});
  EXPECT_EQ(ReadAll(part + part, 100, limits).size(), 2u);
}

TEST(RespTest, AStringThatNeverEndsIsGivenUp) {
  EXPECT_EQ(ReadAll("$999999999\r\n" + std::string(100'000, 'x'), 1000,
                    {.max_bytes = 1000, .max_elements = 10}),
            Replies{"error"});
  EXPECT_EQ(ReadAll("+" + std::string(100'000, 'x'), 1000, {.max_bytes = 1000, .max_elements = 10}),
            Replies{"error"});
}

TEST(RespTest, NestingIsBounded) {
  std::string wire;
  for (int i = 0; i < 100; ++i) wire += "*1\r\n";
  EXPECT_EQ(ReadAll(wire + ":1\r\n", 1000), Replies{"error"});
}

TEST(RespTest, RandomBytesNeverHarm) {
  std::mt19937 random(11);
  constexpr std::string_view kLikely = "*$+-:\r\n0123456789\r\n\r\n";
  for (int run = 0; run < 3000; ++run) {
    std::string wire;
    for (int i = 0; i < 60; ++i) wire += kLikely[random() % kLikely.size()];
    ReadAll(wire, 1 + random() % 7, {.max_bytes = 100, .max_elements = 10});
  }
}

TEST(RespTest, WritesCommandsAsArraysOfStrings) {
  Command command{"SET", "k\r\n", ""};
  command.Arg(int64_t{-7});
  EXPECT_EQ(command.arguments(), 4u);
  EXPECT_EQ(std::move(command).ToString(),
            "*4\r\n$3\r\nSET\r\n$3\r\nk\r\n\r\n$0\r\n\r\n$2\r\n-7\r\n");
}

TEST(RespTest, LargePayloadsAreMovedNotCopied) {
  std::string payload(100'000, 'p');
  const char* data = payload.data();
  Command command{"SET", "k"};
  command.Payload(std::move(payload)).Arg("PX").Arg(int64_t{5});
  std::vector<std::string> out = {"before"};
  std::move(command).WriteTo(out);
  bool moved = false;
  std::string all;
  for (const std::string& piece : out) {
    moved = moved || piece.data() == data;
    all += piece;
  }
  EXPECT_TRUE(moved);
  EXPECT_EQ(all, "before*5\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000\r\n" + std::string(100'000, 'p') +
                     "\r\n$2\r\nPX\r\n$1\r\n5\r\n");
}

TEST(RespTest, SmallCommandsShareOneBuffer) {
  std::vector<std::string> out;
  for (int i = 0; i < 100; ++i) Command{"GET", "key"}.WriteTo(out);
  EXPECT_EQ(out.size(), 1u);
}

TEST(RespTest, TheSizeToldIsTheSizeWritten) {
  for (const size_t size : {0u, 1u, 16'383u, 16'384u, 70'000u}) {
    Command command{"SET", "k"};
    command.Payload(std::string(size, 'x')).Arg("PX");
    const size_t told = command.bytes();
    EXPECT_EQ(std::move(command).ToString().size(), told + 4) << size;  // "*4\r\n"
  }
}

TEST(RespTest, ScriptsAreKnownByTheirSha1) {
  const Script script("return 1");  // sha1sum
  EXPECT_EQ(script.sha(), "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
  ScriptArguments arguments;
  arguments.Key("k").Arg("a").Arg(int64_t{5});
  EXPECT_EQ(arguments.EvalSha(script).ToString(),
            "*6\r\n$7\r\nEVALSHA\r\n$40\r\ne0e1f9fabfc9d4800c877a703b823ac0578ff8db\r\n$1\r\n1\r\n"
            "$1\r\nk\r\n$1\r\na\r\n$1\r\n5\r\n");
  EXPECT_EQ(arguments.Eval(script).ToString(),
            "*6\r\n$4\r\nEVAL\r\n$8\r\nreturn 1\r\n$1\r\n1\r\n$1\r\nk\r\n$1\r\na\r\n$1\r\n5\r\n");
}

TEST(RespTest, TheCodeOfAnErrorIsItsFirstWord) {
  Reply reply;
  reply.type = Reply::Type::kError;
  reply.text = "NOSCRIPT No matching script";
  EXPECT_EQ(reply.ErrorCode(), "NOSCRIPT");
  reply.text = "OOM";
  EXPECT_EQ(reply.ErrorCode(), "OOM");
}

}  // namespace
}  // namespace satchel::redis
