#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "proxy/admin_listener.h"

namespace satchel::proxy {

// True if equal, in a time that does not depend on where they differ.
bool ConstantTimeEquals(std::string_view a, std::string_view b);

// What operators may ask: routes and who may take them. Knows no sockets. Main thread.
//   GET  /healthz  200 while the workers answer       open to all who can connect
//   GET  /readyz   200 when requests are welcome      open to all who can connect
//   GET  /metrics  Prometheus text format
//   GET  /status   JSON
//   POST /reload   reads the configuration again; 422 with the errors if it is refused
//   POST /drain    the same end as SIGTERM
//   POST /purge    JSON as in purge_request.h; answered when it holds
//   /warm          as in warm_admin.h
//   /limits...     as in limits_admin.h; answered when Redis has been asked
// All but the first two want "Authorization: Bearer TOKEN" when a token is configured. A POST that
// a web page made (it carries Origin) is refused, and without a token so is a Host that is a name
// of somebody else's (DNS rebinding).
class Admin {
 public:
  struct Actions {
    std::function<std::optional<std::string>()> unhealthy;  // why not, or nothing
    std::function<std::optional<std::string>()> not_ready;  // why not, or nothing
    std::function<std::string()> metrics;
    std::function<nlohmann::ordered_json()> status;
    // What happened; `ok` says whether it was applied.
    std::function<nlohmann::ordered_json(const std::string& who, bool* ok)> reload;
    std::function<void(const std::string& who)> drain;
    // Answers by request.respond.
    std::function<void(const AdminRequest& request)> purge{};
    // Nothing: answers by request.respond.
    std::function<std::optional<AdminReply>(const AdminRequest& request)> limits{};
    std::function<AdminReply(const AdminRequest& request)> warm{};
  };

  explicit Admin(Actions actions) : actions_(std::move(actions)) {}

  void SetToken(std::string token) { token_ = std::move(token); }
  // Nothing: the answer comes later, by request.respond.
  std::optional<AdminReply> Answer(const AdminRequest& request) const;

 private:
  AdminReply AnswerNow(const AdminRequest& request) const;
  std::optional<AdminReply> Refuse(const AdminRequest& request) const;

  Actions actions_;
  std::string token_;
};

}  // namespace satchel::proxy
