#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "proxy/net/address.h"
#include "proxy/net/event_loop.h"
#include "proxy/net/lazy_deadline.h"
#include "proxy/net/outbox.h"
#include "proxy/net/stream.h"

namespace satchel::proxy {

class UpstreamServer;

// One connection to an origin server: connecting, TLS, output queue and readiness. It knows
// nothing of HTTP. At most one owner at a time; without one it is idle in the pool, where any
// byte or end from the other side makes it unusable. Owner thread only.
class UpstreamConnection {
 public:
  class Owner {
   public:
    virtual void OnConnected() = 0;
    virtual void OnReadable() = 0;
    virtual void OnDrained() = 0;  // everything sent has reached the socket
    virtual void OnBroken() = 0;   // connect, handshake or write failed
    virtual void OnDeadline() = 0;

   protected:
    ~Owner() = default;
  };

  UpstreamConnection(net::EventLoop& loop, std::shared_ptr<UpstreamServer> server);
  ~UpstreamConnection();

  // Begins to connect; the owner hears OnConnected or OnBroken later. False: failed at once.
  bool Connect(const net::Address& address, SSL* ssl);

  void SetOwner(Owner* owner);
  void SetDeadline(int64_t ms);  // <= 0: none
  void ClearDeadline() { deadline_.Clear(); }

  // False: the connection is broken (the owner gets no further call about it).
  bool Send(std::span<const iovec> pieces, std::shared_ptr<const void> hold);
  size_t unsent() const { return outbox_.size(); }

  net::IoResult Read(char* into, size_t size) { return stream_.Read(into, size); }
  bool HasPending() const { return stream_.HasPending(); }
  void PauseReading(bool paused);
  void ShutdownWrite() { stream_.ShutdownWrite(); }

  // Whether the other side has neither sent nor ended while the connection was idle. `now` asks the
  // kernel, a system call; otherwise it is what this turn's poll has found, if it could find it.
  bool IsSilent(bool now) const;

  // The loop has polled it since it became idle.
  bool WasPolledIdle() const { return idle_since_turn_ != loop_.turns(); }

  const std::shared_ptr<UpstreamServer>& server() const { return server_; }
  // As text, for messages and the log.
  const std::string& address_text() const { return address_text_; }
  bool connected() const { return state_ == State::kOpen; }
  // Why TLS did not come about; empty when it was not tried or worked.
  const std::string& handshake_error() const { return handshake_error_; }
  bool reused() const { return uses_ > 1; }
  void CountUse() { ++uses_; }

 private:
  enum class State : uint8_t { kNew, kConnecting, kHandshaking, kOpen, kClosed };

  void OnEvent(short what);
  void OnTimer();
  void ContinueHandshake();
  void UpdateWatch();
  void Break();

  net::EventLoop& loop_;
  std::shared_ptr<UpstreamServer> server_;
  std::string address_text_;
  net::Stream stream_;
  net::IoWatch watch_;
  net::Outbox outbox_;
  net::LazyDeadline deadline_;
  Owner* owner_ = nullptr;
  State state_ = State::kNew;
  bool paused_ = false;
  uint64_t idle_since_turn_ = 0;
  uint32_t uses_ = 0;
  std::string handshake_error_;
};

}  // namespace satchel::proxy
