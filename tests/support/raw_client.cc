#include "tests/support/raw_client.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>

namespace satchel::testing {
namespace {

void CopyBody(const Body& body, Response* response) {
  response->body = body.data;
  response->body_size = body.size;
  response->trailers = body.trailers;
  response->complete = body.complete;
  if (!body.error.empty()) response->error = body.error;
}

}  // namespace

std::string Describe(const Response& response) {
  return "status " + std::to_string(response.status) + ", error \"" + response.error + "\", " +
         std::to_string(response.body_size) + " body bytes" +
         (response.complete ? "" : " (incomplete)") + "\n" + response.raw_head +
         response.body.substr(0, 400);
}

std::string Request(std::string_view method, std::string_view target, const Fields& fields,
                    std::string_view body) {
  std::string wire = std::string(method) + " " + std::string(target) + " HTTP/1.1\r\n";
  if (!fields.Has("Host")) wire += "Host: test\r\n";
  wire += fields.ToWire();
  if (!body.empty() && !fields.Has("Content-Length") && !fields.Has("Transfer-Encoding")) {
    wire += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  }
  return wire + "\r\n" + std::string(body);
}

RawClient::RawClient(const std::string& address, int receive_buffer)
    : fd_(ConnectTo(address, Deadline::In(kPatience), receive_buffer)), in_(fd_.get()) {}

bool RawClient::Send(std::string_view bytes, std::chrono::milliseconds patience) {
  return fd_ && SendAll(fd_.get(), bytes, Deadline::In(patience)) == IoStatus::kOk;
}

void RawClient::ShutdownWrite() {
  if (fd_) ::shutdown(fd_.get(), SHUT_WR);
}

Response RawClient::ReadHead(std::string_view method, std::chrono::milliseconds patience) {
  Response response;
  body_ = BodyReader();
  if (!fd_) {
    response.error = "not connected";
    return response;
  }
  Deadline deadline = Deadline::In(patience);
  while (true) {
    Head head;
    IoStatus status = satchel::testing::ReadHead(&in_, deadline, &head);
    if (status != IoStatus::kOk || !head.error.empty()) {
      response.error = head.error.empty() ? Name(status) : head.error;
      response.raw_head = head.raw;
      return response;
    }
    int code = head.part[1].size() == 3 ? std::atoi(head.part[1].c_str()) : 0;
    if (code < 100 || code > 599 || !head.part[0].starts_with("HTTP/1.")) {
      response.error = "a bad status line: " + head.start_line;
      return response;
    }
    if (code < 200 && code != 101) {
      response.interim.push_back(head);
      continue;
    }
    response.status = code;
    response.version = head.part[0];
    response.reason = head.part[2];
    response.raw_head = head.raw;
    response.fields = head.fields;
    uint64_t length = 0;
    BodyFraming framing = ResponseFraming(method, code, head.fields, &length);
    response.chunked = framing == BodyFraming::kChunked;
    body_ = BodyReader(framing, length, keep_);
    response.complete = body_.body().complete;
    return response;
  }
}

bool RawClient::ReadBodyUntil(Response* response, uint64_t size,
                              std::chrono::milliseconds patience) {
  if (response->status == 0) return false;
  bool read = body_.ReadUntil(&in_, size, Deadline::In(patience));
  CopyBody(body_.body(), response);
  if (!read && response->error.empty()) response->error = "deadline passed in the body";
  return read && (response->complete || response->body_size >= size);
}

bool RawClient::ReadBody(Response* response, std::chrono::milliseconds patience) {
  return ReadBodyUntil(response, std::numeric_limits<uint64_t>::max(), patience);
}

Response RawClient::Read(std::string_view method, std::chrono::milliseconds patience) {
  Response response = ReadHead(method, patience);
  if (response.status != 0 && response.status != 101) ReadBody(&response, patience);
  return response;
}

Response RawClient::Get(std::string_view target, const Fields& fields) {
  return Exchange("GET", target, fields);
}

Response RawClient::Exchange(std::string_view method, std::string_view target, const Fields& fields,
                             std::string_view body) {
  Send(Request(method, target, fields, body));
  return Read(method);
}

std::string RawClient::ReadBytes(size_t count, std::chrono::milliseconds patience) {
  Deadline deadline = Deadline::In(patience);
  while (fd_ && in_.buffered().size() < count && in_.Fill(deadline) == IoStatus::kOk) {
  }
  return in_.Take(std::min(count, in_.buffered().size()));
}

std::string RawClient::ReadToEnd(std::chrono::milliseconds patience) {
  return ReadBytes(std::numeric_limits<size_t>::max(), patience);
}

bool RawClient::ClosedByPeer(std::chrono::milliseconds patience) {
  if (!fd_) return true;
  if (!in_.buffered().empty()) return false;
  IoStatus status = in_.Fill(Deadline::In(patience));
  return status == IoStatus::kEof || status == IoStatus::kReset;
}

bool RawClient::Silent(std::chrono::milliseconds quiet) {
  return fd_ && in_.buffered().empty() && !WaitFor(fd_.get(), POLLIN, Deadline::In(quiet));
}

Response Fetch(const std::string& address, std::string_view target, const Fields& fields) {
  return Fetch(address, "GET", target, fields);
}

Response Fetch(const std::string& address, std::string_view method, std::string_view target,
               const Fields& fields, std::string_view body) {
  RawClient client(address);
  return client.Exchange(method, target, fields, body);
}

}  // namespace satchel::testing
