#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cache/base/result.h"
#include "proxy/net/address.h"
#include "proxy/net/event_loop.h"
#include "proxy/net/stream.h"
#include "proxy/net/tls.h"
#include "proxy/redis/resp.h"

namespace satchel::redis {

struct CallState;

// A call that waits for its answer. Cancels when destroyed: then its function never runs.
class PendingReply {
 public:
  PendingReply() = default;
  explicit PendingReply(std::shared_ptr<CallState> call) : call_(std::move(call)) {}
  PendingReply(PendingReply&&) noexcept = default;
  PendingReply& operator=(PendingReply&& other) noexcept;
  ~PendingReply() { Cancel(); }

  void Cancel();
  bool waiting() const;

 private:
  std::shared_ptr<CallState> call_;
};

// Under which TLS a server is reached, and by what name it is known there.
struct TlsTo {
  std::shared_ptr<const net::ClientTls> context{};  // null: none
  std::string host{};
};

// One stream to one server and the queue of calls that wait for their replies, which come in the
// order of the calls. Owner thread only.
//
// Everything sent in one loop turn leaves in one write at its end. While the server reads slowly,
// what has not been put in wire form waits; if the queue is full, the oldest of it that may be
// dropped goes. A call whose deadline passes is answered at once; its place in the queue stays, and
// the late reply is dropped there. When the oldest place is older than `stall_ms` and nothing
// arrives any more, or the stream breaks, the connection closes: every waiting call gets an Error,
// then `on_closed` runs, once.
class Connection {
 public:
  struct Limits {
    size_t max_calls = 1024;       // waiting for a reply, late ones included
    size_t max_unsent = 32 << 20;  // bytes
    size_t ahead = 256 << 10;      // of them put in wire form before the socket takes them
    int64_t stall_ms = 1000;       // without a byte; five times as long in any case
    ReplyReader::Limits reply{};
  };
  using Done = std::function<void(cache::Result<Reply>)>;
  struct Hooks {
    std::function<void()> on_connected{};  // the stream stands; nothing was sent yet
    // May delete the connection, by EventLoop::DeleteLater().
    std::function<void(std::string reason)> on_closed{};
    // Each reply, and each call lost with the connection (null), before the caller's function runs.
    std::function<void(const CallState&, const Reply*)> on_outcome{};
    // An error reply to a call that waits. True: the call was taken over, it will be answered.
    std::function<bool(const std::shared_ptr<CallState>&, const Reply&)> on_error{};
    // A call has left the queue, however: its effect is done, or will never come from here.
    std::function<void(CallState&)> on_gone{};
    // A call that was dropped because the queue was full.
    std::function<void(CallState&)> on_dropped{};
    // A reply that no call waits for: messages of a subscriber. Absent: the connection closes.
    std::function<void(Reply)> on_push{};
  };
  struct Totals {
    uint64_t bytes_in = 0;
    uint64_t bytes_out = 0;
    uint64_t writes = 0;
  };

  // Starts to connect. Hooks run later, never from here.
  Connection(net::EventLoop& loop, const net::Address& address, Limits limits, Hooks hooks,
             TlsTo tls = {});
  // Cancels what waits: no function runs any more.
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // False: closed, or the queue is full of what may not be dropped; then `call` was not taken.
  // Held back until Open().
  bool Send(Command command, std::shared_ptr<CallState> call);
  // Goes out as soon as the stream stands: AUTH and the like.
  bool SendGreeting(Command command, std::shared_ptr<CallState> call);
  // Sends without a place in the queue: what is answered goes to on_push. False: closed.
  bool SendUnanswered(Command command);
  // Lets the calls held back go, but for those that were cancelled or came too late meanwhile.
  void Open();
  bool open() const { return open_; }

  // Idempotent. Fails every waiting call at the end of the turn; on_closed runs after them.
  void Close(std::string reason);
  bool closed() const { return closed_; }

  size_t waiting() const { return queue_.size() + held_.size(); }
  size_t unsent() const { return unsent_; }
  const Totals& totals() const { return totals_; }

 private:
  struct Slot {
    std::shared_ptr<CallState> call;
    int64_t since_ms;
  };
  struct Held {
    Command command;
    std::shared_ptr<CallState> call;
  };

  void OnIo(short what);
  void OnConnected();
  void ContinueHandshake();
  void ReadSome();
  void OnReply(Reply reply);
  bool MakeRoom(size_t bytes);
  void Pump();
  void Gone(CallState& call) const;
  size_t in_wire_form() const { return unsent_ - held_bytes_; }
  void Enqueue(Command command, std::shared_ptr<CallState> call);
  void Write(Command command);
  void ScheduleFlush();
  void Flush();
  void ForgetWritten();
  void Written(size_t bytes);
  void FailAll(const std::string& reason);
  void OnStallTimer();

  net::EventLoop& loop_;
  const Limits limits_;
  const Hooks hooks_;
  const TlsTo tls_;
  net::Stream stream_;
  bool reached_ = false;    // TCP stands
  bool connected_ = false;  // TLS, too
  bool open_ = false;
  bool closed_ = false;
  bool flush_scheduled_ = false;
  bool write_blocked_ = false;
  net::IoWatch watch_;
  net::Timer stall_timer_;
  int64_t last_read_ms_ = 0;
  ReplyReader reader_;
  std::deque<Slot> queue_;  // on their way, in the order of the replies
  std::deque<Held> held_;   // not yet in wire form
  size_t held_bytes_ = 0;
  std::vector<std::string> out_;
  size_t out_index_ = 0;   // first string of out_ that is not all written
  size_t out_offset_ = 0;  // written of it
  size_t unsent_ = 0;      // bytes in out_ and held_
  Totals totals_;
  std::shared_ptr<Connection*> self_;  // null inside once gone: for work put off
};

// What is known of one call. Shared by its handle and its place in the queue.
struct CallState {
  Connection::Done done;  // empty: answered or cancelled
  net::Timer deadline;
  int64_t started_ns = 0;
  bool late = false;       // the deadline passed first
  bool greeting = false;   // ours, no caller's
  bool probe = false;      // ours too: the breaker waits for its outcome, whatever that is
  bool droppable = false;  // may go when the queue is full
  // Kept by the owner of the connection: what it counts under, where it goes, and how often it was
  // sent elsewhere or again.
  uint64_t fence = 0;
  std::string key{};
  uint8_t lane = 0;
  uint8_t redirects = 0;
  uint8_t tries = 0;
  std::shared_ptr<const Command> again{};  // to be sent again at a redirect, if that is allowed
  bool asking = false;                     // goes behind an ASKING
  // For a script: what EVAL needs if the server does not know it.
  const Script* script = nullptr;
  bool with_text = false;  // sent as EVAL already
  ScriptArguments arguments;

  // Answers the caller, at most once. May delete this.
  void Finish(cache::Result<Reply> result);
};

}  // namespace satchel::redis
