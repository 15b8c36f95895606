#include "proxy/redis/purge_log.h"

#include <algorithm>
#include <charconv>
#include <memory>
#include <optional>

#include "proxy/redis/link.h"
#include "proxy/redis/lua/purge_log.lua.h"

namespace satchel::redis {
namespace {

using cache::PurgeRecord;

// Longer than anything is stored in Redis.
constexpr int64_t kLifetimeMs = int64_t{1000} * 60 * 60 * 24 * 31;
// Beyond it a score is no whole number any more. Microseconds reach it in 2255.
constexpr uint64_t kMaxSequence = uint64_t{1} << 53;
constexpr size_t kBatch = 1000;  // names in one call

const Script& LogScript() {
  static const Script script(lua::kPurgeLog);
  return script;
}

std::optional<uint64_t> Number(std::string_view text) {
  uint64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, number);
  if (parsed.ec != std::errc() || parsed.ptr != end || number > kMaxSequence) return std::nullopt;
  return number;
}

std::string_view TakeWord(std::string_view& text) {
  const size_t end = std::min(text.find(' '), text.size());
  const std::string_view word = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return word;
}

}  // namespace

std::optional<PurgeMessage> ParsePurgeMessage(std::string_view text) {
  PurgeMessage message;
  const auto previous = Number(TakeWord(text));
  const auto sequence = Number(TakeWord(text));
  if (!previous || !sequence || *sequence <= *previous) return std::nullopt;
  message.previous = *previous;
  message.sequence = *sequence;
  message.acknowledge = TakeWord(text) == "a";
  while (!text.empty()) {
    const auto record = PurgeRecord::FromText(TakeWord(text));
    if (!record) ++message.unknown;
    message.records.push_back(record.value_or(PurgeRecord::All(true)));
  }
  return message;
}

std::optional<PurgeLogPart> ParsePurgeLog(const Reply& reply) {
  const auto& items = reply.items;
  if (items.size() < 4 || items.size() % 2 != 0) return std::nullopt;
  const auto head = Number(items[0].text);
  const auto born = Number(items[1].text);
  const auto floor = Number(items[2].text);
  if (!head || !born || !floor) return std::nullopt;
  PurgeLogPart part{*head, *born, *floor, items[3].text == "1", {}};
  std::vector<PurgeLogPart::Batch>& batches = part.batches;
  for (size_t i = 4; i < items.size(); i += 2) {
    const auto sequence = Number(items[i + 1].text);
    if (!sequence) return std::nullopt;
    if (batches.empty() || *sequence > batches.back().sequence) {
      batches.push_back({*sequence, {}});
    } else if (*sequence < batches.back().sequence) {
      return std::nullopt;
    }
    const std::string& name = items[i].text;
    if (name == "#" || name == "@" || name == "^") continue;
    batches.back().records.push_back(PurgeRecord::FromText(name).value_or(PurgeRecord::All(true)));
  }
  // Of a reply that was cut the last one may be incomplete. It is not the only one: more is asked
  // for than a batch can hold.
  if (part.more && batches.size() > 1) batches.pop_back();
  return part;
}

PurgeLog::PurgeLog(net::EventLoop& loop, Commander& commander, Subscriber& subscriber,
                   cache::Purges& purges, Options options)
    : loop_(loop),
      commander_(commander),
      subscriber_(subscriber),
      purges_(purges),
      options_(std::move(options)),
      key_(options_.prefix + ":{p}"),
      channel_(options_.prefix + ":purges"),
      tick_([this] { OnTick(); }) {
  commander_.AddScript(LogScript());
  purges_.SetComplete(false);
}

void PurgeLog::Start() {
  doubted_ms_ = loop_.now_ms();  // nothing is stored yet
  subscription_ = subscriber_.Subscribe(
      channel_, [this](std::string_view message) { OnMessage(message); }, [this] { Read(); });
  Read();
  loop_.SetTimer(tick_, options_.poll_ms);
}

// ---- Learning

void PurgeLog::Apply(const std::vector<PurgeRecord>& records, uint64_t sequence) {
  before_ = purges_.head();
  if (records.empty()) {
    purges_.Advance(sequence);
  } else {
    purges_.Apply(records, sequence);
  }
  position_ = sequence;
}

void PurgeLog::OnMessage(std::string_view text) {
  const auto message = ParsePurgeMessage(text);
  if (!message) {
    counters_.bad_messages.Add();
    return;
  }
  if (message->sequence <= position_) return;  // our own, or read already
  if (message->previous != position_) {
    counters_.gaps.Add();
    after_gap_ = true;
    went_back_ |= message->previous < position_;
    Read();
    return;
  }
  counters_.bad_messages.Add(message->unknown);
  Apply(message->records, message->sequence);
  counters_.received.Add();
  const int64_t now_us = WallClockUs() + commander_.clock_offset_us(key_);
  counters_.lag_us.Set(static_cast<uint64_t>(
      std::max<int64_t>(0, now_us - static_cast<int64_t>(message->sequence))));
  Progress(message->acknowledge);
}

