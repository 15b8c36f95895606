#pragma once

// A scriptable HTTP/1.1 origin. It does what the test says, byte by byte, records every request,
// and stops at named barriers until the test lets it go on. It adds no fields of its own except
// those that frame the body.

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/support/http_message.h"
#include "tests/support/net_io.h"

namespace satchel::testing {

struct OriginRequest {
  int connection = 0;  // counted from 1 in the order of acceptance
  std::string raw_head;
  std::string method;
  std::string target;
  std::string version;
  Fields fields;
  std::string body;
  uint64_t body_size = 0;  // also of what was not kept
  Fields trailers;
  bool body_complete = false;
  std::string error;  // set when the bytes were not a request this origin can read
};

struct Reply {
  enum class Framing { kLength, kChunked, kUntilClose };

  int status = 200;
  Fields fields = {};
  std::string body = {};
  Framing framing = Framing::kLength;
  Fields trailers = {};  // with kChunked
  bool close = false;    // says Connection: close and means it
};

class Origin;

// One request as its handler sees it. Lives on the connection's thread.
class OriginExchange {
 public:
  const OriginRequest& request() const { return request_; }

  // Reads the request's body (with a 100 first where it was asked for); empty when it was cut.
  std::string ReadBody();
  // Reads until `size` bytes of it have come.
  bool ReadBodyUntil(uint64_t size);
  uint64_t body_bytes_read() const { return body_.body().size; }

  // False once the peer is gone or the origin stops; then the handler should return.
  bool Send(std::string_view raw);
  bool SendHead(int status, const Fields& fields);
  bool SendChunk(std::string_view bytes);
  bool SendLastChunk(const Fields& trailers = {});
  // `size` bytes of Pattern() from `offset` on, never held whole.
  bool SendPattern(uint64_t offset, uint64_t size);
  bool Respond(const Reply& reply);
  // How much has been handed to the kernel by this exchange.
  uint64_t bytes_sent() const { return bytes_sent_; }

  // Waits until the test calls Origin::Release(name).
  bool Hold(const std::string& name);
  // Whether the peer's kernel has all that was sent.
  bool Delivered() const { return testing::Delivered(fd_->get()); }
  // Waits until the peer closes or resets.
  bool WaitForPeerToLeave();
  // For tunnels: what comes next, as it comes; "" at the end.
  std::string ReadRaw();

  void Close() { close_ = true; }
  void Reset();

 private:
  friend class Origin;
  OriginExchange(Origin* origin, ByteReader* in, UniqueFd* fd);
  void PublishBody();

  Origin* origin_;
  ByteReader* in_;
  UniqueFd* fd_;
  OriginRequest request_;
  size_t index_ = 0;
  BodyReader body_;
  bool continue_due_ = false;
  bool close_ = false;
  uint64_t bytes_sent_ = 0;
};

class Origin {
 public:
  using Handler = std::function<void(OriginExchange&)>;

  explicit Origin(const std::string& listen = "127.0.0.1:0");
  ~Origin();
  Origin(const Origin&) = delete;
  Origin& operator=(const Origin&) = delete;

  // As the configuration's `servers` wants it.
  const std::string& address() const { return address_; }

  // Answers for a target: with its query first, then without. Later calls replace earlier ones.
  void On(const std::string& target, Handler handler);
  void On(const std::string& target, const Reply& reply);
  // Answers used once each, in order, before those of On().
  void Next(const std::string& target, Handler handler);
  void Next(const std::string& target, const Reply& reply);
  // For every other target; 404 by default.
  void Otherwise(Handler handler);

  std::vector<OriginRequest> requests() const;
  size_t RequestCount() const;
  size_t RequestCount(const std::string& target) const;
  // The last one for that target; an empty one with `error` set if there was none.
  OriginRequest Last(const std::string& target) const;
  bool WaitForRequests(size_t count, std::chrono::milliseconds patience = kPatience) const;
  bool WaitForRequests(const std::string& target, size_t count,
                       std::chrono::milliseconds patience = kPatience) const;

  // Barriers. A released name stays open until HoldAgain().
  bool WaitUntilHeld(const std::string& name, size_t count = 1,
                     std::chrono::milliseconds patience = kPatience) const;
  void Release(const std::string& name);
  void HoldAgain(const std::string& name);

  size_t accepted() const { return accepted_; }
  size_t open_connections() const { return open_; }

  // Refuses connections and cuts the present ones; Up() listens at the same address again.
  void Down();
  void Up();
  // Closes the connections that wait for a request, as an idle timeout would, once there is one: a
  // client may have its answer a moment before the connection waits again.
  void CloseIdleConnections();

 private:
  friend class OriginExchange;
  struct Connection {
    std::thread thread;
    UniqueFd wake;  // eventfd: readable = give up
    bool idle = false;
    bool done = false;
  };

  void Listen();
  void AcceptLoop();
  void Serve(UniqueFd fd, int number, Connection* self);
  bool ServeOne(UniqueFd* fd, ByteReader* in, int number, Connection* self);
  Handler Find(const OriginRequest& request);
  bool StopAtBarrier(const std::string& name);

  std::string address_;
  std::unique_ptr<PortReservation> port_;
  UniqueFd listen_fd_;
  UniqueFd stop_;
  std::thread accept_thread_;
  std::atomic<size_t> accepted_ = 0;
  std::atomic<size_t> open_ = 0;

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::map<std::string, Handler> handlers_;
  std::map<std::string, std::deque<Handler>> next_;
  Handler otherwise_;
  std::vector<OriginRequest> requests_;
  std::map<std::string, size_t> held_;
  std::set<std::string> released_;
  std::vector<std::unique_ptr<Connection>> connections_;
  bool stopping_ = false;
};

}  // namespace satchel::testing
