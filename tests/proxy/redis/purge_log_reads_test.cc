// What the log does with an answer that is not the whole of it.

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "proxy/redis/purge_log.h"
#include "tests/proxy/redis/fake_redis.h"

namespace satchel::redis {
namespace {

// Holds each call until the test answers it; takes none while it is `full`.
class HeldCommander : public Commander {
 public:
  explicit HeldCommander(net::EventLoop& loop) : Commander(loop) {}

  void AddScript(const Script&) override {}
  void Start() override {}
  void SetAccess(const Access&, const Access&) override {}
  void VisitNodes(const std::function<void(const Node&)>&) const override {}
  bool available(std::string_view) const override { return !full; }
  uint64_t generation() const override { return 1; }
  int64_t clock_offset_us(std::string_view) const override { return 0; }
  bool clustered() const override { return false; }

  void Answer(const std::vector<std::string>& texts) {
    Reply reply{.type = Reply::Type::kArray, .integer = 0, .text = {}, .items = {}};
    for (const std::string& text : texts) {
      reply.items.push_back(
          {.type = Reply::Type::kString, .integer = 0, .text = text, .items = {}});
    }
    const std::shared_ptr<CallState> call = std::move(calls.front());
    calls.pop_front();
    call->Finish(std::move(reply));
  }

  bool full = false;
  std::deque<std::shared_ptr<CallState>> calls;

 private:
  bool Dispatch(std::string_view, Lane, Command, const std::shared_ptr<CallState>& call,
                int64_t) override {
    if (!full) calls.push_back(call);
    return !full;
  }
};

class PurgeLogReadsTest : public ::testing::Test {
 protected:
  PurgeLogReadsTest() { log.Start(); }

  const std::string a = cache::PurgeRecord::Tag("a", false).ToText();
  const std::string b = cache::PurgeRecord::Tag("b", false).ToText();
  net::EventLoop loop;
  net::Resolver resolver{loop};
  FakeRedis nobody{loop};
  HeldCommander commander{loop};
  Subscriber subscriber{loop, resolver, PatientOptions<Subscriber::Options>(nobody.address()), {}};
  cache::Purges purges;
  PurgeLog log{loop, commander, subscriber, purges, {.poll_ms = 20}};
};

TEST_F(PurgeLogReadsTest, ALogReadInPartProvesNothingWhenTheRestCannotBeAskedFor) {
  ASSERT_EQ(commander.calls.size(), 1u);
  commander.full = true;
  // head, born, floor, more; then names with their sequences, of which the last may be cut.
  commander.Answer({"30", "10", "0", "1", a, "20", b, "30"});
  EXPECT_EQ(log.position(), 20u);
  EXPECT_FALSE(log.coherent());
  EXPECT_FALSE(purges.complete());
  EXPECT_EQ(log.counters().failed_reads.Get(), 1u);

  commander.full = false;
  ASSERT_TRUE(TurnUntil(loop, [&] { return !commander.calls.empty(); }));  // the next tick's
  EXPECT_FALSE(log.coherent());
  commander.Answer({"30", "10", "0", "0", b, "30"});
  EXPECT_EQ(log.position(), 30u);
  EXPECT_TRUE(log.coherent());
  EXPECT_TRUE(purges.complete());
}

TEST_F(PurgeLogReadsTest,
       APurgeBehindOthersThatCannotBeReadIsPublishedAgainAndOthersAnswersAreLeftAlone) {
  commander.Answer({"10", "10", "0", "0"});
  ASSERT_TRUE(log.coherent());
  bool done = false;
  log.Purge({cache::PurgeRecord::Tag("a", false)}, false,
            [&](const PurgeLog::Outcome& outcome) { done = outcome.shared; });
  ASSERT_EQ(commander.calls.size(), 1u);
  // In the log as 30, behind a 20 that is not known here; which then cannot be read.
  commander.Answer({"30", "20", "1"});
  ASSERT_EQ(commander.calls.size(), 1u);
  EXPECT_FALSE(done);
  commander.Answer({});
  EXPECT_TRUE(done);
  EXPECT_FALSE(purges.complete());
  // The next read brings both; ours goes out once more, and with the read behind it all is known.
  ASSERT_TRUE(TurnUntil(loop, [&] { return !commander.calls.empty(); }));
  commander.Answer({"30", "10", "0", "0", b, "20", a, "30"});
  EXPECT_FALSE(log.coherent());
  ASSERT_EQ(commander.calls.size(), 1u);
  commander.Answer({"40", "30", "1"});
  ASSERT_TRUE(TurnUntil(loop, [&] { return !commander.calls.empty(); }));
  commander.Answer({"40", "10", "0", "0"});
  EXPECT_TRUE(log.coherent());
}

TEST_F(PurgeLogReadsTest, OfAnAnswerThatIsNotUnderstoodNothingIsTaken) {
  for (const std::vector<std::string>& bad : {std::vector<std::string>{},
                                              {"30", "10", "0"},
                                              {"x", "10", "0", "0"},
                                              {"30", "10", "0", "0", a},
                                              {"30", "10", "0", "0", a, "30", b, "20"}}) {
    ASSERT_TRUE(TurnUntil(loop, [&] { return !commander.calls.empty(); }));
    commander.Answer(bad);
    EXPECT_EQ(log.position(), 0u);
    EXPECT_FALSE(log.coherent());
  }
  EXPECT_EQ(log.counters().failed_reads.Get(), 5u);
}

}  // namespace
}  // namespace satchel::redis
