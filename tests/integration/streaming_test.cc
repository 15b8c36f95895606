// Bodies of any size in both directions, as they come, with backpressure.

#include <thread>

#include "tests/support/proxy_fixture.h"

namespace satchel::testing {
namespace {

using std::chrono::milliseconds;
using StreamingTest = ProxyTest;

constexpr uint64_t kMiB = 1024 * 1024;

// One head and not a byte more, for looking at it before the final answer comes.
std::string ReadInterim(RawClient* client) {
  std::string head;
  while (!head.ends_with("\r\n\r\n")) {
    std::string more = client->ReadBytes(1);
    if (more.empty()) break;
    head += more;
  }
  return head;
}

TEST_F(StreamingTest, AChunkedRequestWithTrailersIsForwarded) {
  origin.On("/", {.body = "ok"});
  Start();
  RawClient client = satchel->Connect();
  client.Send(
      "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
      "5;ext=1\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\nX-Sum: 11\r\n\r\n");
  EXPECT_EQ(client.Read("POST").status, 200);
  OriginRequest request = origin.Last("/");
  EXPECT_EQ(request.body, "hello world");
  EXPECT_TRUE(request.body_complete) << request.error;
  EXPECT_EQ(request.trailers.Get("X-Sum"), "11");
  EXPECT_FALSE(request.fields.Has("X-Sum"));  // never merged (RFC 9110 6.5)
}

TEST_F(StreamingTest, FieldsForbiddenInTrailersAreDropped) {
  origin.On("/", {.body = "ok"});
  Start();
  RawClient client = satchel->Connect();
  client.Send(
      "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
      "1\r\nx\r\n0\r\nX-Ok: 1\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n"
      "Host: evil\r\nAuthorization: Basic eA==\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n");
  Response response = client.Read("POST");
  if (response.status == 400) return;
  ASSERT_EQ(response.status, 200) << Describe(response);
  OriginRequest request = origin.Last("/");
  for (const char* name : {"Content-Length", "Transfer-Encoding", "Host", "Authorization"}) {
    EXPECT_FALSE(request.trailers.Has(name)) << name;
  }
}

TEST_F(StreamingTest, AChunkedAnswerWithTrailersIsForwarded) {
  origin.On("/", {.fields = {{"Trailer", "X-Sum"}},
                  .body = "hello",
                  .framing = Reply::Framing::kChunked,
                  .trailers = {{"X-Sum", "5"}}});
  Start();
  Response response = Send("POST", "/", {{"TE", "trailers"}, {"Connection", "TE"}});
  EXPECT_EQ(response.body, "hello") << Describe(response);
  EXPECT_TRUE(response.complete);
  EXPECT_TRUE(response.chunked);
  EXPECT_EQ(response.trailers.Get("X-Sum"), "5");
  EXPECT_FALSE(response.fields.Has("X-Sum"));
}

TEST_F(StreamingTest, J8_FieldsForbiddenInTrailersOfAPassedAnswerAreDropped) {
  origin.On("/", {.fields = {{"Cache-Control", "no-store"}},
                  .body = "hello",
                  .framing = Reply::Framing::kChunked,
                  .trailers = {{"X-Sum", "5"},
                               {"Set-Cookie", "a=b"},
                               {"Content-Length", "9"},
                               {"Cache-Control", "max-age=60"}}});
  Start();
  for (const char* method : {"GET", "POST"}) {
    const Response response = Send(method, "/");
    EXPECT_EQ(response.body, "hello") << Describe(response);
    ASSERT_EQ(response.trailers.list().size(), 1u) << response.trailers.ToWire();
    EXPECT_EQ(response.trailers.Get("X-Sum"), "5");
  }
}

TEST_F(StreamingTest, ABodyOfKnownLengthKeepsItsLength) {
  std::string body = Pattern(0, 300'000);
  origin.On("/", {.body = body});
  Start();
  Response response = Send("PUT", "/", {}, body);
  EXPECT_EQ(response.Get("Content-Length"), std::to_string(body.size()));
  EXPECT_TRUE(response.body == body);
  OriginRequest request = origin.Last("/");
  EXPECT_EQ(request.fields.Get("Content-Length"), std::to_string(body.size()));
  EXPECT_TRUE(request.body == body);
}

TEST_F(StreamingTest, ServerSentEventsPassAtOnce) {
  origin.On("/events", [](OriginExchange& exchange) {
    exchange.SendHead(200, {{"Content-Type", "text/event-stream"},
                            {"Cache-Control", "no-store"},
                            {"Transfer-Encoding", "chunked"}});
    exchange.SendChunk("data: 1\n\n");
    exchange.Hold("second");
    exchange.SendChunk("data: 2\n\n");
    exchange.Hold("end");
    exchange.SendLastChunk();
  });
  Start();
  RawClient client = satchel->Connect();
  client.Send(Request("GET", "/events"));
  Response response = client.ReadHead();
  ASSERT_TRUE(client.ReadBodyUntil(&response, 9)) << Describe(response);
  EXPECT_EQ(response.body, "data: 1\n\n");
  origin.Release("second");
  ASSERT_TRUE(client.ReadBodyUntil(&response, 18)) << Describe(response);
  EXPECT_FALSE(response.complete);
  origin.Release("end");
  ASSERT_TRUE(client.ReadBody(&response));
  EXPECT_EQ(response.body, "data: 1\n\ndata: 2\n\n");
}

TEST_F(StreamingTest, AnAnswersHeadComesBeforeItsBody) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.SendHead(200, {{"Content-Length", "1"}, {"Cache-Control", "max-age=60"}});
    exchange.Hold("body");
    exchange.Send("x");
  });
  Start();
  RawClient client = satchel->Connect();
  client.Send(Request("GET", "/"));
  Response response = client.ReadHead();
  EXPECT_EQ(response.status, 200) << Describe(response);
  EXPECT_FALSE(response.complete);
  origin.Release("body");
  EXPECT_TRUE(client.ReadBody(&response));
}

