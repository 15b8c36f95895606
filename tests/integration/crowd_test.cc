// Hundreds of clients at once, each with wishes of its own: nobody gets another's bytes, and large
// answers reach every reader whole.

#include <thread>

#include "tests/support/proxy_fixture.h"

namespace satchel::testing {
namespace {

constexpr size_t kMiB = 1024 * 1024;
constexpr auto kLongPatience = std::chrono::seconds(60);

class CrowdTest : public ProxyTest {
 protected:
  SatchelConfig WithWorkers(const char* workers) const {
    SatchelConfig config = Config();
    config.workers = workers;
    return config;
  }
};

// A request may look just before an answer is stored and ask to fetch just after: with two workers and
// an origin that answers at once some always do.
TEST_F(CrowdTest, WhoComesAsTheFetchEndsDoesNotFetchAgain) {
  constexpr size_t kRounds = 1500;
  constexpr size_t kClients = 16;
  origin.Otherwise([](OriginExchange& exchange) {
    exchange.Respond(Fresh(exchange.request().target));
  });
  Start(WithWorkers("2"));
  std::vector<RawClient> clients;
  for (size_t i = 0; i < kClients; ++i) clients.push_back(satchel->Connect());
  for (size_t round = 0; round < kRounds; ++round) {
    const std::string target = "/" + std::to_string(round);
    for (RawClient& client : clients) client.Send(Request("GET", target));
    for (RawClient& client : clients) ASSERT_EQ(client.Read().body, target);
  }
  EXPECT_EQ(origin.RequestCount(), kRounds);
  // Each was looked up once, however often it had to look again.
  EXPECT_EQ(satchel->ReadMetrics().Sum("satchel_tier_lookups_total", {"tier=\"l1\""}),
            static_cast<double>(kRounds * kClients));
}

// A page in two languages, and one that is each principal's own.
struct Page {
  static constexpr size_t kSize = 100'000;
  static std::string Body(const std::string& language) {
    return Pattern(0, kSize, language == "de" ? 1 : 2);
  }
  static void Answer(OriginExchange& exchange) {
    const Fields& fields = exchange.request().fields;
    const std::string who = fields.Get("Authorization");
    const std::string language = fields.Get("X-Lang");
    const std::string etag = "\"" + language + "\"";
    Fields common = {{"ETag", etag}, {"Vary", "X-Lang"}, {"Cache-Control", "max-age=60"}};
    if (!who.empty()) {
      exchange.Respond({.fields = common, .body = "for " + who});
    } else if (fields.Get("If-None-Match") == etag) {
      exchange.Respond({.status = 304, .fields = common});
    } else if (fields.Get("Range") == "bytes=1000-1999") {
      common.Add("Content-Range", "bytes 1000-1999/" + std::to_string(kSize));
      exchange.Respond({.status = 206, .fields = common, .body = Body(language).substr(1000, 1000)});
    } else if (exchange.request().method == "HEAD") {
      common.Add("Content-Length", std::to_string(kSize));
      exchange.SendHead(200, common);
    } else {
      exchange.Respond({.fields = common, .body = Body(language)});
    }
  }
};

TEST_F(CrowdTest, EachOfAMixedCrowdGetsItsOwnAnswer) {
  constexpr size_t kClients = 420;
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Hold("crowd");
    Page::Answer(exchange);
  });
  Start(WithWorkers("4"));
  const std::string german = Page::Body("de");
  const std::string english = Page::Body("en");
  std::atomic<size_t> asked = 0;
  std::atomic<size_t> right = 0;
  std::thread director([&] {
    EXPECT_TRUE(Eventually([&] { return asked == kClients; }, kLongPatience));
    origin.WaitUntilHeld("crowd");
    origin.Release("crowd");
  });
  RunTogether(kClients, [&](size_t i) {
    const std::string language = i % 2 == 0 ? "de" : "en";
    const std::string& body = i % 2 == 0 ? german : english;
    const std::string who = "Basic " + std::to_string(i);
    Fields fields = {{"X-Lang", language}};
    std::string method = "GET";
    switch (i / 2 % 5) {
      case 1:
        fields.Add("Range", "bytes=1000-1999");
        break;
      case 2:
        fields.Add("If-None-Match", "\"" + language + "\"");
        break;
      case 3:
        method = "HEAD";
        break;
      case 4:
        fields.Add("Authorization", who);
        break;
      default:
        break;
    }
    RawClient client = satchel->Connect();
    client.Send(Request(method, "/", fields));
    ++asked;
    const Response response = client.Read(method, kLongPatience);
    bool ok = response.complete && response.Get("ETag") == "\"" + language + "\"";
    switch (i / 2 % 5) {
      case 1:
        ok = ok && response.status == 206 && response.body == body.substr(1000, 1000) &&
             response.Get("Content-Range") == "bytes 1000-1999/" + std::to_string(Page::kSize);
        break;
      case 2:
        ok = ok && response.status == 304 && response.body.empty();
        break;
      case 3:
        ok = ok && response.status == 200 && response.body.empty() &&
             response.Get("Content-Length") == std::to_string(Page::kSize) &&
             client.Silent(std::chrono::milliseconds(1));
        break;
      case 4:
        // Its own, or what everybody may have (RFC 9111 3.5): never another principal's.
        ok = ok && response.status == 200 && (response.body == "for " + who || response.body == body);
        break;
      default:
        ok = ok && response.status == 200 && response.body == body;
        break;
    }
    if (ok) {
      ++right;
    } else {
      ADD_FAILURE() << "client " << i << ": " << Describe(response).substr(0, 600);
    }
  });
  director.join();
  EXPECT_EQ(right, kClients);
  for (const char* language : {"de", "en"}) {
    const Response stored = Get("/", {{"X-Lang", language}});
    EXPECT_TRUE(stored.body == Page::Body(language));
  }
}