void PurgeLog::Read() {
  if (reading_) {
    read_again_ = true;
    return;
  }
  reading_ = true;
  counters_.reads.Add();
  const uint64_t after = position_;
  const int64_t sent_ms = loop_.now_ms();
  ScriptArguments arguments;
  arguments.Key(key_).Arg("read").Arg(kLifetimeMs);
  // More than one batch, or a batch that is cut off could not be told from a whole one.
  const size_t most = std::max(options_.read_at_once, 2 * kBatch);
  arguments.Arg(static_cast<int64_t>(after)).Arg(static_cast<int64_t>(most));
  arguments.Arg(went_back_ ? "1" : "0").Arg(static_cast<int64_t>(born_));
  const auto done = [this, alive = std::weak_ptr(alive_), after,
                     sent_ms](const cache::Result<Reply>& reply) {
    if (!alive.expired()) OnRead(after, sent_ms, reply);
  };
  if (!commander_.SendScript(LogScript(), std::move(arguments), options_.deadline_ms, done)) {
    reading_ = false;
    counters_.failed_reads.Add();
    loop_.AtTurnEnd([this, alive = std::weak_ptr(alive_)] {
      if (!alive.expired()) ReleaseWaiting();
    });
  }
}

void PurgeLog::OnRead(uint64_t after, int64_t sent_ms, const cache::Result<Reply>& reply) {
  reading_ = false;
  const bool again = std::exchange(read_again_, false);
  const auto part = reply ? ParsePurgeLog(*reply) : std::nullopt;
  if (!part) {
    counters_.failed_reads.Add();
    ReleaseWaiting();
    if (again && reply) Read();
    return;
  }
  const bool all = ApplyRead(after, *part);
  purges_.SetClockOffset(cache::Millis(commander_.clock_offset_us(key_) / 1000));
  if (!all) return;  // nothing is proven before the rest has been read
  proof_ms_ = sent_ms;
  if (!again) after_gap_ = false;  // else the gap came while this was read
  SetCoherent(unpublished_.empty() && !publishing_);
  Progress(false);
  if (again) {
    PublishWaiting();
    Read();
    return;
  }
  // All of them were in the log before it was read: what is beyond its end was lost with a
  // fail-over, or its number is none.
  ReleaseWaiting();
  PublishWaiting();
}

// False: this did not bring everything, and another read was begun.
bool PurgeLog::ApplyRead(uint64_t after, const PurgeLogPart& part) {
  if (part.born != born_) {
    // The first log we see, or one that came after the one we knew was lost. What was purged in
    // between, and what before, nobody knows.
    if (born_ != 0) counters_.epoch_losses.Add();
    const bool behind = born_ != 0 && part.born <= purges_.head();
    purges_.Doubt(behind ? purges_.head() + 1 : part.born, false);
    born_ = part.born;
    position_ = 0;
    went_back_ = false;
    if (after != 0) {
      Read();
      return false;
    }
  }
  if (part.floor > after) purges_.Doubt(part.floor, false);
  for (const PurgeLogPart::Batch& batch : part.batches) {
    if (batch.sequence <= position_) continue;
    Apply(batch.records, batch.sequence);
    if (after_gap_) counters_.repaired.Add();
  }
  if (part.more) {
    Read();
    return false;
  }
  purges_.Advance(part.head);
  position_ = std::max(position_, part.head);
  return true;
}

void PurgeLog::Progress(bool acknowledge) {
  if (on_progress_) on_progress_(position_, acknowledge);
  while (!waiting_.empty()) {
    const auto due = std::find_if(waiting_.begin(), waiting_.end(), [this](const Waiting& waiting) {
      return waiting.outcome.sequence <= position_;
    });
    if (due == waiting_.end()) return;
    const Waiting waiting = std::move(*due);
    waiting_.erase(due);
    waiting.done(waiting.outcome);
  }
}

// What was published after batches that cannot be read now has to hold here all the same.
void PurgeLog::ReleaseWaiting() {
  for (const Waiting& waiting : std::exchange(waiting_, {})) {
    SetCoherent(false);
    purges_.Apply(waiting.records, 0);
    KeepUnpublished(waiting.records);
    waiting.done(waiting.outcome);
  }
}

// ---- Purging

void PurgeLog::Purge(std::vector<PurgeRecord> records, bool acknowledge, Done done) {
  if (records.size() <= kBatch) {
    Publish(std::move(records), acknowledge, std::move(done));
    return;
  }
  // The last one tells: they are applied in order.
  for (size_t at = 0; at < records.size(); at += kBatch) {
    const size_t end = std::min(at + kBatch, records.size());
    const bool is_last = end == records.size();
    Publish(
        {records.begin() + static_cast<std::ptrdiff_t>(at),
         records.begin() + static_cast<std::ptrdiff_t>(end)},
        acknowledge && is_last, is_last ? done : [](const Outcome&) {});
  }
}

