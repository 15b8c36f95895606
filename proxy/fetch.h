#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cache/http/message.h"
#include "proxy/http1/body_decoder.h"
#include "proxy/http1/framing.h"
#include "proxy/http1/parser.h"
#include "proxy/metrics.h"
#include "proxy/net/resolver.h"
#include "proxy/upstream_connection.h"
#include "proxy/upstream_pool.h"
#include "rules/rule.h"

namespace satchel::proxy {

class Worker;

// Why an answer did not come, or not whole.
struct FetchError {
  UpstreamError kind = UpstreamError::kReset;
  uint16_t status = 502;      // for the client, if nothing has been sent yet
  bool head_received = false; // false: no response at all (RFC 9111 4.2.4 "disconnected")
  std::string message;
};

// Who gets the answer. Every call comes from the event loop, none from inside Start().
class FetchHandler {
 public:
  virtual void OnInterim(cache::ResponseHead& head) = 0;  // 1xx but 101
  virtual void OnHead(cache::ResponseHead& head, const http1::Framing& framing) = 0;
  virtual void OnData(std::string_view data) = 0;
  virtual void OnEnd(cache::HeaderMap& trailers) = 0;
  virtual void OnFetchError(const FetchError& error) = 0;
  virtual void OnUploadDrained() = 0;
  // After a 101: the connection and what it has already sent.
  virtual void OnUpgraded(cache::ResponseHead& head, std::unique_ptr<UpstreamConnection> connection,
                          std::string_view early_bytes) = 0;

 protected:
  ~FetchHandler() = default;
};

// What to ask. The head is already in wire form, Host included, without the final empty line.
struct FetchRequest {
  std::string method;
  std::string head;
  bool idempotent = false;
  http1::BodyKind body = http1::BodyKind::kNone;  // that SendBody() and EndBody() will bring
  // A body that is here already, sent with the head and again with every attempt. Must outlive the
  // fetch; `body` is then kNone.
  std::string_view whole_body;
  bool upgrade = false;  // a 101 is welcome
};

// One request to an origin: choosing a server and a connection, sending, reading the answer, with
// its deadlines. Tries again only where it is certain or harmless that nothing happened: after
// a failed connect, and once when a kept connection proves dead before any byte of an answer (idempotent
// requests whose body has not begun). Owner thread only; held by shared_ptr.
class Fetch final : public UpstreamConnection::Owner,
                    public std::enable_shared_from_this<Fetch> {
 public:
  Fetch(Worker& worker, std::shared_ptr<UpstreamPool> pool, const rules::Timeouts& timeouts,
        FetchRequest request, FetchHandler* handler);
  ~Fetch();

  void Start();
  void SetHandler(FetchHandler* handler) { handler_ = handler; }
  // No further call to the handler; the connection is closed if the answer is not complete.
  void Cancel();

  // The request body. `unsent` bounds what the caller may add before OnUploadDrained().
  void SendBody(std::string_view data);
  void EndBody(const cache::HeaderMap& trailers);
  size_t unsent_upload() const;

  void Pause();   // no OnData until Resume()
  void Resume();

  // For the log.
  const std::string& server_text() const { return server_text_; }
  int attempts() const { return attempts_; }
  int64_t first_byte_us() const { return first_byte_us_; }
  const UpstreamPool& pool() const { return *pool_; }
  int64_t sent_wall_ms() const { return sent_wall_ms_; }

 private:
  enum class State : uint8_t { kNew, kConnecting, kWaitingHead, kBody, kDone };

  void TryServer();
  void OnResolved(cache::Result<std::vector<net::Address>> addresses);
  void TryAddress();
  void SendHead();
  void FailLater(UpstreamError kind, uint16_t status, std::string message);
  void Fail(UpstreamError kind, uint16_t status, std::string message);
  // The present connection failed before any byte of an answer: tries elsewhere if it may.
  void AttemptFailed(UpstreamError kind, uint16_t status, std::string message);
  bool Consume(std::string_view input);
  bool ConsumeHead(std::string_view& input);
  void Finish(bool reusable);
  void DropConnection();

  void OnConnected() override;
  void OnReadable() override;
  void OnDrained() override;
  void OnBroken() override;
  void OnDeadline() override;

  Worker& worker_;
  std::shared_ptr<UpstreamPool> pool_;
  rules::Timeouts timeouts_;
  FetchRequest request_;
  FetchHandler* handler_;
  State state_ = State::kNew;

  std::shared_ptr<UpstreamServer> server_;
  std::vector<const UpstreamServer*> tried_;
  std::unique_ptr<net::Resolver::Pending> resolving_;
  std::vector<net::Address> addresses_;
  size_t next_address_ = 0;
  std::unique_ptr<UpstreamConnection> connection_;
  bool retried_dead_ = false;
  bool paused_ = false;
  bool holding_ = false;  // input arrived while paused: `held_` and perhaps the end
  std::string held_;
  bool upload_started_ = false;
  bool upload_done_ = false;
  bool first_chunk_ = true;
  std::string early_upload_;  // body bytes that came before the connection stood

  std::string input_;  // an incomplete head
  size_t scanned_ = 0;
  cache::ResponseHead head_;
  http1::Framing framing_;
  http1::BodyDecoder decoder_;
  int interim_ = 0;
  bool any_byte_ = false;

  net::Timer total_;
  int attempts_ = 0;
  int64_t sent_ns_ = 0;
  int64_t sent_wall_ms_ = 0;
  int64_t first_byte_us_ = -1;
  std::string server_text_;
};

}  // namespace satchel::proxy
