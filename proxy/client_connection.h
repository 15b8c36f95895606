#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "cache/http/message.h"
#include "proxy/http1/body_decoder.h"
#include "proxy/http1/framing.h"
#include "proxy/net/event_loop.h"
#include "proxy/net/lazy_deadline.h"
#include "proxy/net/outbox.h"
#include "proxy/net/stream.h"
#include "proxy/request_filter.h"
#include "proxy/snapshot.h"
#include "rules/config.h"

namespace satchel::proxy {

class Exchange;
struct HitToSend;
struct LimitedHit;
class Worker;

// One client's connection: reads heads and bodies, keeps answers in the order of requests by
// handling one exchange at a time, and sends. Holds no buffer while idle. Owned by the worker's
// table; owner thread only.
class ClientConnection : public std::enable_shared_from_this<ClientConnection> {
 public:
  ClientConnection(Worker& worker, std::shared_ptr<const rules::Listener> listener,
                   net::Stream stream, const net::Address& peer);
  ~ClientConnection();

  void Start();
  void OnDrain();  // the process is stopping: closes now if idle, else after this exchange
  void Close();    // may be called twice

  // --- for the exchange ---

  // Sends, keeping by reference (`hold`) or by copy what the socket does not take now. False: the
  // client is gone.
  // `file`: of the last piece, as FileOf() gives it.
  bool Send(std::span<const iovec> pieces, std::shared_ptr<const void> hold,
            net::FilePlace file = {});
  // Where a file has the body from `offset` on, if one has and this connection can send from it. One
  // time of eight that a body worth a file has none, it gets one for later.
  net::FilePlace FileOf(const cache::StoredPtr& stored, uint64_t offset);
  size_t unsent() const { return outbox_.size(); }
  // The response is complete; the connection goes on to the next request once it is sent.
  void EndResponse();
  // The response can't be completed: the client must see that it was cut.
  void Abort();
  void PauseBody(bool paused);  // of the request
  // From now on received bytes go to the exchange as they are (after a 101).
  void BecomeTunnel();
  void ShutdownWrite();

  bool keep_alive() const { return keep_alive_; }
  void ForbidKeepAlive() { keep_alive_ = false; }
  const ClientInfo& info() const { return info_; }
  const rules::Listener& listener() const { return *listener_; }
  uint64_t bytes_in() const { return bytes_in_; }
  uint64_t bytes_out() const { return bytes_out_; }

 private:
  enum class State : uint8_t {
    kHandshaking,
    kReading,    // between requests or inside a head
    kBusy,       // an exchange is under way
    kDiscarding, // answered; the rest of the request's body is read and dropped
    kTunnel,
    kClosing,    // answered inside Process(); closes when that returns
    kLingering,  // our side is shut; waiting for the client's end
    kClosed,
  };

  void OnEvent(short what);
  void OnDeadline();
  void ContinueHandshake();
  void ReadInput();
  void Process(std::string_view input);
  size_t Step(std::string_view input);
  size_t ReadHead(std::string_view input);
  size_t ReadBody(std::string_view input);
  void HandleHead(cache::RequestHead& head);
  // The shortest ways (client_hit.cc).
  bool TryHit(cache::RequestHead& head, const SnapshotPtr& snapshot, const rules::Rule& rule,
              bool& refresh_early);
  bool SendHit(const HitToSend& hit);
  void LogHit(const HitToSend& hit, cache::Time now, uint64_t bytes);
  void AskLimits(std::unique_ptr<LimitedHit> hit, cache::RequestHead& head);
  void OnLimitsTold();
  void RefuseLimited(LimitedHit& hit);
  void RefuseRequest(const http1::ParseError& error, const cache::RequestHead* head);
  void CompleteResponse();
  void ContinueInput();
  void CloseGracefully();
  void OnEof();
  void OnGone();
  void UpdateWatch();
  size_t input_size() const { return input_ ? input_->size() : 0; }

  Worker& worker_;
  std::shared_ptr<const rules::Listener> listener_;
  net::Stream stream_;
  net::IoWatch watch_;
  net::Outbox outbox_;
  net::LazyDeadline deadline_;
  ClientInfo info_;
  std::shared_ptr<Exchange> exchange_;
  std::unique_ptr<LimitedHit> limited_hit_;  // waits for the limiter
  std::unique_ptr<http1::BodyDecoder> body_;
  std::unique_ptr<std::string> input_;  // received and not yet consumed; null while idle
  uint64_t bytes_in_ = 0;  // of the present exchange
  uint64_t bytes_out_ = 0;
  uint64_t body_bytes_ = 0;
  uint32_t scanned_ = 0;  // of a head that is not complete
  State state_ = State::kReading;
  bool keep_alive_ : 1 = false;
  bool response_done_ : 1 = false;
  bool body_paused_ : 1 = false;
  bool eof_ : 1 = false;
  bool in_process_ : 1 = false;
  bool expects_continue_ : 1 = false;
};

}  // namespace satchel::proxy
