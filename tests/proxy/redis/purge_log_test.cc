#include "proxy/redis/purge_log.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proxy/redis/client.h"
#include "proxy/redis/link.h"
#include "tests/proxy/redis/fake_redis.h"
#include "tests/support/redis_process.h"

namespace satchel::redis {
namespace {

using cache::Fate;
using cache::PurgeRecord;
using cache::TagId;

struct Instance {
  Instance(net::EventLoop& event_loop, net::Resolver& resolver, const std::string& server,
           PurgeLog::Options options)
      : loop(event_loop) {
    const net::Address address = *net::Address::Parse(server);
    auto client_options = PatientOptions<Client::Options>(address);
    client_options.breaker.open_ms = 50;
    client = std::make_unique<Client>(loop, resolver, client_options);
    Subscriber::Options channel;
    static_cast<Link::Options&>(channel) = client_options;
    subscriber = std::make_unique<Subscriber>(
        loop, resolver, channel,
        Subscriber::Hooks{.on_up = {},
                          .on_down = [this](const std::string&) { log->OnDeaf(); },
                          .on_failed = {}});
    log = std::make_unique<PurgeLog>(loop, *client, *subscriber, purges, options);
    client->Start();
    subscriber->Start();
    log->Start();
  }
  void Join() {
    ASSERT_TRUE(TurnUntil(loop, [&] { return log->coherent() && subscriber->connected(); }));
  }
  PurgeLog::Outcome Purge(std::vector<PurgeRecord> records) {
    std::optional<PurgeLog::Outcome> outcome;
    log->Purge(std::move(records), false, [&](const PurgeLog::Outcome& o) { outcome = o; });
    EXPECT_FALSE(outcome.has_value());
    EXPECT_TRUE(TurnUntil(loop, [&] { return outcome.has_value(); }));
    return outcome.value_or(PurgeLog::Outcome());
  }
  Fate FateOf(std::string_view tag, uint64_t since) const {
    const TagId id = cache::TagOf(tag);
    return purges.Judge({"http://origin.test/", {&id, 1}, 0}, since).fate;
  }

  net::EventLoop& loop;
  cache::Purges purges;
  std::unique_ptr<Client> client;
  std::unique_ptr<Subscriber> subscriber;
  std::unique_ptr<PurgeLog> log;
};

class PurgeLogTest : public ::testing::Test {
 protected:
  std::unique_ptr<Instance> Make(PurgeLog::Options options = {}) {
    options.deadline_ms = 5000;
    return std::make_unique<Instance>(loop, resolver, server.address(), options);
  }
  std::unique_ptr<Instance> Joined(PurgeLog::Options options = {}) {
    auto instance = Make(options);
    instance->Join();
    return instance;
  }
  static std::vector<PurgeRecord> Tag(std::string_view tag, bool soft = false) {
    return {PurgeRecord::Tag(tag, soft)};
  }

