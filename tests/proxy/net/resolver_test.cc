#include "proxy/net/resolver.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace satchel::net {
namespace {

using Answer = cache::Result<std::vector<Address>>;

// A name server on the loop of the test.
class FakeDns {
 public:
  explicit FakeDns(EventLoop& loop) : fd_(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0)) {
    const Address any = *Address::Parse("127.0.0.1:0");
    bind(fd_, any.raw(), any.size);
    Address bound;
    bound.size = sizeof bound.storage;
    getsockname(fd_, bound.raw(), &bound.size);
    text_ = bound.ToString();
    watch_.Start(
        loop, fd_, EV_READ, [](int, short, void* self) { static_cast<FakeDns*>(self)->Serve(); },
        this);
  }
  ~FakeDns() { close(fd_); }

  struct Zone {
    std::string ipv4{};  // empty: no such record
    uint32_t ttl = 0;
    uint8_t rcode = 0;
    bool silent = false;
  };
  std::map<std::string, Zone> zones;
  int questions = 0;  // of IPv4 addresses

  const std::string& address() const { return text_; }

 private:
  void Serve() {
    char packet[512];
    Address from;
    from.size = sizeof from.storage;
    const ssize_t size = recvfrom(fd_, packet, sizeof packet, 0, from.raw(), &from.size);
    if (size < 17) return;
    std::string name;
    size_t at = 12;
    while (packet[at] != 0) {
      if (!name.empty()) name += '.';
      name.append(packet + at + 1, static_cast<size_t>(packet[at]));
      at += 1 + static_cast<size_t>(packet[at]);
    }
    const bool ipv4 = packet[at + 2] == 1;
    if (ipv4) ++questions;
    Zone zone{.rcode = 3};
    if (const auto found = zones.find(name); found != zones.end()) zone = found->second;
    if (zone.silent) return;
    std::string reply(packet, at + 5);
    const bool answers = ipv4 && zone.rcode == 0 && !zone.ipv4.empty();
    reply[2] = static_cast<char>(0x81);
    reply[3] = static_cast<char>(0x80 | zone.rcode);
    for (size_t i = 6; i < 12; ++i) reply[i] = 0;
    if (answers) {
      reply[7] = 1;
      reply += std::string("\xc0\x0c\0\1\0\1", 6);
      for (int shift = 24; shift >= 0; shift -= 8) reply += static_cast<char>(zone.ttl >> shift);
      reply += std::string("\0\4", 2);
      const Address ip = *Address::FromIp(zone.ipv4, 0);
      reply.append(reinterpret_cast<const char*>(IpBitsOf(ip).bytes.data()), 4);
    }
    sendto(fd_, reply.data(), reply.size(), 0, from.raw(), from.size);
  }

  int fd_;
  std::string text_;
  IoWatch watch_;
};

class ResolverTest : public ::testing::Test {
 protected:
  void Make(Resolver::Options options = {}) {
    options.servers = dns_.address();
    resolver_.emplace(loop_, options);
  }
  std::unique_ptr<Resolver::Pending> Ask(std::string_view host, std::optional<Answer>& answer,
                                         uint16_t port = 80) {
    return resolver_->Resolve(host, port, [&](Answer got) { answer = std::move(got); });
  }
  template <typename Condition>
  bool TurnUntil(Condition condition, int64_t patience_ms = 10'000) {
    const int64_t end = EventLoop::ReadClockMs() + patience_ms;
    Timer tick;
    while (!condition() && EventLoop::ReadClockMs() < end) {
      loop_.SetTimer(tick, 20);
      loop_.Turn(true);
    }
    return condition();
  }
  std::string Resolved(std::string_view host, uint16_t port = 80) {
    std::optional<Answer> answer;
    const auto handle = Ask(host, answer, port);
    if (!TurnUntil([&] { return answer.has_value(); })) return "nothing";
    if (!*answer) return "error";
    std::string text;
    for (const Address& address : **answer) text += (text.empty() ? "" : " ") + address.ToString();
    return text;
  }

  EventLoop loop_;
  FakeDns dns_{loop_};
  std::optional<Resolver> resolver_;
};

TEST_F(ResolverTest, LiteralsAndLocalhostNeedNoServer) {
  Make();
  EXPECT_EQ(Resolved("127.0.0.1", 8080), "127.0.0.1:8080");
  EXPECT_EQ(Resolved("::1", 8080), "[::1]:8080");
  EXPECT_EQ(Resolved("[2001:db8::1]", 1), "[2001:db8::1]:1");
  EXPECT_EQ(Resolved("unix:/run/x.sock", 1), "unix:/run/x.sock");
  EXPECT_EQ(Resolved("LocalHost", 3000), "127.0.0.1:3000 [::1]:3000");
  EXPECT_EQ(Resolved("api.localhost.", 3000), "127.0.0.1:3000 [::1]:3000");
  EXPECT_EQ(dns_.questions, 0);
}

TEST_F(ResolverTest, NeverAnswersInsideTheCall) {
  Make();
  std::optional<Answer> answer;
  const auto handle = Ask("127.0.0.1", answer);
  EXPECT_FALSE(answer.has_value());
  loop_.Turn(false);
  EXPECT_TRUE(answer.has_value());
}

TEST_F(ResolverTest, RefusesWhatIsNoName) {
  Make();
  for (const std::string& bad :
       {std::string(""), std::string("a b"), std::string("a/b"), std::string(300, 'a'),
        std::string("unix:"), std::string("a\0b", 3)}) {
    EXPECT_EQ(Resolved(bad), "error") << bad;
  }
  EXPECT_EQ(dns_.questions, 0);
}

