#include "tests/support/proxy_fixture.h"

#include <cstdlib>
#include <limits>

namespace satchel::testing {
namespace {

std::string Trim(const std::string& text) {
  size_t from = text.find_first_not_of(' ');
  return from == std::string::npos ? "" : text.substr(from, text.find_last_not_of(' ') - from + 1);
}

// Splits where the separator stands outside a quoted string.
std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"' && (i == 0 || text[i - 1] != '\\')) quoted = !quoted;
    if (text[i] == separator && !quoted) {
      parts.emplace_back();
    } else {
      parts.back() += text[i];
    }
  }
  return parts;
}

}  // namespace

CacheStatus::CacheStatus(const Response& response) {
  std::vector<std::string> members = Split(response.fields.Joined("Cache-Status"), ',');
  std::vector<std::string> parts = Split(Trim(members.back()), ';');
  if (parts[0] != "Satchel") return;
  present_ = true;
  for (size_t i = 1; i < parts.size(); ++i) {
    std::string part = Trim(parts[i]);
    size_t equals = part.find('=');
    std::string value = equals == std::string::npos ? "" : part.substr(equals + 1);
    parameters_[part.substr(0, equals)] = value;
  }
}

std::string CacheStatus::Get(const std::string& parameter) const {
  auto found = parameters_.find(parameter);
  return found == parameters_.end() ? "" : found->second;
}

long CacheStatus::ttl() const {
  std::string text = Get("ttl");
  return text.empty() ? std::numeric_limits<long>::max() : std::strtol(text.c_str(), nullptr, 10);
}

long Age(const Response& response) {
  if (response.fields.Count("Age") != 1) return -1;
  return std::strtol(response.Get("Age").c_str(), nullptr, 10);
}

nlohmann::json Problem(const Response& response) {
  if (!response.Get("Content-Type").starts_with("application/problem+json")) {
    return nlohmann::json(nlohmann::json::value_t::discarded);
  }
  return nlohmann::json::parse(response.body, nullptr, false);
}

Reply Fresh(const std::string& body, int lifetime, Fields more) {
  more.Add("Cache-Control", "max-age=" + std::to_string(lifetime));
  return {.fields = std::move(more), .body = body};
}

Reply StaleSince(int seconds, const std::string& body, const std::string& directives, Fields more) {
  more.Add("Cache-Control", "max-age=10" + (directives.empty() ? "" : ", " + directives));
  more.Add("Age", std::to_string(10 + seconds));
  return {.fields = std::move(more), .body = body};
}

}  // namespace satchel::testing
