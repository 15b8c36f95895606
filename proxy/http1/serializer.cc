#include "proxy/http1/serializer.h"

#include <charconv>

namespace satchel::http1 {

void AppendNumber(std::string& out, uint64_t value) {
  char buffer[20];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  out.append(buffer, end);
}

void AppendStatusLine(std::string& out, uint16_t status, std::string_view reason) {
  out.append("HTTP/1.1 ");
  AppendNumber(out, status);
  out.push_back(' ');
  out.append(reason).append("\r\n");
}

void AppendField(std::string& out, std::string_view name, std::string_view value) {
  out.append(name).append(": ").append(value).append("\r\n");
}

void AppendField(std::string& out, std::string_view name, uint64_t value) {
  out.append(name).append(": ");
  AppendNumber(out, value);
  out.append("\r\n");
}

void AppendFields(std::string& out, const cache::HeaderMap& fields) {
  for (const cache::HeaderMap::Field field : fields) AppendField(out, field.name, field.value);
}

std::string_view ChunkPrefix(char (&buffer)[24], uint64_t size, bool first) {
  char* at = buffer;
  if (!first) {
    *at++ = '\r';
    *at++ = '\n';
  }
  at = std::to_chars(at, buffer + sizeof buffer - 2, size, 16).ptr;
  *at++ = '\r';
  *at++ = '\n';
  return {buffer, static_cast<size_t>(at - buffer)};
}

}  // namespace satchel::http1