TEST_F(ResolverTest, AsksOnceForAllWhoWaitAndKeepsTheAnswer) {
  Make();
  dns_.zones["app.test"] = {.ipv4 = "10.1.2.3", .ttl = 60};
  std::optional<Answer> first;
  std::optional<Answer> second;
  const auto a = Ask("app.test", first, 80);
  const auto b = Ask("APP.test", second, 443);
  ASSERT_TRUE(TurnUntil([&] { return first && second; }));
  ASSERT_TRUE(first->has_value());
  EXPECT_EQ((*first)->at(0).ToString(), "10.1.2.3:80");
  EXPECT_EQ((*second)->at(0).ToString(), "10.1.2.3:443");
  EXPECT_EQ(Resolved("app.test"), "10.1.2.3:80");
  EXPECT_EQ(dns_.questions, 1);
  EXPECT_EQ(resolver_->counters().hits.Get(), 1u);
}

TEST_F(ResolverTest, ATimeToLiveOfZeroIsKeptForTheMinimumOnly) {
  Make({.min_ttl_ms = 30});
  dns_.zones["app.test"] = {.ipv4 = "10.1.2.3", .ttl = 0};
  EXPECT_EQ(Resolved("app.test"), "10.1.2.3:80");
  dns_.zones["app.test"].ipv4 = "10.1.2.4";
  EXPECT_TRUE(TurnUntil([&] { return Resolved("app.test") == "10.1.2.4:80"; }));
}

TEST_F(ResolverTest, ALongTimeToLiveIsCapped) {
  Make({.min_ttl_ms = 10, .max_ttl_ms = 30});
  dns_.zones["app.test"] = {.ipv4 = "10.1.2.3", .ttl = 86400};
  EXPECT_EQ(Resolved("app.test"), "10.1.2.3:80");
  dns_.zones["app.test"].ipv4 = "10.1.2.4";
  EXPECT_TRUE(TurnUntil([&] { return Resolved("app.test") == "10.1.2.4:80"; }));
}

TEST_F(ResolverTest, ANameThatDoesNotExistIsRememberedShortly) {
  Make({.negative_ttl_ms = 60'000});
  EXPECT_EQ(Resolved("gone.test."), "error");
  const int asked = dns_.questions;
  EXPECT_EQ(Resolved("gone.test."), "error");
  EXPECT_EQ(dns_.questions, asked);
}

TEST_F(ResolverTest, WhileServersFailTheLastAnswerServes) {
  Make({.min_ttl_ms = 10, .negative_ttl_ms = 10});
  dns_.zones["app.test"] = {.ipv4 = "10.1.2.3", .ttl = 0};
  EXPECT_EQ(Resolved("app.test"), "10.1.2.3:80");
  dns_.zones["app.test"].rcode = 2;  // SERVFAIL
  ASSERT_TRUE(TurnUntil([&] {
    EXPECT_EQ(Resolved("app.test"), "10.1.2.3:80");
    return resolver_->counters().stale.Get() > 0;
  }));
  dns_.zones["app.test"].rcode = 3;  // now it is really gone
  EXPECT_TRUE(TurnUntil([&] { return Resolved("app.test") == "error"; }));
}

TEST_F(ResolverTest, ASilentServerCostsTheDeadlineNotMore) {
  Make({.timeout_ms = 100});
  dns_.zones["slow.test"] = {.silent = true};
  const int64_t start = EventLoop::ReadClockMs();
  EXPECT_EQ(Resolved("slow.test"), "error");
  EXPECT_GE(EventLoop::ReadClockMs() - start, 100);
  EXPECT_LT(EventLoop::ReadClockMs() - start, 900);
}

TEST_F(ResolverTest, ADroppedHandleIsNotCalledAndOthersAre) {
  Make();
  dns_.zones["app.test"] = {.ipv4 = "10.1.2.3", .ttl = 60};
  std::optional<Answer> dropped;
  std::optional<Answer> kept;
  auto a = Ask("app.test", dropped);
  const auto b = Ask("app.test", kept);
  auto literal = Ask("127.0.0.1", dropped);
  a.reset();
  literal.reset();
  ASSERT_TRUE(TurnUntil([&] { return kept.has_value(); }));
  EXPECT_FALSE(dropped.has_value());
}

TEST_F(ResolverTest, GoesAwayWithQuestionsOpen) {
  Make();
  dns_.zones["slow.test"] = {.silent = true};
  std::optional<Answer> answer;
  const auto handle = Ask("slow.test", answer);
  loop_.Turn(false);
  resolver_.reset();
  loop_.Turn(false);
  EXPECT_FALSE(answer.has_value());
}

TEST_F(ResolverTest, TheTableIsBounded) {
  Make({.timeout_ms = 60'000, .max_names = 2});
  dns_.zones["a.test"] = {.silent = true};
  dns_.zones["b.test"] = {.silent = true};
  dns_.zones["c.test"] = {.ipv4 = "10.0.0.3", .ttl = 60};
  std::optional<Answer> a;
  std::optional<Answer> b;
  const auto first = Ask("a.test", a);
  const auto second = Ask("b.test", b);
  EXPECT_EQ(Resolved("c.test"), "error");  // both places are being asked for
}

TEST_F(ResolverTest, TheLeastRecentlyUsedNameGoes) {
  Make({.max_names = 2});
  for (const char* name : {"a.test", "b.test", "c.test"}) {
    dns_.zones[name] = {.ipv4 = "10.0.0.1", .ttl = 60};
  }
  Resolved("a.test");
  Resolved("b.test");
  Resolved("a.test");
  Resolved("c.test");  // pushes b out
  EXPECT_EQ(dns_.questions, 3);
  Resolved("a.test");
  EXPECT_EQ(dns_.questions, 3);
  Resolved("b.test");
  EXPECT_EQ(dns_.questions, 4);
}

}  // namespace
}  // namespace satchel::net
