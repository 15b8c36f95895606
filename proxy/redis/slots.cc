#include "proxy/redis/slots.h"

#include <array>
#include <charconv>
#include <utility>

#include "proxy/redis/commander.h"

namespace satchel::redis {
namespace {

using cache::ErrorSource;
using cache::Fail;

constexpr size_t kMaxHost = 255;

constexpr std::array<uint16_t, 256> MakeCrcTable() {
  std::array<uint16_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte << 8;
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 0x8000) != 0 ? (crc << 1) ^ 0x1021 : crc << 1;
    table[byte] = static_cast<uint16_t>(crc);
  }
  return table;
}

constexpr std::array<uint16_t, 256> kCrcTable = MakeCrcTable();

std::optional<ServerAddress> MakeAddress(std::string_view host, int64_t port,
                                         std::string_view asked_host) {
  if (host.empty() || host == "?") host = asked_host;
  if (host.empty() || host.size() > kMaxHost || host.find('/') != std::string_view::npos ||
      port < 1 || port > 65535) {
    return std::nullopt;
  }
  return ServerAddress{.host = std::string(host), .port = static_cast<uint16_t>(port)};
}

template <typename Number>
bool ReadNumber(std::string_view text, Number* to) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *to);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

uint16_t SlotOf(std::string_view key) {
  uint16_t crc = 0;
  for (const char c : HashTag(key)) {
    crc = static_cast<uint16_t>((crc << 8) ^ kCrcTable[(crc >> 8) ^ static_cast<uint8_t>(c)]);
  }
  return crc & (kSlotCount - 1);
}

cache::Result<std::vector<SlotRange>> ReadSlots(const Reply& reply, std::string_view asked_host) {
  const auto bad = [] { return Fail(ErrorSource::kStore, "CLUSTER SLOTS: a strange answer"); };
  if (!reply.IsArray() || reply.items.size() > kSlotCount) return bad();
  std::vector<SlotRange> ranges;
  for (const Reply& item : reply.items) {
    if (!item.IsArray() || item.items.size() < 3) return bad();
    const Reply& first = item.items[0];
    const Reply& last = item.items[1];
    const Reply& master = item.items[2];
    if (!first.IsInteger() || !last.IsInteger() || first.integer < 0 ||
        last.integer < first.integer || last.integer >= kSlotCount || !master.IsArray() ||
        master.items.size() < 2 || !master.items[1].IsInteger()) {
      return bad();
    }
    auto address = MakeAddress(master.items[0].text, master.items[1].integer, asked_host);
    if (!address) return bad();
    ranges.push_back({static_cast<uint16_t>(first.integer), static_cast<uint16_t>(last.integer),
                      std::move(*address)});
  }
  return ranges;
}

std::optional<Redirect> ReadRedirect(std::string_view error, std::string_view asked_host) {
  Redirect redirect;
  if (error.starts_with("MOVED ")) {
    error.remove_prefix(6);
  } else if (error.starts_with("ASK ")) {
    redirect.kind = Redirect::Kind::kAsk;
    error.remove_prefix(4);
  } else {
    return std::nullopt;
  }
  const size_t space = error.find(' ');
  const size_t colon = error.rfind(':');
  uint16_t port = 0;
  if (space == std::string_view::npos || colon == std::string_view::npos || colon < space ||
      !ReadNumber(error.substr(0, space), &redirect.slot) || redirect.slot >= kSlotCount ||
      !ReadNumber(error.substr(colon + 1), &port)) {
    return std::nullopt;
  }
  auto to = MakeAddress(error.substr(space + 1, colon - space - 1), port, asked_host);
  if (!to) return std::nullopt;
  redirect.to = std::move(*to);
  return redirect;
}

}  // namespace satchel::redis
