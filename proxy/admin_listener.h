#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cache/base/result.h"
#include "proxy/net/address.h"
#include "proxy/net/event_loop.h"
#include "proxy/net/timer_wheel.h"
#include "rules/config.h"

namespace satchel::proxy {

struct AdminRequest {
  std::string method;
  std::string path;
  std::string query;          // without the '?'
  std::string authorization;  // these three: the field's value, empty if absent
  std::string origin;
  std::string host;
  std::string peer;  // the client's address, for the audit line
  std::string body;
  // For an answer that comes later, on the same thread; does nothing once the connection is gone.
  std::function<void(const struct AdminReply&)> respond{};
};

struct AdminReply {
  int status = 200;
  std::string type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
};

// application/problem+json (RFC 9457).
AdminReply Problem(int status, std::string_view detail);

enum class AdminParse : uint8_t { kComplete, kNeedMore, kBad };
// Reads one request from the start of `input`. kBad sets `status` to the one to answer.
AdminParse ParseAdminRequest(std::string_view input, AdminRequest* request, int* status);

// A small strict HTTP/1 server for operators on the main thread's loop: one request for each
// connection, everything bounded. The data path has nothing to do with it.
class AdminListener {
 public:
  static constexpr size_t kMaxConnections = 64;  // more wait in the kernel's queue
  static constexpr size_t kMaxHead = 8 << 10;
  static constexpr size_t kMaxBody = 64 << 10;
  static constexpr int64_t kDeadlineMs = 5000;   // from accept to the last byte

  // Called from the loop; may do anything but destroy the listener. Nothing: it will call
  // AdminRequest::respond.
  using Handler = std::function<std::optional<AdminReply>(const AdminRequest&)>;

  static cache::Result<std::unique_ptr<AdminListener>> Open(net::EventLoop& loop,
                                                            const rules::Endpoint& address,
                                                            Handler handler);
  ~AdminListener();
  AdminListener(const AdminListener&) = delete;
  AdminListener& operator=(const AdminListener&) = delete;

  const net::Address& bound() const { return bound_; }  // the port is a real one
  void StopAccepting();  // connections go on to their end
  size_t connections() const { return connections_.size(); }

 private:
  class Connection;
  AdminListener(net::EventLoop& loop, int fd, net::Address bound, Handler handler);
  static void OnAcceptable(int, short what, void* self);
  void Accept();
  void Remove(Connection* connection);

  net::EventLoop& loop_;
  int fd_;
  net::Address bound_;
  Handler handler_;
  net::IoWatch acceptable_;
  net::Timer again_;  // after running out of descriptors
  std::map<Connection*, std::unique_ptr<Connection>> connections_;
};

}  // namespace satchel::proxy
