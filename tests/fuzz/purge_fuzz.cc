// What others say about purges: names in the log, messages on the channel, JSON of people and
// applications, bodies with tags in them.
#include <cstdint>
#include <string_view>

#include "proxy/json_tags.h"
#include "proxy/purge_events.h"
#include "proxy/purge_request.h"
#include "proxy/redis/purge_log.h"
#include "tests/fuzz/require.h"

namespace {

const satchel::rules::PurgeConfig& Config() {
  static const satchel::rules::PurgeConfig config = [] {
    satchel::rules::PurgeConfig made;
    made.events = {{"user", {*satchel::rules::TagTemplate::Compile("user:{id}")}}};
    return made;
  }();
  return config;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace satchel;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto record = cache::PurgeRecord::FromText(text)) {
    Require(cache::PurgeRecord::FromText(record->ToText()) == record);
  }
  if (const auto message = redis::ParsePurgeMessage(text)) {
    Require(message->sequence > message->previous);
    cache::PurgeTable table(16);
    for (const cache::PurgeRecord& record : message->records)
      table.Apply(record, message->sequence);
    Require(table.size() <= 16);
  }
  if (const auto request = proxy::PurgeRequest::FromJson(text)) {
    Require(!request->Describe().empty());
  }
  if (const auto request = proxy::RequestOfEvent(Config(), text)) {
    Require(!request->Describe().empty());
  }
  cache::TagSet tags;
  proxy::AddJsonTags(text, {"/a/*/b", "x:/*", "/0"}, tags);
  Require(tags.ids().size() <= cache::kMaxTags);
  if (const auto made = rules::TagTemplate::Compile(text)) Require(made->text() == text);
  return 0;
}
