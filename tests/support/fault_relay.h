#pragma once

// A relay before a redis-server that does to its connections what the test says: nothing happens
// by chance. Faults hold for connections that exist and for those that come, until changed.

#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "tests/support/net_io.h"

namespace satchel::testing {

class FaultRelay {
 public:
  explicit FaultRelay(const std::string& to);
  ~FaultRelay();
  FaultRelay(const FaultRelay&) = delete;
  FaultRelay& operator=(const FaultRelay&) = delete;

  const std::string& address() const { return address_; }

  struct Faults {
    bool refuse = false;                 // new connections are reset
    bool hold = false;                   // bytes arrive here and go nowhere, both ways
    std::chrono::milliseconds delay{0};  // of each piece of a reply
    std::optional<size_t> cut_after{};   // bytes of replies, then a reset; each connection
    std::optional<size_t> flip_every{};  // one bit of every n-th byte of replies
    // By a command's name ("GET"): the error that is answered instead, e.g. "OOM no memory".
    std::function<std::optional<std::string>(const std::string& command)> error{};
  };
  void Set(Faults faults);
  void Clear() { Set({}); }
  void ResetAll();  // every connection that exists

  // Since the start.
  size_t accepted() const;
  size_t commands(const std::string& name) const;
  size_t cuts() const;

 private:
  struct Piece {
    std::chrono::steady_clock::time_point due;
    std::string bytes;
  };
  struct Link {
    UniqueFd client;
    UniqueFd server;
    std::string in{};         // from the client: not yet a whole command
    std::string up{};         // to the server
    std::list<Piece> down{};  // to the client
    size_t replied = 0;       // bytes
    bool dead = false;
    bool server_gone = false;
  };

  void Run();
  void Accept();
  void FromClient(Link& link);
  void FromServer(Link& link);
  void Forward(Link& link);
  void Flush(Link& link);

  std::string to_;
  std::string address_;
  UniqueFd listen_;
  UniqueFd wake_;  // eventfd
  mutable std::mutex mutex_;
  Faults faults_;
  bool reset_all_ = false;
  bool stop_ = false;
  size_t accepted_ = 0;
  size_t cuts_ = 0;
  std::map<std::string, size_t> commands_;
  std::list<Link> links_;
  std::thread thread_;
};

}  // namespace satchel::testing
