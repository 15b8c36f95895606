#include "proxy/access_log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "tests/support/child_process.h"
#include "tests/support/concurrency.h"

namespace satchel::proxy {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

AccessRecord SomeRecord() {
  AccessRecord record;
  record.time = cache::TimeFromUnixMillis(1795233791007);
  record.client = "10.1.2.3";
  record.method = "GET";
  record.scheme = "http";
  record.host = "shop.example";
  record.target = "/a?b=c";
  record.protocol = "HTTP/1.1";
  record.status = 200;
  record.bytes_in = 120;
  record.bytes_out = 4711;
  record.duration_us = 87;
  record.rule = "product";
  record.outcome = Outcome::kHit;
  record.reason = cache::Reason::kFresh;
  record.tier = "l1";
  record.age_s = 12;
  return record;
}

std::string Line(const AccessRecord& record, const AccessLogOptions& options = {}) {
  std::string line;
  bool truncated = false;
  AccessLog::AppendLine(line, record, options, &truncated);
  return line;
}

json Parsed(const AccessRecord& record, const AccessLogOptions& options = {}) {
  const std::string line = Line(record, options);
  EXPECT_EQ(line.find('\n'), line.size() - 1) << line;
  const json parsed = json::parse(line, nullptr, false);
  EXPECT_TRUE(parsed.is_object()) << line;
  return parsed;
}

TEST(AccessLogTest, ALineHoldsWhatHappened) {
  AccessRecord record = SomeRecord();
  record.upstream = "app";
  record.upstream_address = "127.0.0.1:3000";
  record.upstream_us = 4000;
  record.upstream_attempts = 2;
  record.upstream_status = 200;
  record.limit = LimitOutcome::kAllowed;
  record.limit_policy = "api";
  record.key_hash = 0xabc;
  record.user_agent = "curl/8";
  record.referer = "https://elsewhere/";
  record.error = "none really";
  const json line = Parsed(record);
  EXPECT_EQ(line["time"], "2026-11-21T04:03:11.007Z");
  EXPECT_EQ(line["client"], "10.1.2.3");
  EXPECT_EQ(line["method"], "GET");
  EXPECT_EQ(line["target"], "/a?b=c");
  EXPECT_EQ(line["status"], 200);
  EXPECT_EQ(line["bytes_out"], 4711);
  EXPECT_EQ(line["duration_us"], 87);
  EXPECT_EQ(line["cache"], "hit");
  EXPECT_EQ(line["reason"], cache::ReasonWord(cache::Reason::kFresh));
  EXPECT_EQ(line["age"], 12);
  EXPECT_EQ(line["key_hash"], "0000000000000abc");
  EXPECT_EQ(line["upstream_attempts"], 2);
  EXPECT_EQ(line["limit"], "api");
  EXPECT_EQ(line["limit_verdict"], "allowed");
  EXPECT_EQ(line["referer"], "https://elsewhere/");
  EXPECT_EQ(line["error"], "none really");
}

TEST(AccessLogTest, WhatDoesNotApplyIsLeftOut) {
  const json line = Parsed(SomeRecord());
  for (const char* name :
       {"upstream", "upstream_us", "upstream_attempts", "upstream_status", "limit", "limit_verdict",
        "error", "referer", "request_id", "key_hash"}) {
    EXPECT_FALSE(line.contains(name)) << name;
  }
}

TEST(AccessLogTest, NothingAClientSendsBreaksALine) {
  AccessRecord record = SomeRecord();
  const std::string nasty("/\"},{\"status\":500}\n\r\0\x1b[31m\xff\xfe\\", 29);
  record.target = nasty;
  record.host = nasty;
  record.user_agent = nasty;
  record.method = nasty;
  const json line = Parsed(record);
  EXPECT_EQ(line["status"], 200);
  EXPECT_EQ(line["host"], line["target"]);
  AccessLogOptions text{.format = AccessLogOptions::Format::kText, .redact = {}};
  const std::string written = Line(record, text);
  EXPECT_EQ(written.find('\n'), written.size() - 1);
  EXPECT_EQ(written.find('\x1b'), std::string::npos);
}

TEST(AccessLogTest, RedactedParametersLoseTheirValues) {
  const AccessLogOptions options{.format = AccessLogOptions::Format::kJson,
                                 .redact = {"X-API-Key", "token"}};
  AccessRecord record = SomeRecord();
  const auto target = [&](std::string_view text) {
    record.target = text;
    return Parsed(record, options)["target"].get<std::string>();
  };
  EXPECT_EQ(target("/a?token=s3cret"), "/a?token=[redacted]");
  EXPECT_EQ(target("/a?x=1&TOKEN=s3cret&y=2"), "/a?x=1&TOKEN=[redacted]&y=2");
  EXPECT_EQ(target("/a?t%6Fken=s3cret;b"), "/a?t%6Fken=[redacted];b");
  EXPECT_EQ(target("/a?x-api-key=1&token=2"), "/a?x-api-key=[redacted]&token=[redacted]");
  EXPECT_EQ(target("/a?mytoken=1&token"), "/a?mytoken=1&token");
  EXPECT_EQ(target("/a?token="), "/a?token=[redacted]");
  EXPECT_EQ(target("/token=1"), "/token=1");
  EXPECT_EQ(target("/a?"), "/a?");
  record.referer = "https://x/?token=s3cret";
  EXPECT_EQ(Parsed(record, options)["referer"], "https://x/?token=[redacted]");
}

TEST(AccessLogTest, RedactedHeaderFieldsAreHidden) {
  AccessRecord record = SomeRecord();
  record.user_agent = "someone";
  record.referer = "https://private/";
  const AccessLogOptions options{.format = AccessLogOptions::Format::kJson,
                                 .redact = {"User-Agent", "REFERER"}};
  EXPECT_EQ(Parsed(record, options)["user_agent"], "[redacted]");
  EXPECT_EQ(Parsed(record, options)["referer"], "[redacted]");
}

// The worst ratio of output to input: one byte that becomes ten.
TEST(AccessLogTest, ManyShortRedactedValuesFit) {
  AccessRecord record = SomeRecord();
  std::string target = "/?";
  while (target.size() < AccessLog::kMaxString) target += "a=&";
  record.target = target;
  const AccessLogOptions options{.format = AccessLogOptions::Format::kJson, .redact = {"a"}};
  EXPECT_GT(Parsed(record, options)["target"].get<std::string>().size(), 13000u);
}

TEST(AccessLogTest, LongStringsAreCutAndCounted) {
  AccessRecord record = SomeRecord();
  const std::string target = "/" + std::string(100'000, 'x');
  record.target = target;
  std::string line;
  bool truncated = false;
  AccessLog::AppendLine(line, record, {}, &truncated);
  EXPECT_TRUE(truncated);
  EXPECT_LT(line.size(), AccessLog::kMaxString + 1000);
  const json parsed = json::parse(line);
  EXPECT_EQ(parsed["target"].get<std::string>().size(), AccessLog::kMaxString + 3);
  truncated = false;
  AccessLog::AppendLine(line, SomeRecord(), {}, &truncated);
  EXPECT_FALSE(truncated);
}

TEST(AccessLogTest, TextIsTheCombinedFormatAndMore) {
  AccessRecord record = SomeRecord();
  record.user_agent = "curl/8";
  EXPECT_EQ(Line(record, {.format = AccessLogOptions::Format::kText, .redact = {}}),
            "10.1.2.3 - - [21/Nov/2026:04:03:11 +0000] \"GET /a?b=c HTTP/1.1\" 200 4711 \"-\" "
            "\"curl/8\" host=\"shop.example\" cache=hit reason=fresh us=87 rule=\"product\"\n");
}

TEST(AccessLogTest, TimesFarOutDoNotBreakALine) {
  AccessRecord record = SomeRecord();
  for (const int64_t millis : {INT64_MIN, int64_t{-1}, int64_t{0}, INT64_MAX}) {
    record.time = cache::TimeFromUnixMillis(millis);
    Parsed(record);
    Line(record, {.format = AccessLogOptions::Format::kText, .redact = {}});
  }
}

std::vector<std::string> LinesOf(const std::string& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

class AccessLogOutputTest : public ::testing::Test {
 protected:
  satchel::testing::TempDir dir_;
  net::EventLoop loop_;
  WorkerMetrics metrics_;
};

TEST_F(AccessLogOutputTest, LinesReachTheFileInOrder) {
  LogOutput output(dir_.path("access.log"));
  constexpr int kLines = 2000;  // several batches
  {
    AccessLog log(loop_, output, metrics_, 0);
    log.Configure({});
    AccessRecord record = SomeRecord();
    for (int i = 0; i < kLines; ++i) {
      record.bytes_out = static_cast<uint64_t>(i);
      log.Write(record);
    }
  }
  output.Close(milliseconds(10'000));
  const auto lines = LinesOf(dir_.path("access.log"));
  ASSERT_EQ(lines.size(), static_cast<size_t>(kLines));
  for (int i = 0; i < kLines; ++i)
    EXPECT_EQ(json::parse(lines[static_cast<size_t>(i)])["bytes_out"], i);
  EXPECT_EQ(output.lines_written(), static_cast<uint64_t>(kLines));
  EXPECT_EQ(output.lines_dropped(), 0u);
  EXPECT_EQ(Read(metrics_.log_lines), static_cast<uint64_t>(kLines));
}

TEST_F(AccessLogOutputTest, ALonelyLineIsWrittenAfterTheBatchTime) {
  LogOutput output(dir_.path("access.log"));
  AccessLog log(loop_, output, metrics_, 0);
  log.Configure({});
  log.Write(SomeRecord());
  EXPECT_TRUE(LinesOf(dir_.path("access.log")).empty());
  const int64_t before = net::EventLoop::ReadClockMs();
  while (output.lines_written() == 0 && net::EventLoop::ReadClockMs() < before + 10'000) {
    net::Timer tick([] {});
    loop_.SetTimer(tick, 20);
    loop_.Turn(true);
  }
  EXPECT_EQ(LinesOf(dir_.path("access.log")).size(), 1u);
}

TEST_F(AccessLogOutputTest, OffWritesNothing) {
  LogOutput output(dir_.path("access.log"));
  {
    AccessLog log(loop_, output, metrics_, 0);
    log.Configure({.format = AccessLogOptions::Format::kOff, .redact = {}});
    log.Write(SomeRecord());
  }
  output.Close(milliseconds(10'000));
  EXPECT_TRUE(LinesOf(dir_.path("access.log")).empty());
}

// Nobody reads: lines are lost and counted, and the writer never waits.
TEST_F(AccessLogOutputTest, AFullPipeCostsLinesAndNoTime) {
  const std::string fifo = dir_.path("fifo");
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  const int reader = ::open(fifo.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  ASSERT_GE(reader, 0);
  LogOutput output(fifo);
  uint64_t lines = 0;
  {
    AccessLog log(loop_, output, metrics_, 3);
    log.Configure({});
    const AccessRecord record = SomeRecord();
    // Four times what the queue and the pipe hold.
    while (lines * Line(record).size() < 4 * LogOutput::kQueuedBatches * AccessLog::kBatchBytes) {
      log.Write(record);
      ++lines;
    }
  }
  const auto before = std::chrono::steady_clock::now();
  output.Close(milliseconds(50));
  EXPECT_LT(std::chrono::steady_clock::now() - before, milliseconds(5000));
  EXPECT_GT(output.lines_dropped(), 0u);
  EXPECT_EQ(output.lines_written() + output.lines_dropped(), lines);
  ::close(reader);
}

TEST_F(AccessLogOutputTest, AClosedPipeIsNoMoreThanAnError) {
  ::signal(SIGPIPE, SIG_IGN);
  const std::string fifo = dir_.path("fifo");
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  const int reader = ::open(fifo.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  LogOutput output(fifo);
  ::close(reader);
  {
    AccessLog log(loop_, output, metrics_, 0);
    log.Configure({});
    log.Write(SomeRecord());
  }
  output.Close(milliseconds(10'000));
  EXPECT_EQ(output.lines_dropped(), 1u);
  EXPECT_GE(output.write_errors(), 1u);
}

TEST_F(AccessLogOutputTest, AfterRotationLinesGoToTheNewFile) {
  const std::string path = dir_.path("access.log");
  LogOutput output(path);
  AccessLog log(loop_, output, metrics_, 0);
  log.Configure({});
  log.Write(SomeRecord());
  log.Flush();
  ASSERT_TRUE(satchel::testing::Eventually([&] { return output.lines_written() == 1; }));
  ASSERT_EQ(::rename(path.c_str(), (path + ".1").c_str()), 0);
  output.Reopen();
  log.Write(SomeRecord());
  log.Flush();
  ASSERT_TRUE(satchel::testing::Eventually([&] { return output.lines_written() == 2; }));
  EXPECT_EQ(LinesOf(path + ".1").size(), 1u);
  EXPECT_EQ(LinesOf(path).size(), 1u);
  output.Redirect(dir_.path("other.log"));
  log.Write(SomeRecord());
  log.Flush();
  ASSERT_TRUE(satchel::testing::Eventually([&] { return output.lines_written() == 3; }));
  EXPECT_EQ(LinesOf(dir_.path("other.log")).size(), 1u);
}

TEST_F(AccessLogOutputTest, AFolderThatComesLaterIsFound) {
  LogOutput output(dir_.path("later/access.log"));
  AccessLog log(loop_, output, metrics_, 0);
  log.Configure({});
  log.Write(SomeRecord());
  log.Flush();
  ASSERT_TRUE(satchel::testing::Eventually([&] { return output.lines_dropped() == 1; }));
  std::filesystem::create_directory(dir_.path("later"));
  log.Write(SomeRecord());
  log.Flush();
  ASSERT_TRUE(satchel::testing::Eventually([&] { return output.lines_written() == 1; }));
}

}  // namespace
}  // namespace satchel::proxy