TEST_F(CrowdTest, FollowersWhoseDeadlinePassesFetchForThemselves) {
  constexpr size_t kClients = 100;
  std::atomic<int> number = 0;
  origin.On("/", [&](OriginExchange& exchange) {
    const int mine = ++number;
    if (mine == 1) exchange.Hold("leader");
    exchange.Respond(Fresh("answer " + std::to_string(mine)));
  });
  SatchelConfig config = WithWorkers("2");
  config.cache = "wait: 400ms";
  Start(config);
  RawClient leader = satchel->Connect();
  leader.Send(Request("GET", "/"));
  ASSERT_TRUE(origin.WaitUntilHeld("leader"));
  std::atomic<size_t> answered = 0;
  RunTogether(kClients, [&](size_t) {
    RawClient client = satchel->Connect();
    client.Send(Request("GET", "/"));
    const Response response = client.Read("GET", kLongPatience);
    if (response.complete && response.body.starts_with("answer ") && response.body != "answer 1") {
      ++answered;
    }
  });
  EXPECT_EQ(answered, kClients) << "they wait for a leader that gets no answer";
  origin.Release("leader");
  EXPECT_EQ(leader.Read().body, "answer 1");
}

TEST_F(CrowdTest, AnAbortingCrowdDoesNotCancelWhatTheRestReads) {
  constexpr size_t kClients = 200;
  constexpr size_t kSize = 2 * kMiB;
  origin.On("/", [](OriginExchange& exchange) {
    exchange.SendHead(200, {{"Content-Length", std::to_string(kSize)},
                            {"Cache-Control", "max-age=60"}});
    exchange.SendPattern(0, kMiB);
    exchange.Hold("second half");
    exchange.SendPattern(kMiB, kMiB);
  });
  Start(WithWorkers("4"));
  const std::string expected = Pattern(0, kSize);
  std::atomic<size_t> half = 0;
  std::atomic<size_t> gone = 0;
  std::atomic<size_t> whole = 0;
  std::thread director([&] {
    EXPECT_TRUE(Eventually([&] { return half == kClients && gone == kClients / 2; }, kLongPatience));
    origin.Release("second half");
  });
  // The first to come leads; it goes too.
  RawClient leader = satchel->Connect();
  leader.Send(Request("GET", "/"));
  ASSERT_TRUE(origin.WaitUntilHeld("second half"));
  RunTogether(kClients, [&](size_t i) {
    RawClient client = satchel->Connect();
    client.Send(Request("GET", "/"));
    Response response = client.ReadHead("GET", kLongPatience);
    if (client.ReadBodyUntil(&response, kMiB, kLongPatience)) ++half;
    if (i % 2 == 0) {
      if (i == 0) leader.Reset();
      client.Reset();
      ++gone;
      return;
    }
    client.ReadBody(&response, kLongPatience);
    if (response.complete && response.body == expected) ++whole;
  });
  director.join();
  EXPECT_EQ(whole, kClients / 2);
  EXPECT_EQ(origin.RequestCount(), 1u);
  EXPECT_TRUE(CacheStatus(Get("/")).hit());
}

