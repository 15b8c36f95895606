// Where servers say that servers are: CLUSTER SLOTS, redirects, sentinels. They may say anything.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "proxy/redis/resp.h"
#include "proxy/redis/sentinel.h"
#include "proxy/redis/slots.h"

using satchel::redis::ReadMasterAddress;
using satchel::redis::ReadRedirect;
using satchel::redis::ReadSlots;
using satchel::redis::ReadSwitchMaster;
using satchel::redis::Reply;
using satchel::redis::ReplyReader;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto redirect = ReadRedirect(text, "asked")) {
    if (redirect->slot >= satchel::redis::kSlotCount || redirect->to.host.empty() ||
        redirect->to.port == 0) {
      abort();
    }
  }
  ReplyReader reader({.max_bytes = 1 << 20, .max_elements = 1 << 16});
  reader.Feed(text);
  Reply reply;
  while (reader.Read(reply) == ReplyReader::Next::kReply) {
    for (const auto& master : {ReadMasterAddress(reply), ReadSwitchMaster(reply, "main")}) {
      if (master && (master->host.empty() || master->port == 0)) abort();
    }
    const auto ranges = ReadSlots(reply, "asked");
    if (!ranges) continue;
    for (const auto& range : *ranges) {
      if (range.first > range.last || range.last >= satchel::redis::kSlotCount ||
          range.master.host.empty() || range.master.port == 0) {
        abort();
      }
    }
  }
  return 0;
}
