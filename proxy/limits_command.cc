#include "proxy/limits_command.h"

#include <cstdio>

#include "proxy/net/sha256.h"
#include "rules/api_keys.h"
#include "rules/rate_limit.h"

namespace satchel::proxy {
namespace {

std::string Escaped(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
                       (byte >= 'A' && byte <= 'Z') || byte == '-' || byte == '_' || byte == '.';
    if (plain) {
      out += c;
    } else {
      out += '%';
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    }
  }
  return out;
}

}  // namespace

void LimitsCommand::AddTo(CLI::App* command, const AddAdmin& add_admin) {
  command->require_subcommand(0, 1);
  add_admin(command);
  const auto add = [&](const char* name, const char* help, bool who) {
    CLI::App* sub = command->add_subcommand(name, help);
    add_admin(sub);
    sub->add_option("--policy", policy_, "This policy alone");
    if (who) {
      sub->add_option("key", key_, "An API key; only its hash is sent");
      sub->add_option("--owner", owner_, "An owner of the list of keys");
      sub->add_option("--ip", ip_, "A client address");
      sub->add_option("--id", id_, "An identity's hash, as the log and `satchel limits` show it");
    }
    return sub;
  };
  show_ = add("show", "How one identity stands", true);
  reset_ = add("reset", "One identity begins anew", true);
  off_ = add("off", "Stop limiting, in all instances", false);
  on_ = add("on", "Limit again", false);
  command->footer(
      "Without a subcommand: policies, counts and who asks most.\n"
      "Keys whose identity has more parts (all_of, per) are found by --id alone.");
}

std::string LimitsCommand::Who() const {
  const int ways = (key_.empty() ? 0 : 1) + (owner_.empty() ? 0 : 1) + (ip_.empty() ? 0 : 1) +
                   (id_.empty() ? 0 : 1);
  if (ways != 1) {
    std::fputs("name one: KEY, --owner NAME, --ip ADDRESS or --id HASH\n", stderr);
    return {};
  }
  std::string query;
  if (!key_.empty()) {
    const auto id = rules::IdentityOf(rules::IdentityKind::kKey, key_, net::Sha256);
    query = "sha256=" + rules::DigestText(net::Sha256(key_)) +
            "&id=" + std::string(id.data(), id.size());
  } else if (!owner_.empty()) {
    query = "owner=" + Escaped(owner_);
  } else if (!ip_.empty()) {
    query = "ip=" + Escaped(ip_);
  } else {
    query = "id=" + Escaped(id_);
  }
  if (!policy_.empty()) query += "&policy=" + Escaped(policy_);
  return query;
}

int LimitsCommand::Run(const Ask& ask) const {
  constexpr int kUsage = 2;
  if (show_->parsed() || reset_->parsed()) {
    const std::string who = Who();
    if (who.empty()) return kUsage;
    return show_->parsed() ? ask("GET", "/limits/show?" + who)
                           : ask("POST", "/limits/reset?" + who);
  }
  if (off_->parsed() || on_->parsed()) {
    const std::string path = off_->parsed() ? "/limits/off" : "/limits/on";
    return ask("POST", policy_.empty() ? path : path + "?policy=" + Escaped(policy_));
  }
  return ask("GET", "/limits");
}

}  // namespace satchel::proxy