TEST_F(StreamingTest, ARequestBodyStreamsBeforeItIsWhole) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.ReadBodyUntil(5);
    exchange.Hold("first half");
    exchange.Respond({.body = "ok"});
  });
  Start();
  RawClient client = satchel->Connect();
  client.Send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n01234");
  ASSERT_TRUE(origin.WaitUntilHeld("first half"));
  origin.Release("first half");
  client.Send("56789");
  EXPECT_EQ(client.Read("POST").status, 200);
  EXPECT_EQ(origin.Last("/").body, "0123456789");
}

TEST_F(StreamingTest, InterimAnswersAreForwardedAsTheyComeAndNeverStored) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.SendHead(103, {{"Link", "</a.css>; rel=preload"}});
    exchange.Hold("final");
    exchange.SendHead(102, {{"X-Step", "2"}});
    exchange.Respond(Fresh("done"));
  });
  Start();
  RawClient client = satchel->Connect();
  client.Send(Request("GET", "/"));
  ASSERT_TRUE(origin.WaitUntilHeld("final"));
  // The hint is here while the final answer is still to come.
  const std::string hint = ReadInterim(&client);
  EXPECT_TRUE(hint.starts_with("HTTP/1.1 103")) << hint;
  EXPECT_NE(hint.find("Link: </a.css>; rel=preload\r\n"), std::string::npos) << hint;
  origin.Release("final");
  Response response = client.Read();
  EXPECT_EQ(response.body, "done") << Describe(response);
  ASSERT_EQ(response.interim.size(), 1u);
  EXPECT_EQ(response.interim[0].part[1], "102");
  EXPECT_FALSE(response.fields.Has("Link"));
  EXPECT_FALSE(response.fields.Has("X-Step"));

  Response hit = Get("/");
  EXPECT_TRUE(CacheStatus(hit).hit());
  EXPECT_TRUE(hit.interim.empty());
}

TEST_F(StreamingTest, A4_InterimAnswersCarryNoHopByHopFieldsOnAnyPath) {
  origin.Otherwise([](OriginExchange& exchange) {
    exchange.Send(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: X-Hop\r\nX-Hop: 1\r\n"
        "Keep-Alive: timeout=5\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n");
    exchange.Respond(Fresh("x"));
  });
  Start();
  for (const auto& [method, target] : {std::pair{"GET", "/fill"}, {"POST", "/pass"}}) {
    Response response = Send(method, target);
    EXPECT_EQ(response.body, "x") << Describe(response);
    ASSERT_EQ(response.interim.size(), 1u);
    const Fields& fields = response.interim[0].fields;
    EXPECT_EQ(fields.Get("Link"), "</a>");
    for (const char* name :
         {"Connection", "X-Hop", "Keep-Alive", "Content-Length", "Transfer-Encoding"}) {
      EXPECT_FALSE(fields.Has(name)) << target << " " << name;
    }
  }
}