// One that turns out too large midway: fast, slow and aborting readers on several workers.
TEST_F(CrowdTest, WhatTurnsOutTooLargeReachesEveryReaderByteForByte) {
  constexpr size_t kClients = 160;
  constexpr size_t kSize = 4 * kMiB;
  constexpr size_t kFirst = 64 * 1024;
  origin.On("/", [](OriginExchange& exchange) {
    exchange.SendHead(200, {{"Transfer-Encoding", "chunked"}, {"Cache-Control", "max-age=60"}});
    exchange.SendChunk(Pattern(0, kFirst));
    exchange.Hold("rest");
    for (size_t at = kFirst; at < kSize; at += kFirst) {
      if (!exchange.SendChunk(Pattern(at, kFirst))) return;
    }
    exchange.SendLastChunk();
  });
  SatchelConfig config = WithWorkers("4");
  config.l1 = "size: 16MiB, max_object: 1MiB";
  Start(config);
  const uint64_t before = satchel->process().ResidentBytes();
  const std::string expected = Pattern(0, kSize);
  std::atomic<size_t> begun = 0;
  std::atomic<size_t> whole = 0;
  std::thread director([&] {
    EXPECT_TRUE(Eventually([&] { return begun == kClients; }, kLongPatience));
    origin.Release("rest");
  });
  RunTogether(kClients, [&](size_t i) {
    const bool slow = i % 8 == 1;
    RawClient client(satchel->address(), slow ? 64 * 1024 : 0);
    client.Send(Request("GET", "/"));
    Response response = client.ReadHead("GET", kLongPatience);
    if (client.ReadBodyUntil(&response, kFirst, kLongPatience)) ++begun;
    if (i % 4 == 0) {
      client.ReadBodyUntil(&response, kFirst + i * 20'000, kLongPatience);
      client.Reset();
      return;
    }
    for (size_t at = kFirst; slow && at < kSize; at += kFirst) {
      client.ReadBodyUntil(&response, at, kLongPatience);
    }
    client.ReadBody(&response, kLongPatience);
    if (response.complete && response.body == expected) {
      ++whole;
    } else {
      ADD_FAILURE() << "client " << i << " has " << response.body_size << " " << response.error;
    }
  });
  director.join();
  EXPECT_EQ(whole, kClients - kClients / 4);
  EXPECT_EQ(origin.RequestCount(), 1u);
  EXPECT_LT(satchel->process().ResidentBytes(), before + MemoryAllowance(64 * kMiB));
  // Nothing of it is left: neither a stored response nor a fill.
  origin.On("/", Fresh("small"));
  EXPECT_EQ(Get("/").body, "small");
}

TEST_F(CrowdTest, WhatIsAnnouncedTooLargeStreamsToAllWhoWaitedAndIsNotStored) {
  constexpr size_t kClients = 100;
  constexpr size_t kSize = 3 * kMiB;
  origin.On("/", [](OriginExchange& exchange) {
    exchange.Hold("head");
    exchange.SendHead(200, {{"Content-Length", std::to_string(kSize)},
                            {"Cache-Control", "max-age=60"}});
    exchange.SendPattern(0, kSize);
  });
  SatchelConfig config = WithWorkers("4");
  config.l1 = "size: 16MiB, max_object: 1MiB";
  Start(config);
  const std::string expected = Pattern(0, kSize);
  std::atomic<size_t> asked = 0;
  std::atomic<size_t> whole = 0;
  std::thread director([&] {
    EXPECT_TRUE(Eventually([&] { return asked == kClients; }, kLongPatience));
    origin.WaitUntilHeld("head");
    origin.Release("head");
  });
  RunTogether(kClients, [&](size_t i) {
    RawClient client = satchel->Connect();
    const bool range = i % 5 == 0;
    client.Send(Request("GET", "/", range ? Fields{{"Range", "bytes=2000000-2000099"}} : Fields{}));
    ++asked;
    const Response response = client.Read("GET", kLongPatience);
    const bool right = response.status == 206 ? range && response.body == expected.substr(2'000'000, 100)
                                              : response.body == expected;
    if (response.complete && right) ++whole;
  });
  director.join();
  EXPECT_EQ(whole, kClients);
  const Response again = Get("/");
  EXPECT_FALSE(CacheStatus(again).hit()) << again.raw_head;
  EXPECT_TRUE(again.body == expected);
}

}  // namespace
}  // namespace satchel::testing
