#pragma once

// A server on the loop of the test that says what the test tells it to, when it tells it to.

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/net/address.h"
#include "proxy/net/event_loop.h"
#include "proxy/redis/resp.h"

namespace satchel::redis {

// Turns the loop until the condition holds; false after the patience.
template <typename Condition>
bool TurnUntil(net::EventLoop& loop, Condition condition, int64_t patience_ms = 10'000) {
  const int64_t end = net::EventLoop::ReadClockMs() + patience_ms;
  net::Timer tick;
  while (!condition()) {
    if (net::EventLoop::ReadClockMs() >= end) return false;
    loop.SetTimer(tick, 10);
    loop.Turn(true);
  }
  return true;
}

// Lets the loop work for that long.
inline void TurnFor(net::EventLoop& loop, int64_t ms) {
  TurnUntil(loop, [] { return false; }, ms);
}

// Options of a Client or Subscriber for a server that a test may stop and start: tries again soon,
// and gives up on nothing because the machine is busy.
template <typename Options>
Options PatientOptions(const net::Address& server, Options options = {}) {
  options.host = server.IpText();
  options.port = server.port();
  options.backoff = {.first_ms = 10, .max_ms = 40};
  options.connect_timeout_ms = 10'000;
  return options;
}

class FakeRedis {
 public:
  explicit FakeRedis(net::EventLoop& loop)
      : loop_(loop), fd_(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
    const net::Address any = *net::Address::Parse("127.0.0.1:0");
    EXPECT_EQ(bind(fd_, any.raw(), any.size), 0);
    EXPECT_EQ(listen(fd_, 16), 0);
    address_.size = sizeof address_.storage;
    getsockname(fd_, address_.raw(), &address_.size);
    watch_.Start(
        loop_, fd_, EV_READ,
        [](int, short, void* self) { static_cast<FakeRedis*>(self)->Accept(); }, this);
  }
  ~FakeRedis() {
    Drop();
    watch_.Stop();
    close(fd_);
  }

  const net::Address& address() const { return address_; }
  // What was received since the last call, one string per read; complete commands, as words.
  std::vector<std::string> reads;
  std::vector<std::string> commands;
  size_t accepted = 0;
  // Answers itself: what a greeting needs, or nothing.
  bool greets = true;
  bool closes = false;                         // on whoever connects
  std::deque<std::string> auto_replies;        // one for each command that is no greeting
  std::map<std::string, std::string> answers;  // by the beginning of a command, before all else

  bool connected() const { return !peers_.empty(); }
  // To whoever spoke last.
  void Say(std::string_view wire) {
    ASSERT_TRUE(connected());
    EXPECT_EQ(send(peers_.back()->fd, wire.data(), wire.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(wire.size()));
  }
  // Stops and starts reading, so that the other side's writes pile up.
  void Read(bool on) {
    for (const auto& peer : peers_) peer->watch.Watch(on ? EV_READ : 0);
  }
  void Drop() { peers_.clear(); }

 private:
  struct Peer {
    ~Peer() {
      watch.Stop();
      close(fd);
    }
    FakeRedis* server = nullptr;
    int fd = -1;
    net::IoWatch watch;
    ReplyReader reader;  // commands are arrays of strings, too
  };

  void Accept() {
    const int fd = accept4(fd_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    ++accepted;
    if (closes) {
      close(fd);
      return;
    }
    auto peer = std::make_unique<Peer>();
    peer->server = this;
    peer->fd = fd;
    peer->watch.Start(
        loop_, fd, EV_READ,
        [](int, short, void* self) {
          auto* from = static_cast<Peer*>(self);
          from->server->Receive(from);
        },
        peer.get());
    peers_.push_back(std::move(peer));
  }

  void Receive(Peer* peer) {
    static char buffer[1 << 20];
    const auto at = std::find_if(peers_.begin(), peers_.end(),
                                 [peer](const auto& one) { return one.get() == peer; });
    std::rotate(at, at + 1, peers_.end());  // the last one spoke last
    const ssize_t size = recv(peer->fd, buffer, sizeof buffer, 0);
    if (size < 0) return;
    if (size == 0) {
      peers_.pop_back();
      return;
    }
    reads.emplace_back(buffer, static_cast<size_t>(size));
    peer->reader.Feed(reads.back());
    Reply command;
    while (connected() && peers_.back().get() == peer &&
           peer->reader.Read(command) == ReplyReader::Next::kReply) {
      std::string words;
      for (const Reply& word : command.items) {
        words += (words.empty() ? "" : " ") + word.text.substr(0, 60);
      }
      commands.push_back(words);
      Answer(words);
    }
  }

  void Answer(std::string_view words) {
    for (const auto& [begin, answer] : answers) {
      if (words.starts_with(begin)) {
        Say(answer);
        return;
      }
    }
    if (greets) {
      if (words.starts_with("CLIENT ") || words.starts_with("AUTH ") ||
          words.starts_with("SELECT ") || words.starts_with("SCRIPT ")) {
        Say("+OK\r\n");
        return;
      }
      if (words == "TIME") {
        Say("*2\r\n$10\r\n1700000000\r\n$6\r\n123456\r\n");
        return;
      }
    }
    if (auto_replies.empty()) return;
    Say(auto_replies.front());
    auto_replies.pop_front();
  }

  net::EventLoop& loop_;
  int fd_;
  net::Address address_;
  net::IoWatch watch_;
  std::vector<std::unique_ptr<Peer>> peers_;
};

}  // namespace satchel::redis
