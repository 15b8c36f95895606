#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <sys/uio.h>

#include "cache/base/result.h"
#include "cache/reason.h"
#include "cache/stored_response.h"

namespace satchel::cache {

class Fill;
class Store;

// Called from the writer's thread (a promotion: also from that of the heir that went), never under
// a lock, when a reader that asked for it has something new to see; at most once per
// FillReader::Arm(). It only posts a message. It may run while its reader is being destroyed on
// another thread, so it holds weak references only.
using Wake = std::function<void()>;

enum class FillState : uint8_t {
  kWaiting,    // no head yet
  kStreaming,  // head known, body growing
  kComplete,   // `complete` holds the whole response
  kReleased,   // the answer belongs to the leader alone: fetch for yourself
  kPromoted,   // the leader failed and this reader is its heir: TakePermit()
  kFailed,     // no answer will come (or its body was cut short)
};

struct FillView {
  FillState state = FillState::kWaiting;
  StoredPtr head;                  // from kStreaming on
  StoredPtr complete;              // at kComplete, but null if the fill was a pass
  uint64_t available = 0;          // committed bytes of the body
  std::optional<uint64_t> length;  // of the body, if known in advance
  uint64_t asked = 0;              // the last purge known when the origin was asked; 0: it was not
  Reason reason = Reason::kNone;   // why released, or why completed with a stale response
  bool fetched = false;            // the origin was asked; else another tier had it
  Error error;                     // why failed
  // At kComplete: the lines of the trailer section, each with CRLF, for readers of this fill. They
  // are not stored (RFC 9110 6.5).
  std::string trailers;
};

class FillPermit;

// One reader of a growing response: a follower, or the leader's own client. Belongs to one thread;
// destroying it unsubscribes (and passes a promotion on).
class FillReader {
 public:
  FillReader() = default;
  FillReader(FillReader&&) noexcept;
  FillReader& operator=(FillReader&&) noexcept;
  ~FillReader();

  explicit operator bool() const { return fill_ != nullptr; }

  FillView View() const;

  // Asks for one call of the wake function at the next change. False: something changed since the
  // last View(), look again now (nothing was armed).
  bool Arm();

  // Views of committed bytes from this reader's position on; returns the number of entries used.
  // They stay valid until Consume() passes them or the reader goes.
  size_t Gather(std::span<iovec> out) const;
  uint64_t position() const { return position_; }
  void Consume(uint64_t bytes);

  // Only in state kPromoted: the right to fetch, once. Empty if somebody took it already.
  std::optional<FillPermit> TakePermit();

 private:
  friend class Fill;
  friend class FillPermit;
  friend class Store;
  struct Slot;
  std::shared_ptr<Fill> fill_;
  std::shared_ptr<Slot> slot_;
  uint64_t position_ = 0;
};

// The right and the duty to fetch one response: exactly one per key and variant. Belongs to one
// thread at a time. Destroying it without a conclusion is a failure.
class FillPermit {
 public:
  FillPermit() = default;
  FillPermit(FillPermit&&) noexcept;
  FillPermit& operator=(FillPermit&&) noexcept;
  ~FillPermit();

  explicit operator bool() const { return fill_ != nullptr; }

  // The origin, or another tier, is about to be asked: no purge known by now concerns its answer.
  // Returns the last of them, which the answer's purge_sequence has to be.
  uint64_t MarkAsked();
  // The same for one that was asked earlier, when `sequence` was the last purge known.
  void MarkAskedAt(uint64_t sequence);

  // The head has arrived and the answer may be stored and shared. `head` has an empty body. False,
  // and nothing happened: it has been purged since it was asked for, and is nobody else's.
  bool Publish(StoredPtr head, std::optional<uint64_t> length);

  // A reader for the leader's own client; without wake the caller looks after each Append itself.
  FillReader NewReader(Wake wake);

  // Copies body bytes once, commits them and wakes the armed readers. Past the store's max_object
  // the fill turns into a pass: it will not be stored, takes no new readers, and keeps only what
  // its readers have yet to read.
  void Append(std::string_view bytes);

  // Bytes that the slowest reader has not consumed, counted only once the fill is a pass (else 0).
  // The writer pauses above its high mark; `resume` is called once when it falls below `low`, from
  // a reader's thread, or at once if it is below already.
  uint64_t Backlog() const;
  void NotifyBelow(uint64_t low, Wake resume);

  bool has_readers() const;
  bool is_pass() const;
  bool is_part() const;  // of one range, not of the whole
  // What has been appended so far; nothing of a pass.
  Body Committed() const;

  // Conclusions; each ends the permit.
  //
  // The body is whole; it is stored. Returns the response, also if this tier had no room for it.
  // Null if it may not be kept: purged meanwhile, a pass, or not of the announced length (which
  // fails the fill).
  // `trailers`: lines for its readers alone. `tags`, if any, take the place of the head's.
  // `fetch_time` goes into its facts.
  StoredPtr Finish(std::string trailers = {}, const std::vector<TagId>* tags = nullptr,
                   uint8_t fetch_time = 0);
  // What has been appended, for the writer to look at; empty if it is longer than `limit`.
  std::string CopyBody(size_t limit) const;
  // From another tier, refreshed by a 304, or stale in place of an answer that did not come; `why`
  // tells the readers (FillView::reason). False, and nothing happened: it has been purged.
  bool CompleteWith(StoredPtr response, bool insert, Reason why = Reason::kNone);
  void Release(Reason reason);  // not to be shared: followers fetch for themselves
  void Fail(Error error);       // before the head: one follower is promoted
  // Fails, but for what may be kept of it: a part, put into the store unless it was purged.
  void FailKeeping(const StoredPtr& part, Error error);

 private:
  friend class FillReader;
  friend class Store;
  std::shared_ptr<Fill> fill_;
};

}  // namespace satchel::cache
