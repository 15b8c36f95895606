#pragma once

#include <memory>

#include "proxy/net/address.h"
#include "proxy/net/event_loop.h"
#include "proxy/net/tls.h"
#include "rules/config.h"

namespace satchel::proxy {

class Worker;

// One worker's listening socket of one configured listener (SO_REUSEPORT gives each worker its
// own). Accepts in batches; pauses when connections or descriptors run out, and tries again.
class Listener {
 public:
  Listener(Worker& worker, int fd, net::Address bound, rules::Listener config,
           std::shared_ptr<net::ServerTls> tls);
  ~Listener();

  void Start();
  // Takes over changed settings; the address stays.
  void Update(rules::Listener config, std::shared_ptr<net::ServerTls> tls);

  const rules::Listener& config() const { return *config_; }
  const net::Address& bound() const { return bound_; }

 private:
  void OnReadable();
  void Pause();

  Worker& worker_;
  int fd_;
  net::Address bound_;
  std::shared_ptr<const rules::Listener> config_;
  std::shared_ptr<net::ServerTls> tls_;
  net::IoWatch watch_;
  net::Timer retry_;
};

}  // namespace satchel::proxy
