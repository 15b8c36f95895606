// One fetch for many clients, and never a byte that was not meant for them.

#include <csignal>
#include <thread>

#include "tests/support/proxy_fixture.h"

namespace satchel::testing {
namespace {

class CoalescingTest : public ProxyTest {
 protected:
  // Followers that wait for the present fill, as the metrics cannot tell: all `count` clients have
  // sent, and the origin holds the leader's request.
  std::vector<RawClient> Crowd(size_t count, const std::string& request) {
    std::vector<RawClient> clients;
    for (size_t i = 0; i < count; ++i) {
      clients.emplace_back(satchel->address());
      EXPECT_TRUE(clients.back().Send(request));
    }
    return clients;
  }
  // An exchange on another connection comes back only after the workers have read what was sent
  // to them before; with one worker that is exact.
  void LetWorkersRead() {
    for (int i = 0; i < 3; ++i) Send("POST", "/fence");
  }
  SatchelConfig OneWorker() const {
    SatchelConfig config = Config();
    config.workers = "1";
    return config;
  }
};

constexpr size_t kMiB = 1024 * 1024;

TEST_F(CoalescingTest, TwoHundredClientsOfOneColdKeyMakeOneRequestAndStreamTheSameBytes) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Hold("head");
    exchange.SendHead(200,
                      {{"Content-Length", std::to_string(kMiB)}, {"Cache-Control", "max-age=60"}});
    exchange.SendPattern(0, kMiB / 2);
    exchange.Hold("second half");
    exchange.SendPattern(kMiB / 2, kMiB / 2);
  });
  Start();
  std::atomic<size_t> half = 0;
  std::atomic<size_t> equal = 0;
  std::atomic<size_t> collapsed = 0;
  const std::string expected = Pattern(0, kMiB);
  std::thread director([&] {
    origin.WaitUntilHeld("head");
    origin.Release("head");
    // Everybody has the first half in hand before the origin sends the second.
    EXPECT_TRUE(Eventually([&] { return half == 200; }, std::chrono::seconds(30)));
    origin.Release("second half");
  });
  RunTogether(200, [&](size_t) {
    RawClient client = satchel->Connect();
    client.Send(Request("GET", "/"));
    Response response = client.ReadHead("GET", std::chrono::seconds(30));
    if (client.ReadBodyUntil(&response, kMiB / 2, std::chrono::seconds(30))) ++half;
    client.ReadBody(&response, std::chrono::seconds(30));
    if (response.complete && response.body == expected) ++equal;
    if (CacheStatus(response).Has("collapsed")) ++collapsed;
  });
  director.join();
  EXPECT_EQ(half, 200u);
  EXPECT_EQ(equal, 200u);
  EXPECT_EQ(origin.RequestCount(), 1u);
  EXPECT_GT(collapsed, 100u);  // RFC 9211 2.6
}

TEST_F(CoalescingTest, AnUncacheableAnswerReleasesTheFollowersAtItsHead) {
  std::atomic<int> number = 0;
  origin.On("/", [&](OriginExchange& exchange) {
    int mine = ++number;
    if (mine == 1) exchange.Hold("first");
    exchange.SendHead(200, {{"Cache-Control", "no-store"}, {"Content-Length", "4"}});
    if (mine == 1) exchange.Hold("first body");
    exchange.Send(std::to_string(1000 + mine));
  });
  Start(OneWorker());
  std::vector<RawClient> clients = Crowd(20, Request("GET", "/"));
  ASSERT_TRUE(origin.WaitUntilHeld("first"));
  LetWorkersRead();
  EXPECT_EQ(origin.RequestCount("/"), 1u);
  origin.Release("first");
  // The followers do not wait for the leader's body.
  ASSERT_TRUE(origin.WaitForRequests("/", 20));
  origin.Release("first body");
  std::set<std::string> bodies;
  for (RawClient& client : clients) bodies.insert(client.Read().body);
  EXPECT_EQ(bodies.size(), 20u) << "an answer for one was given to two";
}

TEST_F(CoalescingTest, AKeyKnownNotToCacheIsNotQueuedOn) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Hold("all");
    exchange.Respond({.fields = {{"Cache-Control", "private"}}, .body = "x"});
  });
  Start();
  origin.Release("all");
  Get("/");
  origin.HoldAgain("all");
  std::vector<RawClient> clients = Crowd(10, Request("GET", "/"));
  EXPECT_TRUE(origin.WaitUntilHeld("all", 10)) << "they wait for one another";
  origin.Release("all");
  for (RawClient& client : clients) EXPECT_EQ(client.Read().body, "x");
}

