#include "proxy/limit_keys.h"

#include <charconv>

namespace satchel::proxy {
namespace {

std::string KeyWith(const std::string& prefix, const LimitCheck& check, std::string_view rest,
                    std::string_view more = {}) {
  constexpr std::string_view kKind = ":rl:{";
  constexpr std::string_view kEnd = "}:";
  std::string key;
  key.reserve(prefix.size() + kKind.size() + check.id.size() + kEnd.size() +
              check.policy->name.size() + 1 + rest.size() + more.size());
  key.append(prefix).append(kKind).append(check.id_text()).append(kEnd);
  key.append(check.policy->name).append(1, ':').append(rest).append(more);
  return key;
}

}  // namespace

std::string LimitKey(const std::string& prefix, const LimitCheck& check,
                     const rules::RateWindow& window) {
  char length[24] = ":";
  const char* const end =
      std::to_chars(length + 1, length + sizeof length, window.window.count()).ptr;
  return KeyWith(prefix, check, window.name, {length, end});
}

std::string SlotsKey(const std::string& prefix, const LimitCheck& check) {
  return KeyWith(prefix, check, "concurrent");
}

std::string PenaltyKey(const std::string& prefix, const LimitCheck& check) {
  return KeyWith(prefix, check, "penalty");
}

std::vector<std::string> AllLimitKeys(const std::string& prefix, const LimitCheck& check) {
  std::vector<std::string> keys;
  keys.reserve(rules::WindowCount(*check.plan) + 2);
  for (size_t i = 0; i < rules::WindowCount(*check.plan); ++i) {
    keys.push_back(LimitKey(prefix, check, check.plan->windows[i]));
  }
  if (check.plan->concurrent != 0) keys.push_back(SlotsKey(prefix, check));
  if (check.policy->penalty.count() > 0) keys.push_back(PenaltyKey(prefix, check));
  return keys;
}

std::string LocalKey(std::string_view id, std::string_view policy) {
  std::string key;
  key.reserve(id.size() + 1 + policy.size());
  return key.append(id).append(1, ':').append(policy);
}

std::string LocalKey(const LimitCheck& check) {
  return LocalKey(check.id_text(), check.policy->name);
}

}  // namespace satchel::proxy
