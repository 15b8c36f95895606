// Large responses that are asked for again and again: sent from files, and no client can tell.
#include <sys/resource.h>

#include <atomic>
#include <string>
#include <vector>

#include "tests/support/proxy_fixture.h"

namespace satchel::testing {
namespace {

class BodyFileTest : public ProxyTest {
 protected:
  static constexpr size_t kSize = 200'000;

  static std::string Numbers(size_t size, size_t first = 0) {
    std::string text;
    for (size_t i = first; text.size() < size; ++i) text += std::to_string(i) + ",";
    text.resize(size);
    return text;
  }
  double Files() { return satchel->ReadMetrics().Sum("satchel_l1_body_files"); }
  // Asks until the response lies in a file: each hit has one chance of eight.
  void AskUntilFiled(const std::string& target = "/") {
    ASSERT_TRUE(Eventually([&] {
      EXPECT_EQ(Get(target).body.size(), kSize);
      return Files() > 0;
    }));
  }

  void AskUntilRefused(int bodies);

  const std::string bytes = Numbers(kSize);
};

TEST_F(BodyFileTest, AResponseThatIsAskedForOftenIsTheSameFromItsFile) {
  origin.On("/", Fresh(bytes, 60, {{"ETag", "\"v1\""}}));
  Start();
  AskUntilFiled();
  RawClient client = satchel->Connect();
  for (int i = 0; i < 20; ++i) {  // pipelined, so that heads and bodies must not mix
    client.Send(Request(i % 3 == 1 ? "HEAD" : "GET", "/"));
  }
  for (int i = 0; i < 20; ++i) {
    const Response response = client.Read(i % 3 == 1 ? "HEAD" : "GET");
    EXPECT_EQ(response.status, 200);
    EXPECT_TRUE(response.body == (i % 3 == 1 ? "" : bytes)) << i;
    EXPECT_TRUE(CacheStatus(response).hit());
  }
  Response part = Get("/", {{"Range", "bytes=70000-169999"}});
  EXPECT_EQ(part.status, 206);
  EXPECT_TRUE(part.body == bytes.substr(70'000, 100'000));
  part = Get("/", {{"Range", "bytes=5-9,150000-150009"}});
  EXPECT_NE(part.body.find("\r\n\r\n" + bytes.substr(150'000, 10) + "\r\n"), std::string::npos);
  EXPECT_EQ(Get("/", {{"If-None-Match", "\"v1\""}}).status, 304);
  EXPECT_EQ(Files(), 1);
  EXPECT_EQ(origin.RequestCount(), 1u);
}

TEST_F(BodyFileTest, ResponsesWithEditedFieldsComeFromTheFileToo) {
  origin.On("/", Fresh(bytes));
  SatchelConfig config = Config();
  config.rules =
      "  - name: edited\n    response_headers: {set: {X-Edited: \"yes\"}}\n    upstream: app\n";
  Start(config);
  AskUntilFiled();
  const Response response = Get("/");
  EXPECT_EQ(response.Get("X-Edited"), "yes");
  EXPECT_TRUE(response.body == bytes);
}

TEST_F(BodyFileTest, ASlowReaderGetsWhatWasInvalidatedUnderItWhole) {
  std::atomic<size_t> version{0};
  origin.On("/", [&](OriginExchange& exchange) {
    exchange.Respond(Fresh(Numbers(kSize, version * 1'000'000)));
  });
  Start();
  AskUntilFiled();
  std::vector<RawClient> slow;
  for (int i = 0; i < 8; ++i) {
    slow.emplace_back(satchel->address(), /*receive_buffer=*/4096);
    for (int n = 0; n < 10; ++n) slow.back().Send(Request("GET", "/"));
    EXPECT_EQ(slow.back().ReadHead().status, 200);  // the first body has begun
  }
  version = 1;
  ASSERT_EQ(Send("POST", "/").status, 200);  // which ends what is stored
  AskUntilFiled();  // the old file's memory is free for others
  EXPECT_TRUE(Get("/").body == Numbers(kSize, 1'000'000));
  for (RawClient& client : slow) EXPECT_TRUE(client.ReadBytes(kSize) == bytes);
  slow.clear();
  EXPECT_TRUE(Eventually([&] { return Files() == 1; })) << Files();
}

TEST_F(BodyFileTest, ClosedConnectionsAndOldClientsGetTheWholeToo) {
  origin.On("/", Fresh(bytes));
  Start();
  AskUntilFiled();
  for (const char* text : {"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n",
                           "GET / HTTP/1.0\r\nHost: test\r\n\r\n"}) {
    RawClient client = satchel->Connect();
    client.Send(text);
    EXPECT_TRUE(client.Read().body == bytes) << text;
    EXPECT_TRUE(client.ClosedByPeer());
  }
}

TEST_F(BodyFileTest, WithoutDescriptorsBodiesAreSentFromMemory) {
  origin.On("/", Fresh(bytes));
  origin.On("/small", Fresh("s"));
  Start();
  Get("/");
  const pid_t pid = satchel->process().pid();
  rlimit old{};
  ASSERT_EQ(prlimit(pid, RLIMIT_NOFILE, nullptr, &old), 0);
  RawClient client = satchel->Connect();
  client.Send(Request("GET", "/small"));  // accepted by now; a hit of the other may make its file
  EXPECT_EQ(client.Read().body, "s");
  const rlimit none{3, old.rlim_max};
  ASSERT_EQ(prlimit(pid, RLIMIT_NOFILE, &none, nullptr), 0);
  for (int i = 0; i < 200; ++i) {  // one of them would get a file
    client.Send(Request("GET", "/"));
    ASSERT_TRUE(client.Read().body == bytes) << i;
  }
  ASSERT_EQ(prlimit(pid, RLIMIT_NOFILE, &old, nullptr), 0);
  EXPECT_EQ(Files(), 0);
  EXPECT_GT(satchel->ReadMetrics().Sum("satchel_l1_body_files_refused_total"), 0);
  AskUntilFiled();
}

// Many bodies, each asked for often, until one finds no room for its file.
void BodyFileTest::AskUntilRefused(int bodies) {
  ASSERT_TRUE(Eventually([&] {
    for (int i = 0; i < bodies; ++i) EXPECT_TRUE(Get("/" + std::to_string(i)).body == bytes);
    return satchel->ReadMetrics().Sum("satchel_l1_body_files_refused_total") > 0;
  }));
}

TEST_F(BodyFileTest, FilesHaveAnEighthOfMemory) {
  origin.Otherwise([&](OriginExchange& exchange) { exchange.Respond(Fresh(bytes)); });
  for (const char* l1 : {"size: 8MiB", "size: 8MiB, preallocate: true"}) {
    SatchelConfig config = Config();
    config.l1 = l1;
    Start(config);
    AskUntilRefused(10);
    EXPECT_EQ(Files(), 5) << l1;  // of 200 KiB and a little in 1 MiB
  }
}

TEST_F(BodyFileTest, AReloadReckonsAnewWhatDescriptorsFilesMayTake) {
  origin.Otherwise([&](OriginExchange& exchange) { exchange.Respond(Fresh(bytes)); });
  const SatchelConfig config = Config();
  Start(config);
  const rlimit few{160, 160};
  ASSERT_EQ(prlimit(satchel->process().pid(), RLIMIT_NOFILE, &few, nullptr), 0);
  satchel->Reload(config);
  AskUntilRefused(30);
  EXPECT_EQ(Files(), 20);  // an eighth: connections may want more than all
}

}  // namespace
}  // namespace satchel::testing
