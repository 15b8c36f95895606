#include "proxy/cli.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/child_process.h"
#include "tests/support/net_io.h"

namespace satchel::proxy {
namespace {

using satchel::testing::PortReservation;
using satchel::testing::TempDir;
using ::testing::HasSubstr;

struct Ended {
  int code;
  std::string out;
  std::string err;
};

Ended Satchel(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "satchel");
  std::vector<const char*> argv;
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  const int code = RunCommandLine(static_cast<int>(argv.size()), argv.data());
  Ended ended{code, ::testing::internal::GetCapturedStdout(),
              ::testing::internal::GetCapturedStderr()};
  return ended;
}

TEST(CliTest, HelpAndVersionGoToStdoutAndAreFine) {
  const Ended version = Satchel({"--version"});
  EXPECT_EQ(version.code, 0);
  EXPECT_THAT(version.out, HasSubstr("satchel "));
  const Ended help = Satchel({"--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_THAT(help.out, HasSubstr("satchel run --listen :8080 --upstream 127.0.0.1:3000"));
  EXPECT_EQ(help.err, "");
  for (const char* command : {"run", "check", "healthcheck", "status", "reload"}) {
    EXPECT_THAT(help.out, HasSubstr(command));
    EXPECT_EQ(Satchel({command, "--help"}).code, 0) << command;
  }
}

TEST(CliTest, ACommandLineThatMakesNoSenseIsTwoWithAHint) {
  for (const std::vector<std::string>& line : std::vector<std::vector<std::string>>{
           {},
           {"frobnicate"},
           {"run", "--frobnicate"},
           {"run", "-c"},
           {"run", "-c", "a.yaml", "b.yaml"},
           {"run", "--upstream", "127.0.0.1:1", "--workers", "0"},
           {"run", "--upstream", "127.0.0.1:1", "--workers", "two"},
           {"run", "--upstream", "127.0.0.1:1", "--log-level", "loud"},
           {"check"},
       }) {
    const Ended ended = Satchel(line);
    EXPECT_EQ(ended.code, 2) << ::testing::PrintToString(line);
    EXPECT_EQ(ended.out, "") << ::testing::PrintToString(line);
    EXPECT_THAT(ended.err, HasSubstr("--help")) << ::testing::PrintToString(line);
  }
}

TEST(CliTest, RunSaysWhatIsMissingOrTooMuch) {
  const Ended nothing = Satchel({"run"});
  EXPECT_EQ(nothing.code, 2);
  EXPECT_THAT(nothing.err, HasSubstr("needs -c FILE, or --upstream"));
  const Ended both = Satchel({"run", "-c", "a.yaml", "--upstream", "127.0.0.1:1"});
  EXPECT_EQ(both.code, 2);
  EXPECT_THAT(both.err, HasSubstr("write them into the file"));
}

class CheckCommandTest : public ::testing::Test {
 protected:
  static constexpr char kGood[] =
      "version: 1\n"
      "listeners: [{name: web, address: \"127.0.0.1:8080\"}]\n"
      "upstreams: {app: {servers: [\"127.0.0.1:3000\"]}}\n";
  TempDir dir_;
};

TEST_F(CheckCommandTest, ExitCodesTellFineErrorsAndUnreadable) {
  EXPECT_EQ(Satchel({"check", dir_.Write("good.yaml", kGood)}).code, 0);
  const Ended bad = Satchel({"check", dir_.Write("bad.yaml", std::string(kGood) + "x: 1\n")});
  EXPECT_EQ(bad.code, 1);
  EXPECT_THAT(bad.err, HasSubstr("bad.yaml:4:1"));
  const Ended none = Satchel({"check", dir_.path("none.yaml")});
  EXPECT_EQ(none.code, 2);
  EXPECT_THAT(none.err, HasSubstr("none.yaml: no such file"));
}

TEST_F(CheckCommandTest, JsonHoldsEveryFinding) {
  const Ended bad =
      Satchel({"check", "--json", dir_.Write("bad.yaml", std::string(kGood) + "x: 1\ny: 2\n")});
  EXPECT_EQ(bad.code, 1);
  const auto json = nlohmann::json::parse(bad.out, nullptr, false);
  ASSERT_TRUE(json.is_object()) << bad.out;
  ASSERT_EQ(json["errors"].size(), 2u);
  EXPECT_EQ(json["errors"][0]["line"], 4);
  EXPECT_EQ(json["errors"][1]["line"], 5);
  const Ended good = Satchel({"check", "--json", dir_.Write("good.yaml", kGood)});
  EXPECT_TRUE(nlohmann::json::parse(good.out)["errors"].empty());
}

TEST_F(CheckCommandTest, TheEffectiveConfigurationIsAFileAgain) {
  const Ended first = Satchel({"check", "--effective", dir_.Write("good.yaml", kGood)});
  EXPECT_EQ(first.code, 0);
  EXPECT_THAT(first.out, HasSubstr("max_connections"));
  const Ended second = Satchel({"check", "--effective", dir_.Write("again.yaml", first.out)});
  EXPECT_EQ(second.code, 0) << second.err;
  EXPECT_EQ(second.out, first.out);
}

// A certificate is only read when the configuration is compiled.
TEST_F(CheckCommandTest, WhatOnlyTheCompiledFormShowsIsFound) {
  const std::string text =
      "version: 1\n"
      "listeners: [{name: web, address: \"127.0.0.1:8080\","
      " tls: {certificates: [{cert: none.crt, key: none.key}]}}]\n"
      "upstreams: {app: {servers: [\"127.0.0.1:3000\"]}}\n";
  const Ended bad = Satchel({"check", dir_.Write("tls.yaml", text)});
  EXPECT_EQ(bad.code, 1);
  EXPECT_THAT(bad.err, HasSubstr("none.crt"));
}

TEST(HealthcheckTest, NobodyThereIsOne) {
  const PortReservation port;
  const Ended ended = Satchel({"healthcheck", "--admin", port.address()});
  EXPECT_EQ(ended.code, 1);
  EXPECT_THAT(ended.err, HasSubstr(port.address()));
  EXPECT_EQ(Satchel({"healthcheck", "--admin", "nonsense"}).code, 1);
  EXPECT_EQ(Satchel({"status", "--admin", port.address()}).code, 1);
}

}  // namespace
}  // namespace satchel::proxy