TEST_F(CoalescingTest, AFailedFillPromotesOneFollower) {
  std::atomic<int> number = 0;
  origin.On("/", [&](OriginExchange& exchange) {
    if (++number == 1) {
      exchange.Hold("first");
      exchange.Reset();
      return;
    }
    exchange.Hold("second");
    exchange.Respond(Fresh("good"));
  });
  SatchelConfig config = OneWorker();
  Start(config);
  std::vector<RawClient> clients = Crowd(20, Request("GET", "/"));
  ASSERT_TRUE(origin.WaitUntilHeld("first"));
  LetWorkersRead();
  origin.Release("first");
  ASSERT_TRUE(origin.WaitUntilHeld("second"));
  LetWorkersRead();
  EXPECT_EQ(origin.RequestCount("/"), 2u) << "more than one follower was promoted";
  origin.Release("second");
  size_t good = 0;
  for (RawClient& client : clients) {
    Response response = client.Read();
    if (response.body == "good") {
      ++good;
    } else {
      EXPECT_EQ(response.status, 502) << Describe(response);
    }
  }
  EXPECT_GE(good, 19u) << "only the leader may see the failure";
  EXPECT_EQ(origin.RequestCount("/"), 2u);
}

TEST_F(CoalescingTest, AClientThatHasGoneWhenTheEndComesStopsNobody) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.SendHead(200, {{"Transfer-Encoding", "chunked"}, {"Cache-Control", "max-age=60"}});
    exchange.Send("5\r\n01234\r\n");
    exchange.Hold("rest");
    exchange.Send("5\r\n56789\r\n0\r\n\r\n");
    exchange.Hold("sent");
  });
  Start(OneWorker());
  RawClient client = satchel->Connect();
  client.Send(Request("GET", "/"));
  Response first = client.ReadHead();
  ASSERT_TRUE(client.ReadBodyUntil(&first, 5));
  // While the proxy stands still the end arrives, then the reset: it sees both in one turn, and
  // writes to a client that is not there any more.
  ASSERT_TRUE(satchel->process().Signal(SIGSTOP));
  origin.Release("rest");
  ASSERT_TRUE(origin.WaitUntilHeld("sent"));
  client.Reset();
  ASSERT_TRUE(satchel->process().Signal(SIGCONT));
  origin.Release("sent");
  EXPECT_EQ(Get("/").body, "0123456789");
}

TEST_F(CoalescingTest, ALeaderWhoseClientLeavesGoesOnForTheOthers) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.SendHead(200, {{"Content-Length", "10"}, {"Cache-Control", "max-age=60"}});
    exchange.Send("01234");
    exchange.Hold("rest");
    exchange.Send("56789");
  });
  Start(OneWorker());
  RawClient leader = satchel->Connect();
  leader.Send(Request("GET", "/"));
  Response first = leader.ReadHead();
  ASSERT_TRUE(leader.ReadBodyUntil(&first, 5));
  std::vector<RawClient> followers = Crowd(5, Request("GET", "/"));
  std::vector<Response> responses;
  for (RawClient& follower : followers) {
    responses.push_back(follower.ReadHead());
    ASSERT_TRUE(follower.ReadBodyUntil(&responses.back(), 5));
  }
  leader.Reset();
  LetWorkersRead();
  origin.Release("rest");
  for (size_t i = 0; i < followers.size(); ++i) {
    EXPECT_TRUE(followers[i].ReadBody(&responses[i]));
    EXPECT_EQ(responses[i].body, "0123456789");
  }
  EXPECT_TRUE(CacheStatus(Get("/")).hit());
  EXPECT_EQ(origin.RequestCount("/"), 1u);
}

TEST_F(CoalescingTest, FollowersThatLeaveDisturbNobody) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Hold("head");
    exchange.Respond(Fresh("body"));
  });
  Start(OneWorker());
  std::vector<RawClient> clients = Crowd(30, Request("GET", "/"));
  ASSERT_TRUE(origin.WaitUntilHeld("head"));
  for (size_t i = 0; i < clients.size(); i += 2) clients[i].Reset();
  LetWorkersRead();
  origin.Release("head");
  for (size_t i = 1; i < clients.size(); i += 2) EXPECT_EQ(clients[i].Read().body, "body");
  EXPECT_EQ(origin.RequestCount("/"), 1u);
}

