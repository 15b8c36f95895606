#include "proxy/warm_admin.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "proxy/limits_admin.h"
#include "proxy/ops_log.h"
#include "proxy/warm_json.h"
#include "rules/units.h"
#include "rules/warm_fields.h"

namespace satchel::proxy {
namespace {

using cache::ErrorSource;
using cache::Fail;
using cache::Result;
using nlohmann::json;

constexpr size_t kMaxText = 16 << 10;
constexpr double kMaxRate = 10'000;
constexpr int64_t kMaxConcurrency = 256;
constexpr std::string_view kKeys = "urls, headers, all_variants, entries, rules, rate and concurrency";

// Empty, or what is wrong.
std::string ReadTexts(const std::string& key, const json& value, std::vector<std::string>& to) {
  const auto add = [&](const json& item) {
    if (!item.is_string()) return false;
    to.push_back(item.get<std::string>());
    return !to.back().empty() && to.back().size() <= kMaxText;
  };
  const bool good = value.is_array() ? std::ranges::all_of(value, add) : add(value);
  return good ? "" : key + ": write a text, or a list of texts, none empty";
}

std::string ReadHeaders(const json& value, FieldValues& to) {
  if (!value.is_object()) return "headers: write {\"Accept-Language\": [\"en\", \"de\"]}";
  size_t combinations = 1;
  for (const auto& [name, texts] : value.items()) {
    if (const auto why = rules::WarmFieldMistake(name)) return "headers: \"" + name + "\" " + *why;
    std::vector<std::string> values;
    if (std::string why = ReadTexts("headers." + name, texts, values); !why.empty()) return why;
    WarmRequest probe;
    for (const std::string& text : values) {
      probe.fields.clear();
      if (const auto why = probe.AddField(name, text)) return "headers: \"" + name + "\" " + *why;
    }
    combinations *= std::max<size_t>(1, values.size());
    to.emplace_back(name, std::move(values));
    if (combinations > kMaxCombinations || to.size() > WarmRequest::kMaxFields) {
      return "headers: makes more than 64 combinations, or names more than 8 fields; write fewer values";
    }
  }
  return {};
}

AdminReply Json(int status, const nlohmann::ordered_json& body) {
  AdminReply reply;
  reply.status = status;
  reply.body = body.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
  return reply;
}

std::string Describe(const Warmer::Order& order) {
  std::string text = std::to_string(order.urls.size()) + " URL(s)";
  for (const std::string& name : order.entries) text += ", entry " + name;
  for (const std::string& name : order.rules) text += ", rule " + name;
  return text;
}

}  // namespace

Result<Warmer::Order> WarmAdmin::OrderOf(std::string_view text) {
  const auto wrong = [](std::string why) { return Fail(ErrorSource::kClient, std::move(why)); };
  const json body = json::parse(text, nullptr, false);
  if (!body.is_object()) return wrong("write a JSON object, for example {\"urls\": [\"https://host/path\"]}");
  Warmer::Order order;
  for (const auto& [key, value] : body.items()) {
    std::string why;
    if (key == "urls") {
      why = ReadTexts(key, value, order.urls);
    } else if (key == "entries") {
      why = ReadTexts(key, value, order.entries);
    } else if (key == "rules") {
      why = ReadTexts(key, value, order.rules);
    } else if (key == "headers") {
      why = ReadHeaders(value, order.headers);
    } else if (key == "all_variants") {
      if (!value.is_boolean()) return wrong("all_variants: write true or false");
      order.all_variants = value.get<bool>();
    } else if (key == "rate") {
      order.rate = value.is_number() ? value.get<double>() : 0;
      if (!(order.rate > 0 && order.rate <= kMaxRate)) {
        return wrong("rate: write requests a second, more than 0 and at most 10000");
      }
    } else if (key == "concurrency") {
      const int64_t number = value.is_number_integer() ? value.get<int64_t>() : 0;
      if (number < 1 || number > kMaxConcurrency) return wrong("concurrency: write 1 to 256");
      order.concurrency = static_cast<uint32_t>(number);
    } else {
      return wrong("\"" + key + "\" is not known; write " + std::string(kKeys));
    }
    if (!why.empty()) return wrong(std::move(why));
  }
  if (order.urls.empty() && order.entries.empty() && order.rules.empty()) {
    return wrong("names nothing to warm; write urls, entries or rules");
  }
  if (order.urls.size() > kMaxUrls) return wrong("names more than 10000 URLs; ask several times");
  if (order.all_variants && !order.headers.empty()) {
    return wrong("has both headers and all_variants; keep one of them");
  }
  return order;
}

AdminReply WarmAdmin::Handle(const AdminRequest& request) {
  if (request.method != "POST") return Show(request);
  auto order = OrderOf(request.body);
  if (!order) return Problem(400, order.error().message);
  order->who = "admin request from " + request.peer;
  const std::string what = Describe(*order);
  bool full = false;
  const auto id = warmer_.Begin(std::move(*order), &full);
  if (!id) {
    AdminReply reply = Problem(full ? 429 : 422, id.error().message);
    if (full) reply.headers.emplace_back("Retry-After", "10");
    return reply;
  }
  OpsLog().info("warm-up {} by admin request from {}: {}", *id, request.peer, what);
  return Json(202, {{"id", *id}});
}

AdminReply WarmAdmin::Show(const AdminRequest& request) const {
  const WarmStatus status = warmer_.status();
  const auto wanted = QueryParameter(request.query, "id");
  if (!wanted) return Json(200, WarmJson(status));
  const auto number = rules::ParseNumber(*wanted, 1, UINT64_MAX);
  const auto run = std::ranges::find_if(
      status.runs, [&](const WarmProgress& one) { return number && one.id == *number; });
  if (run == status.runs.end()) return Problem(404, "there is no such run, or it is forgotten");
  return Json(200, RunJson(*run));
}

}  // namespace satchel::proxy
