#pragma once

#include <memory>
#include <string_view>

#include "proxy/client_connection.h"
#include "proxy/upstream_connection.h"
#include "proxy/worker.h"

namespace satchel::proxy {

// Relays bytes both ways after a 101 (RFC 9110 7.8), each direction with back-pressure; the end of
// one direction is passed on and the other goes on. Owned by its exchange.
class Tunnel final : public UpstreamConnection::Owner {
 public:
  // `finished` is called once, never from inside another call; the exchange then ends.
  Tunnel(Worker& worker, std::shared_ptr<ClientConnection> client,
         std::unique_ptr<UpstreamConnection> upstream, int64_t idle_ms,
         std::function<void()> finished);
  ~Tunnel();

  void Start(std::string_view early_bytes);
  void OnClientData(std::string_view data);
  void OnClientEof();
  void OnClientWritable();

 private:
  void OnConnected() override {}
  void OnReadable() override;
  void OnDrained() override;
  void OnBroken() override { End(); }
  void OnDeadline() override { End(); }
  void End();

  Worker& worker_;
  std::shared_ptr<ClientConnection> client_;
  std::unique_ptr<UpstreamConnection> upstream_;
  int64_t idle_ms_;
  std::function<void()> finished_;
  bool client_ended_ = false;
  bool upstream_ended_ = false;
  bool ended_ = false;
};

}  // namespace satchel::proxy