  testing::RedisProcess server;
  net::EventLoop loop;
  net::Resolver resolver{loop};
};

TEST_F(PurgeLogTest, APurgeOfOneHoldsInAll) {
  const auto a = Joined();
  const auto b = Joined();
  const auto c = Joined();
  const uint64_t before[] = {a->purges.head(), b->purges.head(), c->purges.head()};
  const PurgeLog::Outcome outcome = a->Purge(Tag("x"));
  EXPECT_TRUE(outcome.shared);
  EXPECT_EQ(outcome.receivers, 3);
  EXPECT_EQ(outcome.sequence, a->purges.head());
  EXPECT_EQ(outcome.before, before[0]);
  EXPECT_EQ(a->FateOf("x", before[0]), Fate::kGone);
  for (const Instance* other : {b.get(), c.get()}) {
    ASSERT_TRUE(TurnUntil(loop, [&] { return other->log->position() == outcome.sequence; }));
    EXPECT_EQ(other->FateOf("x", before[1]), Fate::kGone);
    EXPECT_EQ(other->FateOf("y", before[1]), Fate::kValid);
    EXPECT_EQ(other->FateOf("x", other->purges.head()), Fate::kValid);
  }
  EXPECT_EQ(b->log->counters().received.Get(), 1u);
}

TEST_F(PurgeLogTest, WhoComesLaterKnowsWhatWasPurgedBefore) {
  const auto a = Joined();
  const uint64_t before = a->purges.head();
  a->Purge(Tag("x"));
  a->Purge(Tag("y", true));
  const auto b = Joined();
  EXPECT_EQ(b->FateOf("x", before), Fate::kGone);
  EXPECT_EQ(b->FateOf("y", before), Fate::kSoft);
  EXPECT_EQ(b->FateOf("z", before), Fate::kValid);
  EXPECT_EQ(b->purges.head(), a->purges.head());
}

TEST_F(PurgeLogTest, WhatWasStoredBeforeTheFirstReadingIsDoubtful) {
  const auto a = Make();
  EXPECT_FALSE(a->purges.complete());
  const uint64_t before = a->purges.head();
  a->Join();
  EXPECT_TRUE(a->purges.complete());
  EXPECT_EQ(a->FateOf("x", before), Fate::kDoubtful);
  EXPECT_EQ(a->FateOf("x", a->purges.head()), Fate::kValid);
}

TEST_F(PurgeLogTest, SequencesIncreaseThoughTheServersClockStandsStill) {
  const auto a = Joined();
  // A head from the future: the clock has gone back since.
  server.Command({"ZADD", "satchel:{p}", "9000000000000000", "#"});
  const uint64_t first = a->Purge(Tag("x")).sequence;
  const uint64_t second = a->Purge(Tag("x")).sequence;
  EXPECT_EQ(first, 9000000000000001u);
  EXPECT_EQ(second, 9000000000000002u);
}

TEST_F(PurgeLogTest, ALostMessageIsRepairedByTheNext) {
  const auto a = Joined();
  const auto b = Joined({.poll_ms = 3'600'000});
  const uint64_t before = b->purges.head();
  server.Command({"CLIENT", "KILL", "TYPE", "pubsub"});
  a->Purge(Tag("lost"));
  ASSERT_TRUE(TurnUntil(loop, [&] { return b->FateOf("lost", before) == Fate::kGone; }));
}

TEST_F(PurgeLogTest, AGapIsFilledFromTheLog) {
  const auto a = Joined({.poll_ms = 3'600'000});
  const uint64_t before = a->purges.head();
  // Written, and told to nobody.
  const std::string next = std::to_string(before + 5);
  server.Command(
      {"ZADD", "satchel:{p}", next, PurgeRecord::Tag("silent", false).ToText(), next, "#"});
  const std::string after = std::to_string(before + 9);
  server.Command(
      {"ZADD", "satchel:{p}", after, PurgeRecord::Tag("told", false).ToText(), after, "#"});
  server.Command({"PUBLISH", "satchel:purges",
                  next + " " + after + " - " + PurgeRecord::Tag("told", false).ToText()});
  ASSERT_TRUE(TurnUntil(loop, [&] { return a->log->position() == before + 9; }));
  EXPECT_EQ(a->FateOf("silent", before), Fate::kGone);
  EXPECT_EQ(a->FateOf("silent", before + 5), Fate::kValid);
  EXPECT_EQ(a->FateOf("told", before), Fate::kGone);
  EXPECT_EQ(a->log->counters().gaps.Get(), 1u);
  EXPECT_GE(a->log->counters().repaired.Get(), 2u);
}

TEST_F(PurgeLogTest, WithoutAnyMessageReadingFindsAPurge) {
  const auto a = Joined({.poll_ms = 50});
  const uint64_t before = a->purges.head();
  const std::string next = std::to_string(before + 5);
  server.Command({"ZADD", "satchel:{p}", next, PurgeRecord::Tag("x", false).ToText(), next, "#"});
  EXPECT_TRUE(TurnUntil(loop, [&] { return a->FateOf("x", before) == Fate::kGone; }));
}

TEST_F(PurgeLogTest, ALostLogMakesEverythingDoubtful) {
  const auto a = Joined({.poll_ms = 50});
  a->Purge(Tag("x"));
  const uint64_t before = a->purges.head();
  EXPECT_EQ(a->FateOf("x", before), Fate::kValid);
  server.Command({"FLUSHALL"});
  ASSERT_TRUE(TurnUntil(loop, [&] { return a->FateOf("y", before) == Fate::kDoubtful; }));
  EXPECT_EQ(a->log->counters().epoch_losses.Get(), 1u);
  ASSERT_TRUE(TurnUntil(loop, [&] { return a->log->coherent(); }));
  const uint64_t later = a->purges.head();
  EXPECT_GT(a->Purge(Tag("y")).sequence, later);
  EXPECT_EQ(a->FateOf("y", later), Fate::kGone);
}

TEST_F(PurgeLogTest, ManyAtOnceAreReadInPieces) {
  const auto a = Joined();
  const uint64_t before = a->purges.head();
  std::vector<PurgeRecord> records;
  for (int i = 0; i < 3500; ++i) records.push_back(PurgeRecord::Tag(std::to_string(i), false));
  a->Purge(records);
  for (int i = 0; i < 40; ++i) a->Purge(Tag("single" + std::to_string(i)));
  const auto b = Joined({.read_at_once = 2000});
  EXPECT_EQ(b->purges.stats().records, 3540u);
  EXPECT_EQ(b->purges.head(), a->purges.head());
  for (const char* tag : {"0", "999", "1000", "3499", "single0", "single39"}) {
    EXPECT_EQ(b->FateOf(tag, before), Fate::kGone) << tag;
  }
}

TEST_F(PurgeLogTest, TheLogIsBoundedAndWhoComesLaterDoubtsWhatIsOlder) {
  const auto a = Joined({.max_records = 100});
  const uint64_t before = a->purges.head();
  for (int i = 0; i < 400; ++i) a->Purge(Tag(std::to_string(i)));
  EXPECT_LE(std::stoi(server.Command({"ZCARD", "satchel:{p}"})), 103);
  EXPECT_NE(server.Command({"PTTL", "satchel:{p}"}), "-1");
  const auto b = Joined();
  EXPECT_EQ(b->FateOf("0", before), Fate::kDoubtful);
  EXPECT_EQ(b->FateOf("399", before), Fate::kGone);
}

TEST_F(PurgeLogTest, WithoutRedisAPurgeHoldsHereAndIsPublishedLater) {
  const auto a = Joined({.poll_ms = 50, .incoherent_ms = 50});
  server.Kill();
  ASSERT_TRUE(TurnUntil(loop, [&] { return !a->purges.complete(); }));
  const uint64_t before = a->purges.head();
  const PurgeLog::Outcome outcome = a->Purge(Tag("x"));
  EXPECT_FALSE(outcome.shared);
  EXPECT_FALSE(outcome.error.empty());
  EXPECT_EQ(a->FateOf("x", before), Fate::kGone);
  server.Restart();
  ASSERT_TRUE(TurnUntil(loop, [&] { return a->log->counters().published.Get() == 1; }));
  EXPECT_EQ(server.Command({"ZSCORE", "satchel:{p}", PurgeRecord::Tag("x", false).ToText()}),
            std::to_string(a->log->position()));
}

// What a fail-over to a replica that lags does to the log.
TEST_F(PurgeLogTest, ALogThatWentBackIsBornAgainByWhoKnowsMore) {
  const auto a = Joined({.poll_ms = 50});
  const uint64_t before = a->purges.head();
  a->Purge(Tag("x"));
  server.Command({"ZREM", "satchel:{p}", PurgeRecord::Tag("x", false).ToText()});
  server.Command({"ZADD", "satchel:{p}", std::to_string(before), "#"});
  ASSERT_TRUE(TurnUntil(loop, [&] { return a->log->counters().epoch_losses.Get() == 1; }));
  EXPECT_EQ(a->FateOf("x", before), Fate::kGone);
  EXPECT_EQ(a->FateOf("y", before), Fate::kDoubtful);
  // Who never heard of that purge serves nothing from before it unasked.
  const auto b = Joined();
  EXPECT_EQ(b->FateOf("x", before), Fate::kDoubtful);
  EXPECT_EQ(b->FateOf("x", b->purges.head()), Fate::kValid);
}

TEST_F(PurgeLogTest, ALogThatWentBackIsSeenByTheMessageThatFollows) {
  const auto a = Joined({.poll_ms = 3'600'000});
  // Behind its subscription it reads once more: that answer comes before the purge's.
  ASSERT_TRUE(TurnUntil(loop, [&] { return a->log->counters().reads.Get() >= 2; }));
  const uint64_t before = a->purges.head();
  a->Purge(Tag("x"));
  server.Command({"ZREM", "satchel:{p}", PurgeRecord::Tag("x", false).ToText()});
  server.Command({"ZADD", "satchel:{p}", std::to_string(before), "#"});
  const auto b = Joined({.poll_ms = 50});
  EXPECT_EQ(b->FateOf("x", before), Fate::kValid);
  b->Purge(Tag("z"));  // the head is past what `a` knows by now
  ASSERT_TRUE(TurnUntil(loop, [&] { return b->FateOf("x", before) == Fate::kDoubtful; }));
  ASSERT_TRUE(TurnUntil(loop, [&] { return a->log->position() == b->log->position(); }));
  EXPECT_EQ(a->log->counters().epoch_losses.Get(), 1u);
  EXPECT_EQ(b->log->counters().epoch_losses.Get(), 1u);
}

// What others fetched before a purge of ours they may store under a number after it, as long as
// they cannot know of it.
TEST_F(PurgeLogTest, NothingOfOthersIsUsedBeforeOurPurgeIsInTheLog) {
  const auto a = Joined({.poll_ms = 50});
  server.Command({"CONFIG", "SET", "maxmemory", "1"});  // reads go on
  EXPECT_FALSE(a->Purge(Tag("x")).shared);
  EXPECT_FALSE(a->purges.complete());
  const uint64_t reads = a->log->counters().reads.Get();
  ASSERT_TRUE(TurnUntil(loop, [&] {
    EXPECT_FALSE(a->purges.complete());
    return a->log->counters().reads.Get() > reads + 4;
  }));
  EXPECT_EQ(a->log->counters().failed_reads.Get(), 0u);
  EXPECT_EQ(a->log->counters().incoherent_ticks.Get(), 0u);  // its own goes on
  server.Command({"CONFIG", "SET", "maxmemory", "0"});
  ASSERT_TRUE(TurnUntil(loop, [&] { return a->purges.complete(); }));
  EXPECT_EQ(server.Command({"ZSCORE", "satchel:{p}", PurgeRecord::Tag("x", false).ToText()}),
            std::to_string(a->log->position()));
}

// Nothing can be older than the start, and what is fetched first is not to be asked for twice.
TEST_F(PurgeLogTest, WhoStartsWithoutTheLogDoubtsNothingUntilItsPatienceIsOver) {
  server.Pause();
  const int64_t begun = loop.now_ms();
  const auto a = Make({.poll_ms = 20, .incoherent_ms = 300});
  const uint64_t fetched = a->purges.head();
  ASSERT_TRUE(TurnUntil(loop, [&] { return a->FateOf("x", fetched) == Fate::kDoubtful; }));
  EXPECT_GE(loop.now_ms() - begun, 300);
  server.Continue();
}

TEST_F(PurgeLogTest, WhileNothingIsHeardEverythingIsDoubtfulAgainAndAgain) {
  const auto a = Joined({.poll_ms = 50, .incoherent_ms = 50});
  server.Pause();
  for (int i = 0; i < 3; ++i) {
    const uint64_t fetched = a->purges.head();
    ASSERT_TRUE(TurnUntil(loop, [&] { return a->FateOf("x", fetched) == Fate::kDoubtful; }));
    EXPECT_FALSE(a->purges.complete());
  }
  server.Continue();
  ASSERT_TRUE(TurnUntil(loop, [&] { return a->purges.complete(); }));
}

std::string Wire(const std::vector<std::string>& items) {
  std::string wire = "*" + std::to_string(items.size()) + "\r\n";
  for (const std::string& item : items) {
    wire += "$" + std::to_string(item.size()) + "\r\n" + item + "\r\n";
  }
  return wire;
}

// The batch was in the log, and the log that is read does not reach so far: it was lost with a
// fail-over, or a bit of the answer.
TEST(PurgeLogAnswersTest, ABatchThatTheLogDoesNotHaveAnyMoreIsNotWaitedFor) {
  net::EventLoop loop;
  net::Resolver resolver(loop);
  FakeRedis server(loop);
  FakeRedis channel_server(loop);
  channel_server.answers["SUBSCRIBE"] = "*3\r\n$9\r\nsubscribe\r\n$14\r\nsatchel:purges\r\n:1\r\n";
  Client::Options options;
  options.host = "127.0.0.1";
  options.port = server.address().port();
  options.connect_timeout_ms = 10'000;
  Client client(loop, resolver, options);
  Subscriber::Options channel;
  static_cast<Link::Options&>(channel) = options;
  channel.port = channel_server.address().port();
  Subscriber subscriber(loop, resolver, channel, {});
  cache::Purges purges;
  PurgeLog log(loop, client, subscriber, purges, {.deadline_ms = 5000, .poll_ms = 60'000});
  client.Start();
  subscriber.Start();
  ASSERT_TRUE(TurnUntil(loop, [&] { return client.ready() && subscriber.connected(); }));
  const std::string standing = Wire({"1000", "500", "0", "0", "@", "500", "#", "1000"});
  server.auto_replies = {standing, standing};  // at the start, and when the channel stands
  log.Start();
  ASSERT_TRUE(TurnUntil(loop, [&] { return log.coherent() && server.auto_replies.empty(); }));
  const TagId tag = cache::TagOf("t");
  std::optional<PurgeLog::Outcome> outcome;
  server.auto_replies = {"*3\r\n$7\r\n5000000\r\n$7\r\n4000000\r\n:1\r\n", standing};
  log.Purge({PurgeRecord::Tag("t", false)}, false,
            [&](const PurgeLog::Outcome& told) { outcome = told; });
  ASSERT_TRUE(TurnUntil(loop, [&] { return outcome.has_value(); }, 5'000));
  EXPECT_EQ(purges.Judge({"http://origin.test/", {&tag, 1}, 0}, 1000).fate, Fate::kGone);
}

// A script counts no further than doubles do.
TEST(PurgeLogAnswersTest, ALogWhoseNumbersAreNoneIsNotBelieved) {
  const auto parse = [](const std::vector<std::string>& items) {
    ReplyReader reader({.max_bytes = 1 << 16, .max_elements = 100});
    reader.Feed(Wire(items));
    Reply reply;
    EXPECT_EQ(reader.Read(reply), ReplyReader::Next::kReply);
    return ParsePurgeLog(reply);
  };
  const std::string most = "9007199254740992";
  const std::string beyond = "9007199254740993";
  EXPECT_TRUE(parse({most, "1", "0", "0"}));
  EXPECT_FALSE(parse({beyond, "1", "0", "0"}));
  EXPECT_FALSE(parse({"9", beyond, "0", "0"}));
  EXPECT_FALSE(parse({"9", "1", "0", "0", "h*", beyond}));
  EXPECT_FALSE(parse({"9", "1", "0", "0", "h*", "5", "ht0000000000000001", "4"}));
  const auto cut = parse({"9", "1", "0", "1", "h*", "5", "ht0000000000000001", "6"});
  ASSERT_TRUE(cut && cut->more);
  ASSERT_EQ(cut->batches.size(), 1u);
  EXPECT_EQ(cut->batches[0].sequence, 5u);
}

TEST_F(PurgeLogTest, TheLagIsCountedFromTheServersClock) {
  const auto a = Joined();
  const uint64_t before = a->purges.head();
  TurnFor(loop, 100);
  // A batch of the moment behind the last one known.
  server.Command({"PUBLISH", "satchel:purges",
                  std::to_string(before) + " " + std::to_string(before + 1) + " - h*"});
  ASSERT_TRUE(TurnUntil(loop, [&] { return a->log->counters().received.Get() == 1; }));
  EXPECT_GE(a->log->counters().lag_us.Get(), 90'000U);
  EXPECT_LT(a->log->counters().lag_us.Get(), 60'000'000U);
}

TEST_F(PurgeLogTest, GarbageOnTheChannelIsCountedAndNeverMistaken) {
  const auto a = Joined();
  const uint64_t before = a->purges.head();
  for (const char* message :
       {"", "x", "1", "5 4 -", "5 5 -", "-1 9 - h*", "99999999999999999999 1"}) {
    server.Command({"PUBLISH", "satchel:purges", message});
  }
  ASSERT_TRUE(TurnUntil(loop, [&] { return a->log->counters().bad_messages.Get() == 7; }));
  EXPECT_EQ(a->FateOf("x", before), Fate::kValid);
  // A name of a version to come: what it means is not known, so everything is stale.
  const std::string next = std::to_string(before + 1);
  server.Command({"PUBLISH", "satchel:purges", std::to_string(before) + " " + next + " - hz1"});
  ASSERT_TRUE(TurnUntil(loop, [&] { return a->FateOf("x", before) == Fate::kSoft; }));
}

}  // namespace
}  // namespace satchel::redis