TEST_F(StreamingTest, A4_AnInterim100ThatNobodyAskedForIsForwardedToo) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.SendHead(100, {});
    exchange.Respond(Fresh("x"));
  });
  Start();
  Response response = Get("/");
  EXPECT_EQ(response.body, "x") << Describe(response);
  ASSERT_EQ(response.interim.size(), 1u);
  EXPECT_EQ(response.interim[0].part[1], "100");
}

TEST_F(StreamingTest, AnHttp10ClientGetsNoInterimAnswers) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.SendHead(103, {{"Link", "</a>"}});
    exchange.Respond({.body = "x"});
  });
  Start();
  RawClient client = satchel->Connect();
  client.Send("GET / HTTP/1.0\r\nHost: test\r\n\r\n");
  Response response = client.Read();
  EXPECT_EQ(response.status, 200);
  EXPECT_TRUE(response.interim.empty());
}

TEST_F(StreamingTest, AClientThatExpects100GetsItBeforeItSends) {
  origin.On("/", {.body = "ok"});
  Start();
  RawClient client = satchel->Connect();
  client.Send("PUT / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
  ASSERT_TRUE(ReadInterim(&client).starts_with("HTTP/1.1 100"));
  client.Send("body");
  Response response = client.Read("PUT");
  EXPECT_EQ(response.status, 200) << Describe(response);
  EXPECT_EQ(origin.Last("/").body, "body");
}

TEST_F(StreamingTest, AFinalAnswerMayComeInsteadOf100) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Send("HTTP/1.1 403 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
    exchange.Close();
  });
  Start();
  RawClient client = satchel->Connect();
  client.Send(
      "PUT / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 400\r\n\r\n");
  Response response = client.Read("PUT");
  EXPECT_EQ(response.status, 403) << Describe(response);
  EXPECT_EQ(response.body, "no");
}

TEST_F(StreamingTest, AnUnknownExpectationFailsWith417) {
  Start();
  EXPECT_EQ(Send("PUT", "/", {{"Expect", "200-ok"}}, "x").status, 417);
  EXPECT_EQ(origin.RequestCount(), 0u);
}

TEST_F(StreamingTest, AnAnswerBeforeTheBodyWasReadReachesTheClient) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.ReadBodyUntil(1000);
    exchange.Send("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig");
    exchange.Close();
  });
  Start();
  RawClient client = satchel->Connect();
  client.Send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\n");
  client.Send(Pattern(0, 10'000));
  Response response = client.Read("POST");
  EXPECT_EQ(response.status, 413) << Describe(response);
  EXPECT_EQ(response.body, "big");
}

TEST_F(StreamingTest, ALargeUploadArrivesWhole) {
  constexpr uint64_t kSize = 64 * kMiB;
  origin.On("/", {.body = "ok"});
  Start();
  uint64_t before = satchel->process().ResidentBytes();
  RawClient client = satchel->Connect();
  client.Send("PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: " + std::to_string(kSize) +
              "\r\n\r\n");
  for (uint64_t at = 0; at < kSize; at += kMiB) ASSERT_TRUE(client.Send(Pattern(at, kMiB)));
  EXPECT_EQ(client.Read("PUT").status, 200);
  EXPECT_EQ(origin.Last("/").body_size, kSize);
  EXPECT_TRUE(origin.Last("/").body == Pattern(0, 16 * kMiB));
  EXPECT_LT(satchel->process().ResidentBytes(), before + MemoryAllowance(32 * kMiB));
}

TEST_F(StreamingTest, AnOriginThatDoesNotReadHoldsTheUploadBack) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.ReadBodyUntil(1);
    exchange.Hold("read on");
    exchange.Respond({.body = "ok"});
  });
  Start();
  uint64_t before = satchel->process().ResidentBytes();
  constexpr uint64_t kSize = 256 * kMiB;
  RawClient client = satchel->Connect();
  client.Send("PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: " + std::to_string(kSize) +
              "\r\n\r\n");
  uint64_t sent = 0;
  while (sent < kSize && client.Send(Pattern(sent, kMiB), milliseconds(700))) sent += kMiB;
  EXPECT_LT(sent, 64 * kMiB);
  EXPECT_LT(satchel->process().ResidentBytes(), before + MemoryAllowance(32 * kMiB));
  client.Reset();
  origin.Release("read on");
}

