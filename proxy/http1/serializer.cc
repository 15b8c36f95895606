#include "proxy/http1/serializer.h"

#include <charconv>

#include "cache/base/append.h"

namespace satchel::http1 {

using cache::AppendAll;
void AppendNumber(std::string& out, uint64_t value) {
  char buffer[20];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  out.append(buffer, end);
}

void AppendStatusLine(std::string& out, uint16_t status, std::string_view reason) {
  char digits[20];
  const auto end = std::to_chars(digits, digits + sizeof digits, status).ptr;
  AppendAll(out, {"HTTP/1.1 ", {digits, end}, " ", reason, "\r\n"});
}

void AppendField(std::string& out, std::string_view name, std::string_view value) {
  AppendAll(out, {name, ": ", value, "\r\n"});
}

void AppendField(std::string& out, std::string_view name, uint64_t value) {
  char digits[20];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  AppendField(out, name, std::string_view(digits, end));
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
