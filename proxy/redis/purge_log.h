#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cache/purges.h"
#include "proxy/net/counter.h"
#include "proxy/net/event_loop.h"
#include "proxy/redis/commander.h"
#include "proxy/redis/subscriber.h"

namespace satchel::redis {

// What is published for each batch: "previous sequence flags name ...".
struct PurgeMessage {
  uint64_t previous = 0;  // of the batch before it
  uint64_t sequence = 0;
  bool acknowledge = false;
  std::vector<cache::PurgeRecord> records;
  size_t unknown = 0;  // names of a newer version; a soft purge of everything stands for each
};
std::optional<PurgeMessage> ParsePurgeMessage(std::string_view text);

// What reading the log brings: where it stands, and what was purged after a given sequence.
struct PurgeLogPart {
  uint64_t head = 0;  // the last sequence given
  uint64_t born = 0;
  uint64_t floor = 0;  // what was purged up to here may have been forgotten
  bool more = false;   // there are later ones, which this part does not hold
  struct Batch {
    uint64_t sequence = 0;
    std::vector<cache::PurgeRecord> records;  // a name of a newer version: softly everything
  };
  std::vector<Batch> batches;  // whole ones, in the order of their sequences
};
// nullopt: not understood.
std::optional<PurgeLogPart> ParsePurgeLog(const Reply& reply);

// The purges of the whole fleet, in one log in Redis that every instance follows: what any of them
// purges is known to all, in the same order. README.md tells what is kept and what is promised.
// One object per process, on the main thread; what it learns goes into `purges`, which all threads
// read. Owner thread only, counters excepted.
//
// A message that follows on the last one known is applied as it comes. After a gap, and at least
// once a second, the log itself is read. As long as reading succeeds nothing is older than
// `incoherent_ttl` without being noticed. When it does not, purges.complete() turns false (what
// other instances stored is not to be used), and once in each `incoherent_ttl` everything stored
// becomes doubtful, until the log has been read again. It is false as well while a purge of ours is
// not in the log yet: what others store meanwhile looks newer than that purge and may be older.
class PurgeLog {
 public:
  struct Options {
    std::string prefix = "satchel";
    int64_t deadline_ms = 250;  // of one call
    int64_t poll_ms = 1000;
    int64_t incoherent_ms = 1000;
    size_t max_records = 100'000;  // in Redis
    size_t max_waiting = 10'000;   // purges that could not be published yet, in records
    size_t read_at_once = 5'000;   // records
  };
  struct Counters {
    net::Counter published;     // batches
    net::Counter unpublished;   // batches applied here alone, to be published later
    net::Counter received;      // batches of others, by message
    net::Counter gaps;          // messages that did not follow on the last one known
    net::Counter repaired;      // batches learned by reading after a gap
    net::Counter epoch_losses;  // the log was lost or went back, and was begun anew by somebody
    net::Counter reads;
    net::Counter failed_reads;
    net::Counter bad_messages;
    net::Counter lag_us;    // of the last message: from the server's clock to its effect here
    net::Counter coherent;  // 0 or 1
    net::Counter incoherent_ticks;  // times that everything became doubtful
  };
  struct Outcome {
    bool shared = false;  // in the log, so that every instance learns of it
    uint64_t sequence = 0;
    uint64_t before = 0;    // the last purge applied here before this one
    int64_t receivers = 0;  // connections that the message went to; in a cluster of one node only
    std::string error;      // why it is not shared
  };
  using Done = std::function<void(const Outcome&)>;

  // Everything must outlive the log; `commander` is started afterwards.
  PurgeLog(net::EventLoop& loop, Commander& commander, Subscriber& subscriber,
           cache::Purges& purges, Options options);

  void Start();
  // Runs at each new state of what is known, with the last sequence; `acknowledge`: somebody waits
  // to hear that this instance has come so far.
  void OnProgress(std::function<void(uint64_t sequence, bool acknowledge)> function) {
    on_progress_ = std::move(function);
  }

  // Purges everywhere. `done` runs once the records hold in this process, whether or not they could
  // be published; those that could not are kept and published when that works again.
  void Purge(std::vector<cache::PurgeRecord> records, bool acknowledge, Done done);

  // The subscriber has lost its connection: from now on the log is read more often.
  void OnDeaf() { OnTick(); }

  bool coherent() const { return coherent_; }
  uint64_t position() const { return position_; }
  const Counters& counters() const { return counters_; }

 private:
  struct Waiting {
    std::vector<cache::PurgeRecord> records;
    Outcome outcome;
    Done done;
  };

  void OnMessage(std::string_view message);
  void Read();
  void OnRead(uint64_t after, int64_t sent_ms, const cache::Result<Reply>& reply);
  bool ApplyRead(uint64_t after, const PurgeLogPart& part);
  void Apply(const std::vector<cache::PurgeRecord>& records, uint64_t sequence);
  void Publish(std::vector<cache::PurgeRecord> records, bool acknowledge, Done done);
  void OnPublished(const std::vector<cache::PurgeRecord>& records, const Reply& reply, Done done);
  void ApplyAlone(std::vector<cache::PurgeRecord> records, std::string why, const Done& done);
  void KeepUnpublished(const std::vector<cache::PurgeRecord>& records);
  void PublishWaiting();
  void Progress(bool acknowledge);
  void ReleaseWaiting();
  void OnTick();
  void SetCoherent(bool coherent);

  net::EventLoop& loop_;
  Commander& commander_;
  Subscriber& subscriber_;
  cache::Purges& purges_;
  const Options options_;
  const std::string key_;
  const std::string channel_;
  Counters counters_;
  std::function<void(uint64_t, bool)> on_progress_;

  uint64_t position_ = 0;  // everything in the log up to here is applied
  uint64_t before_ = 0;    // the head before the last batch that was applied in its turn
  uint64_t born_ = 0;      // of the log that it is in; 0: never read
  bool coherent_ = false;
  bool reading_ = false;
  bool read_again_ = false;
  bool after_gap_ = false;
  bool went_back_ = false;  // the log has forgotten purges that we know
  bool publishing_ = false;
  int64_t proof_ms_ = 0;  // when the last read that succeeded was sent
  int64_t doubted_ms_ = 0;
  std::deque<Waiting> waiting_;  // published, but others before them are not known yet
  std::vector<cache::PurgeRecord> unpublished_;
  net::Timer tick_;
  Subscriber::Subscription subscription_;
  const std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace satchel::redis