TEST_F(CoalescingTest, AFillCutInTheMiddleIsCutForEveryReader) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.SendHead(200, {{"Content-Length", "10"}, {"Cache-Control", "max-age=60"}});
    exchange.Send("01234");
    exchange.Hold("cut");
    exchange.Reset();
  });
  Start(OneWorker());
  std::vector<RawClient> clients = Crowd(10, Request("GET", "/"));
  std::vector<Response> responses;
  for (RawClient& client : clients) {
    responses.push_back(client.ReadHead());
    EXPECT_TRUE(client.ReadBodyUntil(&responses.back(), 5));
  }
  origin.Release("cut");
  for (size_t i = 0; i < clients.size(); ++i) {
    clients[i].ReadBody(&responses[i]);
    EXPECT_FALSE(responses[i].complete);
    EXPECT_EQ(responses[i].error.find("deadline"), std::string::npos) << "left hanging";
    EXPECT_EQ(responses[i].body, "01234");
  }
}

TEST_F(CoalescingTest, AFollowerOfAnotherVariantGetsItsOwnAnswer) {
  origin.On("/", [](OriginExchange& exchange) {
    std::string lang = exchange.request().fields.Get("X-Lang");
    exchange.Hold("head");
    exchange.Respond(Fresh("in " + lang, 60, {{"Vary", "X-Lang"}}));
  });
  Start();
  std::vector<RawClient> german = Crowd(20, Request("GET", "/", {{"X-Lang", "de"}}));
  std::vector<RawClient> english = Crowd(20, Request("GET", "/", {{"X-Lang", "en"}}));
  ASSERT_TRUE(origin.WaitUntilHeld("head"));
  origin.Release("head");
  for (RawClient& client : german) EXPECT_EQ(client.Read().body, "in de");
  for (RawClient& client : english) EXPECT_EQ(client.Read().body, "in en");
}

TEST_F(CoalescingTest, AuthorizedRequestsNeverGetAnothersAnswer) {
  origin.On("/", [](OriginExchange& exchange) {
    std::string who = exchange.request().fields.Get("Authorization");
    exchange.Hold("head");
    exchange.Respond(Fresh("for " + who));
  });
  Start();
  std::vector<RawClient> clients;
  for (int i = 0; i < 30; ++i) {
    clients.emplace_back(satchel->address());
    Fields fields;
    if (i % 3 != 2) fields.Add("Authorization", "Basic " + std::to_string(i));
    clients.back().Send(Request("GET", "/", fields));
  }
  ASSERT_TRUE(origin.WaitUntilHeld("head"));
  origin.Release("head");
  for (int i = 0; i < 30; ++i) {
    std::string body = clients[static_cast<size_t>(i)].Read().body;
    // An answer to a request without Authorization may serve anybody (RFC 9111 3.5), an answer
    // to one with it nobody else.
    if (i % 3 == 2 || body != "for Basic " + std::to_string(i)) {
      EXPECT_EQ(body, "for ") << i;
    }
  }
}

TEST_F(CoalescingTest, HeadRangeAndConditionalRequestsAreAnsweredRightlyInTheCrowd) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Hold("head");
    Fields fields = {{"ETag", "\"1\""}};
    if (exchange.request().fields.Get("If-None-Match") == "\"1\"") {
      exchange.Respond({.status = 304, .fields = fields});
    } else if (exchange.request().fields.Get("Range") == "bytes=2-3") {
      fields.Add("Content-Range", "bytes 2-3/10");
      exchange.Respond({.status = 206, .fields = fields, .body = "23"});
    } else {
      exchange.Respond(Fresh("0123456789", 60, fields));
    }
  });
  Start();
  std::vector<RawClient> plain = Crowd(20, Request("GET", "/"));
  std::vector<RawClient> heads = Crowd(20, Request("HEAD", "/"));
  std::vector<RawClient> ranges = Crowd(20, Request("GET", "/", {{"Range", "bytes=2-3"}}));
  std::vector<RawClient> conditional = Crowd(20, Request("GET", "/", {{"If-None-Match", "\"1\""}}));
  ASSERT_TRUE(origin.WaitUntilHeld("head"));
  origin.Release("head");
  for (RawClient& client : plain) EXPECT_EQ(client.Read().body, "0123456789");
  for (RawClient& client : heads) {
    Response response = client.Read("HEAD");
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.Get("Content-Length"), "10");
    EXPECT_TRUE(client.Silent(std::chrono::milliseconds(1))) << "a HEAD answer with a body";
  }
  for (RawClient& client : ranges) {
    Response response = client.Read();
    EXPECT_EQ(response.status, 206) << Describe(response);
    EXPECT_EQ(response.body, "23");
  }
  for (RawClient& client : conditional) EXPECT_EQ(client.Read().status, 304);
}

