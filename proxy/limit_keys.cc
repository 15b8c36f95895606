#include "proxy/limit_keys.h"

namespace satchel::proxy {
namespace {

std::string KeyWith(const std::string& prefix, const LimitCheck& check, std::string_view rest) {
  std::string key;
  key.reserve(prefix.size() + check.policy->name.size() + rest.size() + 48);
  key.append(prefix).append(":rl:{").append(check.id_text()).append("}:");
  key.append(check.policy->name).append(":").append(rest);
  return key;
}

}  // namespace

std::string LimitKey(const std::string& prefix, const LimitCheck& check,
                     const rules::RateWindow& window) {
  std::string key = KeyWith(prefix, check, window.name);
  key += ':';
  key += std::to_string(window.window.count());
  return key;
}

std::string SlotsKey(const std::string& prefix, const LimitCheck& check) {
  return KeyWith(prefix, check, "concurrent");
}

std::string PenaltyKey(const std::string& prefix, const LimitCheck& check) {
  return KeyWith(prefix, check, "penalty");
}

std::vector<std::string> AllLimitKeys(const std::string& prefix, const LimitCheck& check) {
  std::vector<std::string> keys;
  for (size_t i = 0; i < rules::WindowCount(*check.plan); ++i) {
    keys.push_back(LimitKey(prefix, check, check.plan->windows[i]));
  }
  if (check.plan->concurrent != 0) keys.push_back(SlotsKey(prefix, check));
  if (check.policy->penalty.count() > 0) keys.push_back(PenaltyKey(prefix, check));
  return keys;
}

std::string LocalKey(std::string_view id, std::string_view policy) {
  std::string key(id);
  key += ':';
  key += policy;
  return key;
}

std::string LocalKey(const LimitCheck& check) {
  return LocalKey(check.id_text(), check.policy->name);
}

}  // namespace satchel::proxy