// The 2 GiB come from nowhere and go nowhere: what counts is that a slow reader slows the origin
// down instead of filling our memory.
class SlowReaderTest : public ProxyTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(SlowReaderTest, OfATwoGigabyteAnswerDoesNotGrowMemory) {
  constexpr uint64_t kSize = 2048 * kMiB;
  auto sent = std::make_shared<std::atomic<uint64_t>>(0);
  std::string cache_control = GetParam();
  origin.On("/", [&](OriginExchange& exchange) {
    exchange.SendHead(
        200, {{"Content-Length", std::to_string(kSize)}, {"Cache-Control", cache_control}});
    for (uint64_t at = 0; at < kSize && exchange.SendPattern(at, 64 * 1024); at += 64 * 1024) {
      *sent += 64 * 1024;
    }
  });
  Start();
  uint64_t before = satchel->process().ResidentBytes();
  RawClient client(satchel->address(), 64 * 1024);
  client.Send(Request("GET", "/"));
  Response response = client.ReadHead();
  ASSERT_EQ(response.status, 200) << Describe(response);
  EXPECT_EQ(response.Get("Content-Length"), std::to_string(kSize));
  uint64_t largest = 0;
  for (uint64_t at = 0; at < 64 * kMiB; at += kMiB) {
    // What comes must be the pattern at exactly this offset.
    ASSERT_TRUE(client.ReadBodyUntil(&response, at + kMiB)) << Describe(response);
    if (at % (8 * kMiB) == 0) {
      PassTime(milliseconds(20));  // a reader that dawdles
      largest = std::max(largest, satchel->process().ResidentBytes());
    }
  }
  EXPECT_TRUE(std::string_view(response.body).substr(0, kMiB) == Pattern(0, kMiB));
  EXPECT_TRUE(std::string_view(response.body).substr(63 * kMiB, kMiB) == Pattern(63 * kMiB, kMiB));
  EXPECT_LT(largest, before + MemoryAllowance(32 * kMiB));
  EXPECT_LT(*sent, 160 * kMiB) << "the origin ran ahead of the reader";
  // The client goes: the origin's connection must go too, not be drained for 2 GiB.
  client.Reset();
  EXPECT_TRUE(Eventually([&] { return origin.open_connections() == 0; }));
  EXPECT_LT(*sent, 256 * kMiB);
}

INSTANTIATE_TEST_SUITE_P(Each, SlowReaderTest,
                         ::testing::Values("no-store", "max-age=60", "private"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::erase_if(name, [](char c) { return !std::isalnum(c); });
                           return name;
                         });

TEST_F(StreamingTest, ManySlowReadersOfOneGrowingObjectShareItsMemory) {
  constexpr uint64_t kSize = 3 * kMiB;
  origin.On("/", [](OriginExchange& exchange) {
    exchange.SendHead(200,
                      {{"Content-Length", std::to_string(kSize)}, {"Cache-Control", "max-age=60"}});
    exchange.SendPattern(0, kMiB);
    exchange.Hold("rest");
    exchange.SendPattern(kMiB, kSize - kMiB);
  });
  Start();
  uint64_t before = satchel->process().ResidentBytes();
  std::vector<RawClient> clients;
  std::vector<Response> responses;
  for (int i = 0; i < 40; ++i) {
    clients.emplace_back(satchel->address());
    clients.back().Send(Request("GET", "/"));
  }
  for (RawClient& client : clients) {
    responses.push_back(client.ReadHead());
    ASSERT_TRUE(client.ReadBodyUntil(&responses.back(), kMiB)) << Describe(responses.back());
  }
  EXPECT_EQ(origin.RequestCount(), 1u);
  origin.Release("rest");
  std::string expected = Pattern(0, kSize);
  for (size_t i = 0; i < clients.size(); ++i) {
    ASSERT_TRUE(clients[i].ReadBody(&responses[i])) << Describe(responses[i]);
    EXPECT_TRUE(responses[i].body == expected);
  }
  EXPECT_LT(satchel->process().ResidentBytes(), before + MemoryAllowance(32 * kMiB));
}

}  // namespace
}  // namespace satchel::testing