void PurgeLog::Publish(std::vector<PurgeRecord> records, bool acknowledge, Done done) {
  ScriptArguments arguments;
  arguments.Key(key_).Arg("purge").Arg(kLifetimeMs).Arg(channel_);
  arguments.Arg(static_cast<int64_t>(options_.max_records)).Arg(acknowledge ? "a" : "-");
  for (const PurgeRecord& record : records) arguments.Arg(record.ToText());
  auto shared = std::make_shared<std::vector<PurgeRecord>>(std::move(records));
  const auto on_reply = [this, alive = std::weak_ptr(alive_), shared,
                         done](const cache::Result<Reply>& reply) {
    if (alive.expired()) return;
    if (reply) {
      OnPublished(*shared, *reply, done);
    } else {
      ApplyAlone(std::move(*shared), reply.error().message, done);
    }
  };
  if (!commander_.SendScript(LogScript(), std::move(arguments), options_.deadline_ms, on_reply)) {
    loop_.AtTurnEnd([this, alive = std::weak_ptr(alive_), shared, done] {
      if (!alive.expired()) ApplyAlone(std::move(*shared), "the shared store is away", done);
    });
  }
}

void PurgeLog::OnPublished(const std::vector<PurgeRecord>& records, const Reply& reply, Done done) {
  const auto sequence = reply.items.size() == 3 ? Number(reply.items[0].text) : std::nullopt;
  const auto previous = reply.items.size() == 3 ? Number(reply.items[1].text) : std::nullopt;
  if (!sequence || !previous) {
    ApplyAlone(records, "the answer of the shared store is none", done);
    return;
  }
  counters_.published.Add();
  Outcome outcome;
  outcome.shared = true;
  outcome.sequence = *sequence;
  outcome.receivers = reply.items[2].integer;
  outcome.before = purges_.head();
  if (*previous == position_) {
    Apply(records, *sequence);
  } else if (*sequence > position_) {
    // Others came between: first what they purged.
    went_back_ |= *previous < position_;
    outcome.before = UINT64_MAX;
    waiting_.push_back({records, outcome, std::move(done)});
    Read();
    return;
  } else {
    // The message was here first.
    outcome.before = *sequence == position_ ? before_ : UINT64_MAX;
  }
  Progress(false);
  done(outcome);
}

// Here at least it holds now, under the next number after the last one known: the log's numbers are
// microseconds, so what it gives out later is greater.
void PurgeLog::ApplyAlone(std::vector<PurgeRecord> records, std::string why, const Done& done) {
  counters_.unpublished.Add();
  SetCoherent(false);  // first: nobody may take what others stored for newer than this purge
  Outcome outcome;
  outcome.before = purges_.head();
  outcome.sequence = purges_.Apply(records, 0);
  outcome.error = std::move(why);
  KeepUnpublished(records);
  done(outcome);
}

void PurgeLog::KeepUnpublished(const std::vector<PurgeRecord>& records) {
  if (unpublished_.size() + records.size() > options_.max_waiting) {
    const bool soft = std::all_of(records.begin(), records.end(),
                                  [](const PurgeRecord& record) { return record.soft; }) &&
                      std::all_of(unpublished_.begin(), unpublished_.end(),
                                  [](const PurgeRecord& record) { return record.soft; });
    unpublished_ = {PurgeRecord::All(soft)};
  } else {
    unpublished_.insert(unpublished_.end(), records.begin(), records.end());
  }
}

void PurgeLog::PublishWaiting() {
  if (unpublished_.empty() || publishing_) return;
  publishing_ = true;
  Purge(std::exchange(unpublished_, {}), false, [this](const Outcome& outcome) {
    publishing_ = false;
    if (outcome.shared) Read();  // coherent again, if nothing else is in the way
  });
}

// ---- Keeping up

void PurgeLog::SetCoherent(bool coherent) {
  coherent_ = coherent;
  counters_.coherent.Set(coherent ? 1 : 0);
  purges_.SetComplete(coherent);
}

void PurgeLog::OnTick() {
  const int64_t now = loop_.now_ms();
  // Without messages the reads alone have to keep the promise.
  const bool deaf = !subscriber_.connected();
  const int64_t wait = deaf || !coherent_ ? std::min(options_.poll_ms, options_.incoherent_ms) / 2
                                          : options_.poll_ms;
  loop_.SetTimer(tick_, std::max<int64_t>(wait, 20));
  const int64_t patience = options_.incoherent_ms + (deaf ? 0 : options_.poll_ms);
  if (now - proof_ms_ >= patience) {
    SetCoherent(false);
    if (now - doubted_ms_ >= options_.incoherent_ms) {
      doubted_ms_ = now;
      counters_.incoherent_ticks.Add();
      purges_.Doubt(purges_.head() + 1, false);
    }
  }
  Read();
}

}  // namespace satchel::redis
