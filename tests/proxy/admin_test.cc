#include "proxy/admin.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>

#include "proxy/admin_client.h"
#include "proxy/admin_listener.h"
#include "tests/support/child_process.h"
#include "tests/support/raw_client.h"

namespace satchel::proxy {
namespace {

using nlohmann::ordered_json;
using satchel::testing::RawClient;
using satchel::testing::TempDir;

TEST(ConstantTimeEqualsTest, ComparesWholeTexts) {
  EXPECT_TRUE(ConstantTimeEquals("", ""));
  EXPECT_TRUE(ConstantTimeEquals("secret", "secret"));
  EXPECT_FALSE(ConstantTimeEquals("secret", "secreT"));
  EXPECT_FALSE(ConstantTimeEquals("secret", "secret2"));
  EXPECT_FALSE(ConstantTimeEquals("secret", ""));
  EXPECT_FALSE(ConstantTimeEquals(std::string_view("a\0b", 3), std::string_view("a\0c", 3)));
}

AdminParse Parse(std::string_view text, AdminRequest* request, int* status) {
  return ParseAdminRequest(text, request, status);
}

TEST(AdminRequestTest, ReadsWhatMatters) {
  AdminRequest request;
  int status = 0;
  ASSERT_EQ(Parse("GET /status?x=1 HTTP/1.1\r\nHost: a:1\r\nAUTHORIZATION:  Bearer t \r\n\r\n",
                  &request, &status),
            AdminParse::kComplete);
  EXPECT_EQ(request.method, "GET");
  EXPECT_EQ(request.path, "/status");
  EXPECT_EQ(request.query, "x=1");
  EXPECT_EQ(request.host, "a:1");
  EXPECT_EQ(request.authorization, "Bearer t");
}

TEST(AdminRequestTest, WaitsForHeadAndBody) {
  AdminRequest request;
  int status = 0;
  const std::string whole = "POST /reload HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
  for (size_t length = 0; length < whole.size(); ++length) {
    EXPECT_EQ(Parse(whole.substr(0, length), &request, &status), AdminParse::kNeedMore) << length;
  }
  EXPECT_EQ(Parse(whole, &request, &status), AdminParse::kComplete);
}

TEST(AdminRequestTest, RefusesWhatIsOdd) {
  const struct {
    std::string text;
    int status;
  } kCases[] = {
      {"GET\r\n\r\n", 400},
      {"GET /\r\n\r\n", 400},
      {"GET  / HTTP/1.1\r\n\r\n", 400},
      {"G@T / HTTP/1.1\r\n\r\n", 400},
      {"GET status HTTP/1.1\r\n\r\n", 400},
      {"GET http://a/ HTTP/1.1\r\n\r\n", 400},
      {"GET / HTTP/2.0\r\n\r\n", 505},
      {"GET / http/1.1\r\n\r\n", 505},
      {"GET / HTTP/1.1\r\nnocolon\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\n folded: a\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nX: a\nb\r\n\r\n", 400},
      {std::string("GET / HTTP/1.1\r\nX: a\0b\r\n\r\n", 26), 400},
      {"POST / HTTP/1.1\r\nContent-Length: +3\r\n\r\nabc", 400},
      {"POST / HTTP/1.1\r\nContent-Length: 3x\r\n\r\nabc", 400},
      {"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400},
      {"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nContent-Length: 65537\r\n\r\n", 413},
      {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411},
      {"GET / HTTP/1.1\r\nX: " + std::string(AdminListener::kMaxHead, 'x'), 431},
  };
  for (const auto& one : kCases) {
    AdminRequest request;
    int status = 0;
    EXPECT_EQ(Parse(one.text, &request, &status), AdminParse::kBad) << one.text;
    EXPECT_EQ(status, one.status) << one.text;
  }
}

class AdminTest : public ::testing::Test {
 protected:
  AdminRequest Request(std::string method, std::string path, std::string authorization = "") {
    AdminRequest request;
    request.method = std::move(method);
    request.path = std::move(path);
    request.authorization = std::move(authorization);
    request.host = "127.0.0.1:9901";
    request.peer = "127.0.0.1";
    return request;
  }
  int Status(std::string method, std::string path, std::string authorization = "") {
    return admin_.Answer(Request(std::move(method), std::move(path), std::move(authorization)))
        ->status;
  }

  bool healthy_ = true;
  bool ready_ = true;
  bool reload_ok_ = true;
  int reloads_ = 0;
  int drains_ = 0;
  Admin admin_{Admin::Actions{
      .unhealthy = [this]() -> std::optional<std::string> {
        if (healthy_) return std::nullopt;
        return "worker 1 does not answer";
      },
      .not_ready = [this]() -> std::optional<std::string> {
        if (ready_) return std::nullopt;
        return "shutting down";
      },
      .metrics = [] { return std::string("metric 1\n"); },
      .status = [] { return ordered_json{{"version", "x"}}; },
      .reload =
          [this](const std::string&, bool* ok) {
            ++reloads_;
            *ok = reload_ok_;
            return ordered_json{{"applied", reload_ok_}};
          },
      .drain = [this](const std::string&) { ++drains_; },
  }};
};

TEST_F(AdminTest, ProbesTellTheState) {
  EXPECT_EQ(Status("GET", "/healthz"), 200);
  EXPECT_EQ(Status("GET", "/readyz"), 200);
  EXPECT_EQ(Status("HEAD", "/readyz"), 200);
  ready_ = false;
  EXPECT_EQ(Status("GET", "/readyz"), 503);
  EXPECT_EQ(admin_.Answer(Request("GET", "/readyz"))->body, "shutting down\n");
  EXPECT_EQ(Status("GET", "/healthz"), 200);
  healthy_ = false;
  EXPECT_EQ(Status("GET", "/healthz"), 503);
}

TEST_F(AdminTest, PagesAndActionsAnswer) {
  const AdminReply metrics = *admin_.Answer(Request("GET", "/metrics"));
  EXPECT_EQ(metrics.body, "metric 1\n");
  EXPECT_TRUE(metrics.type.starts_with("text/plain; version=0.0.4"));
  EXPECT_EQ(ordered_json::parse(admin_.Answer(Request("GET", "/status"))->body)["version"], "x");
  EXPECT_EQ(Status("POST", "/reload"), 200);
  reload_ok_ = false;
  EXPECT_EQ(Status("POST", "/reload"), 422);
  EXPECT_EQ(reloads_, 2);
  EXPECT_EQ(Status("POST", "/drain"), 202);
  EXPECT_EQ(drains_, 1);
}

TEST_F(AdminTest, UnknownPathsAndMethodsAreProblems) {
  const AdminReply missing = *admin_.Answer(Request("GET", "/nothing"));
  EXPECT_EQ(missing.status, 404);
  EXPECT_EQ(missing.type, "application/problem+json");
  EXPECT_EQ(ordered_json::parse(missing.body)["status"], 404);
  EXPECT_EQ(Status("POST", "/status"), 405);
  EXPECT_EQ(Status("GET", "/reload"), 405);
  EXPECT_EQ(Status("DELETE", "/healthz"), 405);
  EXPECT_EQ(reloads_, 0);
}

TEST_F(AdminTest, TheTokenGuardsAllButTheProbes) {
  admin_.SetToken("s3cret");
  for (const char* authorization :
       {"", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3cret ", "Basic s3cret", "s3cret"}) {
    EXPECT_EQ(Status("GET", "/status", authorization), 401) << authorization;
    EXPECT_EQ(Status("GET", "/metrics", authorization), 401) << authorization;
    EXPECT_EQ(Status("POST", "/reload", authorization), 401) << authorization;
    EXPECT_EQ(Status("POST", "/drain", authorization), 401) << authorization;
  }
  EXPECT_EQ(reloads_ + drains_, 0);
  EXPECT_EQ(Status("GET", "/readyz"), 200);
  EXPECT_EQ(Status("GET", "/healthz"), 200);
  EXPECT_EQ(Status("GET", "/status", "Bearer s3cret"), 200);
  EXPECT_EQ(Status("GET", "/status", "bearer s3cret"), 200);
}

TEST_F(AdminTest, WebPagesAndReboundNamesAreRefused) {
  AdminRequest request = Request("POST", "/drain");
  request.origin = "https://evil.example";
  EXPECT_EQ(admin_.Answer(request)->status, 403);
  request = Request("GET", "/status");
  request.host = "evil.example:9901";
  EXPECT_EQ(admin_.Answer(request)->status, 403);
  EXPECT_EQ(drains_, 0);
  for (const char* host : {"", "localhost", "LOCALHOST:9901", "127.0.0.1", "[::1]:9901"}) {
    request.host = host;
    EXPECT_EQ(admin_.Answer(request)->status, 200) << host;
  }
}

// The listener on a thread of its own, asked over sockets.
class AdminListenerTest : public ::testing::Test {
 protected:
  void Open(const std::string& address, AdminListener::Handler handler) {
    auto listener =
        AdminListener::Open(loop_, *rules::ParseListenAddress(address), std::move(handler));
    ASSERT_TRUE(listener) << listener.error().message;
    listener_ = std::move(*listener);
    bound_ = listener_->bound().ToString();
    thread_ = std::thread([this] { loop_.Run(); });
  }
  void TearDown() override {
    loop_.Stop();
    if (thread_.joinable()) thread_.join();
  }
  static AdminReply Echo(const AdminRequest& request) {
    AdminReply reply;
    reply.body = request.method + " " + request.path;
    return reply;
  }

  net::EventLoop loop_;
  std::unique_ptr<AdminListener> listener_;
  std::string bound_;
  std::thread thread_;
};

TEST_F(AdminListenerTest, AnswersAndCloses) {
  Open("127.0.0.1:0", &Echo);
  EXPECT_FALSE(bound_.ends_with(":0"));
  RawClient client(bound_);
  const auto answer = client.Get("/x");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, "GET /x");
  EXPECT_EQ(answer.Get("Cache-Control"), "no-store");
  EXPECT_TRUE(client.ClosedByPeer());
}

TEST_F(AdminListenerTest, HeadHasNoBody) {
  Open("127.0.0.1:0", &Echo);
  RawClient client(bound_);
  ASSERT_TRUE(client.Send("HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n"));
  const std::string text = client.ReadToEnd();
  EXPECT_NE(text.find("Content-Length: 7\r\n"), std::string::npos) << text;
  EXPECT_TRUE(text.ends_with("\r\n\r\n")) << text;
}

TEST_F(AdminListenerTest, LargeAnswersArriveWhole) {
  const std::string body(5 << 20, 'x');
  Open("127.0.0.1:0", [&body](const AdminRequest&) {
    AdminReply reply;
    reply.body = body;
    return reply;
  });
  RawClient client(bound_);
  EXPECT_EQ(client.Get("/").body.size(), body.size());
}

TEST_F(AdminListenerTest, GarbageGetsAProblem) {
  Open("127.0.0.1:0", &Echo);
  RawClient client(bound_);
  ASSERT_TRUE(client.Send("\x16\x03\x01 hello\r\n\r\n"));
  const std::string text = client.ReadToEnd();
  EXPECT_TRUE(text.starts_with("HTTP/1.1 400 Bad Request\r\n")) << text;
}

// One more than may be open at once: it waits in the kernel's queue, and is served when one goes.
TEST_F(AdminListenerTest, ConnectionsAreBoundedAndNobodyIsForgotten) {
  Open("127.0.0.1:0", &Echo);
  std::vector<std::unique_ptr<RawClient>> idle;
  for (size_t i = 0; i < AdminListener::kMaxConnections; ++i) {
    idle.push_back(std::make_unique<RawClient>(bound_));
    ASSERT_TRUE(idle.back()->connected());
    ASSERT_TRUE(idle.back()->Send("GET "));
  }
  RawClient late(bound_);
  ASSERT_TRUE(late.Send("GET /late HTTP/1.1\r\nHost: a\r\n\r\n"));
  EXPECT_TRUE(late.Silent(std::chrono::milliseconds(100)));
  idle.pop_back();
  EXPECT_EQ(late.Read().body, "GET /late");
}

TEST_F(AdminListenerTest, TheClientOfTheCommandLineUnderstandsIt) {
  Open("127.0.0.1:0", &Echo);
  const auto answer = AskAdmin(*rules::ParseListenAddress(bound_), "POST", "/reload", "token",
                               std::chrono::milliseconds(5000));
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->body, "POST /reload");
}

TEST_F(AdminListenerTest, UnixSocketsWorkAndADeadOneIsReplaced) {
  const TempDir dir;
  const std::string address = "unix:" + dir.path("admin.sock");
  {
    // Left behind by a program that was killed.
    auto first = AdminListener::Open(loop_, *rules::ParseListenAddress(address), &Echo);
    ASSERT_TRUE(first);
  }
  Open(address, &Echo);
  const auto answer = AskAdmin(*rules::ParseListenAddress(address), "GET", "/readyz", "",
                               std::chrono::milliseconds(5000));
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->body, "GET /readyz");
}

TEST_F(AdminListenerTest, ATakenPortIsAnErrorThatNamesIt) {
  Open("127.0.0.1:0", &Echo);
  net::EventLoop loop;
  const auto second = AdminListener::Open(loop, *rules::ParseListenAddress(bound_), &Echo);
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().message.find(bound_), std::string::npos) << second.error().message;
  EXPECT_NE(second.error().message.find("in use"), std::string::npos) << second.error().message;
}

TEST(AdminClientTest, NobodyThereIsAnErrorAtOnce) {
  satchel::testing::PortReservation port;
  const auto answer = AskAdmin(*rules::ParseListenAddress(port.address()), "GET", "/readyz", "",
                               std::chrono::milliseconds(2000));
  ASSERT_FALSE(answer);
  EXPECT_NE(answer.error().message.find(port.address()), std::string::npos);
}

}  // namespace
}  // namespace satchel::proxy
