#include <poll.h>

#include <algorithm>

#include "tests/support/origin.h"

namespace satchel::testing {
namespace {

constexpr std::chrono::milliseconds kForever{600'000};

std::string Hex(size_t value) {
  std::string digits;
  do {
    digits.insert(digits.begin(), "0123456789abcdef"[value % 16]);
    value /= 16;
  } while (value > 0);
  return digits;
}

const char* Reason(int status) {
  switch (status) {
    case 100:
      return "Continue";
    case 103:
      return "Early Hints";
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 206:
      return "Partial Content";
    case 304:
      return "Not Modified";
    case 404:
      return "Not Found";
    default:
      return "Whatever";
  }
}

}  // namespace

OriginExchange::OriginExchange(Origin* origin, ByteReader* in, UniqueFd* fd)
    : origin_(origin), in_(in), fd_(fd) {}

void OriginExchange::PublishBody() {
  std::lock_guard lock(origin_->mutex_);
  OriginRequest& record = origin_->requests_[index_];
  record.body = body_.body().data;
  record.body_size = body_.body().size;
  record.trailers = body_.body().trailers;
  record.body_complete = body_.body().complete;
  if (!body_.body().error.empty()) record.error = body_.body().error;
  request_ = record;
  origin_->changed_.notify_all();
}

std::string OriginExchange::ReadBody() {
  ReadBodyUntil(std::numeric_limits<uint64_t>::max());
  return body_.body().complete ? body_.body().data : "";
}

bool OriginExchange::ReadBodyUntil(uint64_t size) {
  if (!*fd_) return false;
  if (continue_due_ && !body_.ended()) {
    continue_due_ = false;
    if (!Send("HTTP/1.1 100 Continue\r\n\r\n")) return false;
  }
  bool read = body_.ReadUntil(in_, size, Deadline::In(kForever));
  PublishBody();
  return read && (body_.body().complete || body_.body().size >= size);
}

bool OriginExchange::Send(std::string_view raw) {
  if (!*fd_) return false;
  // In pieces, so that bytes_sent() tells how far a slow reader let us go.
  while (!raw.empty()) {
    std::string_view piece = raw.substr(0, 64 * 1024);
    int wake = in_->wake_fd();
    if (SendAll(fd_->get(), piece, Deadline::In(kForever), wake) != IoStatus::kOk) return false;
    bytes_sent_ += piece.size();
    raw.remove_prefix(piece.size());
  }
  return true;
}

bool OriginExchange::SendHead(int status, const Fields& fields) {
  return Send("HTTP/1.1 " + std::to_string(status) + " " + Reason(status) + "\r\n" +
              fields.ToWire() + "\r\n");
}

bool OriginExchange::SendChunk(std::string_view bytes) {
  if (bytes.empty()) return true;
  return Send(Hex(bytes.size()) + "\r\n" + std::string(bytes) + "\r\n");
}

bool OriginExchange::SendLastChunk(const Fields& trailers) {
  return Send("0\r\n" + trailers.ToWire() + "\r\n");
}

bool OriginExchange::SendPattern(uint64_t offset, uint64_t size) {
  while (size > 0) {
    size_t piece = static_cast<size_t>(std::min<uint64_t>(size, 64 * 1024));
    if (!Send(Pattern(offset, piece))) return false;
    offset += piece;
    size -= piece;
  }
  return true;
}

bool OriginExchange::Respond(const Reply& reply) {
  if (!body_.ended()) ReadBody();
  Fields fields = reply.fields;
  bool bodiless = request_.method == "HEAD" || reply.status == 304 || reply.status == 204;
  if (reply.framing == Reply::Framing::kChunked) {
    fields.Add("Transfer-Encoding", "chunked");
  } else if (reply.framing == Reply::Framing::kLength && reply.status != 304 &&
             reply.status != 204) {
    fields.Add("Content-Length", std::to_string(reply.body.size()));
  }
  if (reply.close) fields.Add("Connection", "close");
  if (reply.close || reply.framing == Reply::Framing::kUntilClose) close_ = true;
  std::string wire = "HTTP/1.1 " + std::to_string(reply.status) + " " + Reason(reply.status) +
                     "\r\n" + fields.ToWire() + "\r\n";
  if (bodiless) return Send(wire);
  if (reply.framing != Reply::Framing::kChunked) return Send(wire + reply.body);
  if (!reply.body.empty()) wire += Hex(reply.body.size()) + "\r\n" + reply.body + "\r\n";
  return Send(wire + "0\r\n" + reply.trailers.ToWire() + "\r\n");
}

bool OriginExchange::Hold(const std::string& name) { return origin_->StopAtBarrier(name); }

bool OriginExchange::WaitForPeerToLeave() {
  while (*fd_) {
    IoStatus status = in_->Fill(Deadline::In(kForever));
    if (status == IoStatus::kTimeout) return false;
    if (status != IoStatus::kOk) return true;
    in_->Consume(in_->buffered().size());
  }
  return true;
}

std::string OriginExchange::ReadRaw() {
  if (in_->buffered().empty() && in_->Fill(Deadline::In(kForever)) != IoStatus::kOk) return "";
  return in_->Take(in_->buffered().size());
}

void OriginExchange::Reset() {
  close_ = true;
  ResetConnection(fd_);
}

}  // namespace satchel::testing