TEST_F(CoalescingTest, AFollowerWaitsNoLongerThanAllowed) {
  std::atomic<int> number = 0;
  origin.On("/", [&](OriginExchange& exchange) {
    if (++number == 1) exchange.Hold("leader");
    exchange.Respond(Fresh("answer"));
  });
  SatchelConfig config = OneWorker();
  config.cache = "wait: 300ms";
  Start(config);
  RawClient leader = satchel->Connect();
  leader.Send(Request("GET", "/"));
  ASSERT_TRUE(origin.WaitUntilHeld("leader"));
  RawClient follower = satchel->Connect();
  follower.Send(Request("GET", "/"));
  EXPECT_EQ(follower.Read("GET", std::chrono::seconds(4)).body, "answer");  // its own fetch
  origin.Release("leader");
  EXPECT_EQ(leader.Read().body, "answer");
}

TEST_F(CoalescingTest, CoalescingCanBeSwitchedOff) {
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Hold("all");
    exchange.Respond(Fresh("x"));
  });
  SatchelConfig config = Config();
  config.cache = "coalesce: false";
  Start(config);
  std::vector<RawClient> clients = Crowd(5, Request("GET", "/"));
  EXPECT_TRUE(origin.WaitUntilHeld("all", 5));
  origin.Release("all");
  for (RawClient& client : clients) EXPECT_EQ(client.Read().body, "x");
}

TEST_F(CoalescingTest, OneThatTurnsOutTooLargeMidwayReachesEveryReaderWhole) {
  constexpr size_t kSize = 3 * kMiB;
  origin.On("/", [](OriginExchange& exchange) {
    exchange.SendHead(200, {{"Transfer-Encoding", "chunked"}, {"Cache-Control", "max-age=60"}});
    exchange.SendChunk(Pattern(0, 64 * 1024));
    exchange.Hold("rest");
    for (size_t at = 64 * 1024; at < kSize; at += 64 * 1024) {
      exchange.SendChunk(Pattern(at, 64 * 1024));
    }
    exchange.SendLastChunk();
  });
  SatchelConfig config = OneWorker();
  config.l1 = "size: 16MiB, max_object: 1MiB";
  Start(config);
  std::vector<RawClient> clients = Crowd(10, Request("GET", "/"));
  std::vector<Response> responses(10);
  for (size_t i = 0; i < 10; ++i) {
    responses[i] = clients[i].ReadHead();
    ASSERT_TRUE(clients[i].ReadBodyUntil(&responses[i], 64 * 1024)) << Describe(responses[i]);
  }
  EXPECT_EQ(origin.RequestCount("/"), 1u);
  origin.Release("rest");
  const std::string expected = Pattern(0, kSize);
  std::vector<std::thread> readers;
  std::atomic<int> whole = 0;
  for (size_t i = 0; i < 10; ++i) {
    readers.emplace_back([&, i] {
      clients[i].ReadBody(&responses[i]);
      if (responses[i].complete && responses[i].body == expected) ++whole;
    });
  }
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(whole, 10);
  EXPECT_FALSE(CacheStatus(Get("/")).hit());
}

TEST_F(CoalescingTest, E1_AFollowerOfAnotherVariantLeavesWhatStillGrows) {
  origin.On("/", [](OriginExchange& exchange) {
    const std::string lang = exchange.request().fields.Get("X-Lang");
    exchange.Hold("head");
    exchange.SendHead(
        200, {{"Content-Length", "4"}, {"Cache-Control", "max-age=60"}, {"Vary", "X-Lang"}});
    exchange.Send(lang);
    exchange.Hold(lang);
    exchange.Send(lang);
  });
  Start(OneWorker());
  RawClient german = satchel->Connect();
  german.Send(Request("GET", "/", {{"X-Lang", "de"}}));
  ASSERT_TRUE(origin.WaitUntilHeld("head"));
  RawClient english = satchel->Connect();
  english.Send(Request("GET", "/", {{"X-Lang", "en"}}));
  LetWorkersRead();
  EXPECT_EQ(origin.RequestCount("/"), 1u);
  origin.Release("head");
  // The one is not whole yet when the other is asked for.
  ASSERT_TRUE(origin.WaitUntilHeld("de"));
  EXPECT_TRUE(origin.WaitUntilHeld("en"));
  origin.Release("en");
  origin.Release("de");
  EXPECT_EQ(german.Read().body, "dede");
  EXPECT_EQ(english.Read().body, "enen");
}

}  // namespace
}  // namespace satchel::testing
