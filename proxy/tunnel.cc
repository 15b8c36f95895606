#include "proxy/tunnel.h"

#include <utility>

namespace satchel::proxy {

Tunnel::Tunnel(Worker& worker, std::shared_ptr<ClientConnection> client,
               std::unique_ptr<UpstreamConnection> upstream, int64_t idle_ms,
               std::function<void()> finished)
    : worker_(worker),
      client_(std::move(client)),
      upstream_(std::move(upstream)),
      idle_ms_(idle_ms),
      finished_(std::move(finished)) {
  Add(worker_.metrics().tunnels_open);
}

Tunnel::~Tunnel() {
  Subtract(worker_.metrics().tunnels_open);
  upstream_->SetOwner(nullptr);
  upstream_->PauseReading(true);
  worker_.loop().DeleteLater(std::move(upstream_));
}

void Tunnel::Start(std::string_view early_bytes) {
  upstream_->SetOwner(this);
  upstream_->SetDeadline(idle_ms_);
  if (!early_bytes.empty()) {
    const iovec piece = net::Slice(early_bytes);
    client_->Send({&piece, 1}, nullptr);
  }
  client_->BecomeTunnel();
}

void Tunnel::End() {
  if (std::exchange(ended_, true)) return;
  upstream_->SetOwner(nullptr);
  upstream_->PauseReading(true);
  worker_.loop().AtTurnEnd(std::move(finished_));
}

void Tunnel::OnClientData(std::string_view data) {
  if (ended_) return;
  upstream_->SetDeadline(idle_ms_);
  Add(worker_.metrics().upstream_bytes_out, data.size());
  const iovec piece = net::Slice(data);
  if (!upstream_->Send({&piece, 1}, nullptr)) {
    End();
    return;
  }
  if (upstream_->unsent() > 0) client_->PauseBody(true);
}

void Tunnel::OnDrained() {
  if (client_ended_) {
    upstream_->ShutdownWrite();
  } else {
    client_->PauseBody(false);
  }
}

void Tunnel::OnClientEof() {
  client_ended_ = true;
  if (ended_) return;
  if (upstream_ended_) {
    End();
  } else if (upstream_->unsent() == 0) {
    upstream_->ShutdownWrite();
  }
}

void Tunnel::OnClientWritable() {
  if (ended_) return;
  if (upstream_ended_) {
    client_->ShutdownWrite();
    if (client_ended_) End();
  } else {
    upstream_->PauseReading(false);
  }
}

void Tunnel::OnReadable() {
  const std::span<char> scratch = worker_.upstream_scratch();
  const net::IoResult result = upstream_->Read(scratch.data(), scratch.size());
  switch (result.status) {
    case net::IoStatus::kAgain:
      return;
    case net::IoStatus::kError:
      End();
      return;
    case net::IoStatus::kEof:
      upstream_ended_ = true;
      upstream_->PauseReading(true);
      if (client_->unsent() == 0) client_->ShutdownWrite();
      if (client_ended_) End();
      return;
    case net::IoStatus::kOk:
      break;
  }
  upstream_->SetDeadline(idle_ms_);
  Add(worker_.metrics().upstream_bytes_in, result.bytes);
  const iovec piece{scratch.data(), result.bytes};
  if (!client_->Send({&piece, 1}, nullptr)) {
    End();
    return;
  }
  if (client_->unsent() > 0) upstream_->PauseReading(true);
}

}  // namespace satchel::proxy
