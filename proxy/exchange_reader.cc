// What an exchange gets from a fill that it leads or follows: which of it is its own answer, and how that
// goes out while it still grows.

#include <algorithm>
#include <array>
#include <utility>

#include "cache/base/append.h"
#include "cache/storability.h"
#include "proxy/exchange.h"
#include "proxy/http1/serializer.h"
#include "proxy/worker.h"

namespace satchel::proxy {
namespace {

using cache::FillState;
using cache::FillView;
using cache::Reason;

// The end of a body that is sent only when the response is stored.
constexpr uint64_t kHeldBack = 64 * 1024;

}  // namespace

void Exchange::PumpReader() {
  const auto self = shared_from_this();
  while (client_ && reader_) {
    if (client_->unsent() > 0) return;  // OnClientWritable goes on
    const FillView view = reader_.View();
    // It is no heir of another URI's fetch, and that one's failure need not be its own.
    if (of_equivalent_ && !head_sent_ &&
        (view.state == FillState::kPromoted || view.state == FillState::kReleased ||
         view.state == FillState::kFailed)) {
      LeaveEquivalent();
      return;
    }
    switch (view.state) {
      case FillState::kWaiting:
        if (reader_.Arm()) return;
        continue;
      case FillState::kPromoted: {
        auto permit = reader_.TakePermit();
        if (!permit) continue;
        Add(worker_.metrics().fills_promoted);
        wait_timer_.Cancel();
        Lead(std::move(*permit));
        return;
      }
      case FillState::kReleased:
        reader_ = {};
        wait_timer_.Cancel();
        // Ours alone: the task hands the answer over; a follower fetches for itself, or looks again
        // if the fetch it waited for turned out to be older than a purge.
        if (!followed_) return;
        // The leader's task had something stored, perhaps in Redis, that no error may replace.
        if (view.reason == Reason::kExpired) decision_.may_store = false;
        if (view.reason == Reason::kPurged) {
          LookUpAgain();
        } else {
          GoToOrigin();
        }
        return;
      case FillState::kFailed:
        if (head_sent_) {
          SendFromReader(view);
          if (client_ && reader_ && client_->unsent() == 0 &&
              reader_.position() >= view.available) {
            Cut(view.error.message);
          } else if (client_ && reader_ && client_->unsent() == 0) {
            continue;  // more than one turn's share is left
          }
          return;
        }
        reader_ = {};
        error_ = view.error.message;
        outcome_ = Outcome::kError;
        SendProblem(static_cast<uint16_t>(view.error.status >= 500 ? view.error.status : 502),
                    view.error.message, "upstream-error");
        return;
      case FillState::kComplete:
      case FillState::kStreaming:
        if (!head_sent_ && !BeginStreaming(view)) return;
        if (sending_ || !client_) return;
        const uint64_t before = reader_.position() + to_consume_;
        SendFromReader(view);
        if (!client_ || !reader_ || client_->unsent() > 0) return;
        // Everything committed so far is on its way; with more there already, look again.
        if (view.state == FillState::kStreaming && reader_.Arm()) return;
        if (view.state == FillState::kComplete && reader_.position() + to_consume_ == before) {
          Cut("the response ended before its announced length");
          return;
        }
        continue;
    }
  }
}

// The head is known: answers from it. False: the exchange took another way.
bool Exchange::BeginStreaming(const FillView& view) {
  wait_timer_.Cancel();
  const cache::StoredPtr& response = view.complete ? view.complete : view.head;
  if (of_equivalent_ &&
      (view.reason != Reason::kNone ||
       !cache::Store::Answers(*response, key_.text(), view.asked, worker_.store().purges()) ||
       !ServesAtOnce(*response))) {
    LeaveEquivalent();
    return false;
  }
  // A follower joined before the origin named what it selects by: is this its variant (4.1)? And a
  // stored part that was validated is for those alone whose range it holds.
  const bool other_variant =
      followed_ &&
      (response->vary().star || (response->facts().partial && !response->HoldsRangeOf(head_)) ||
       (!response->vary().empty() &&
        cache::VaryValues(response->vary(), head_, rule_->cache) != response->vary_values()));
  const cache::Time now = worker_.WallNow();
  const bool part_holds = !response->facts().partial || response->HoldsRangeOf(head_);
  const cache::Decision own =
      cache::Decide(head_, &response->facts(), false, now, rule_->cache, part_holds);
  const bool serves =
      own.action == cache::Action::kServe || own.action == cache::Action::kServeStaleAndRefresh;
  // What the shared tier had already may be too old for this request, though not for the leader's.
  const bool too_old = followed_ && view.complete && view.reason == Reason::kNone &&
                       response->facts().received < started_ && !serves;
  if (other_variant || too_old) {
    reader_ = {};
    LookUpAgain();
    return false;
  }
  // An answer that must be validated before its next use is only its own request's; one that stands
  // in for an error is for everybody who may have it.
  if (followed_ && !cache::MayCollapseOn(response->facts(), now) &&
      (view.reason == Reason::kNone ||
       cache::MayServeOnError(head_, response->facts(), now,
                              view.reason != Reason::kStaleDisconnected, 504,
                              rule_->cache) == Reason::kNone)) {
    reader_ = {};
    GoToOrigin();
    return false;
  }
  if (followed_ && view.complete && !view.fetched) {
    // Nothing went forward: the lookup that it waited for has found it.
    tier_ = "l2";
    cache_status_.hit = true;
    cache_status_.forward = cache::CacheStatus::Forward::kNone;
    outcome_ = response->facts().IsFreshAt(now) ? Outcome::kHit : Outcome::kStale;
    decision_.reason = serves ? own.reason : Reason::kStaleWhileRevalidate;
  } else if (followed_) {
    outcome_ = Outcome::kCollapsed;
    cache_status_.collapsed = true;
    if (view.reason != Reason::kNone) {
      decision_.reason = view.reason;
      outcome_ = Outcome::kStale;
    }
  } else if (task_) {
    upstream_status_ = task_->upstream_status();
    if (upstream_status_ != 0) cache_status_.forward_status = upstream_status_;
    cache_status_.stored = task_->stored_answer();
    if (task_->from_remote()) {
      tier_ = "l2";
      cache_status_.hit = true;
      cache_status_.forward = cache::CacheStatus::Forward::kNone;
      outcome_ = response->facts().IsFreshAt(now) ? Outcome::kHit : Outcome::kStale;
      // What the task was given may have passed its time since.
      decision_.reason = serves ? own.reason : Reason::kStaleWhileRevalidate;
      if (own.action != cache::Action::kServe && response->key() == key_.text()) {
        stored_ = response;
        RefreshInBackground();
      }
    } else if (task_->stale_reason() != Reason::kNone) {
      outcome_ = Outcome::kStale;
      decision_.reason = task_->stale_reason();
    } else if (task_->revalidated()) {
      outcome_ = Outcome::kRevalidated;
      decision_.reason = Reason::kRevalidated;
    } else {
      outcome_ = Outcome::kMiss;
    }
    if (upstream_status_ != 0) SettleLimitsOfTask(*response);
  }
  // Trailers have their place behind a chunked body only (RFC 9112 7.1.2), and behind the whole.
  const bool trailers = !view.trailers.empty() && head_.minor_version > 0 && HasBody() &&
                        !head_.fields.Has(cache::FieldId::kRange);
  if (view.complete && !trailers) {
    reader_ = {};
    SendStored(view.complete);
    return true;
  }
  const std::optional<uint64_t> length = trailers ? std::nullopt : view.length;
  state_ = State::kSending;
  const cache::ResponseFacts& facts = view.head->facts();
  cache_status_.ttl = facts.lifetime - facts.AgeAt(now);
  cache_status_.tier = tier_;
  cache_status_.reason = decision_.reason;
  age_s_ = facts.AgeAt(now).count() / 1000;
  // Without a length HTTP/1.0 has only the end of the connection to tell the end by.
  if (!length && head_.minor_version == 0) client_->ForbidKeepAlive();
  const Reply reply = BuildStoredReply(head_, *view.head, length, Context());
  status_ = reply.status;
  chunked_ = reply.chunked;
  body_at_ = reply.body_first;
  if (reply.body_length) {
    body_end_ = reply.body_first + *reply.body_length;
  } else if (length) {
    body_end_ = *length;
  }
  head_sent_ = true;
  const iovec piece = net::Slice(reply.head);
  return client_->Send({&piece, 1}, nullptr);
}

void Exchange::SendFromReader(const FillView& view) {
  uint64_t budget = kPumpBytes;
  while (client_ && client_->unsent() == 0 && reader_) {
    reader_.Consume(std::exchange(to_consume_, 0));
    // What lies before a range is passed over as it comes.
    if (reader_.position() < body_at_) {
      reader_.Consume(std::min(body_at_, view.available) - reader_.position());
      if (reader_.position() < body_at_) return;
    }
    // The last bytes wait until the response is in the store: who has all of it may ask again at
    // once and must find it there.
    // Of a long rest only one byte waits, or a writer that waits for its readers would never end.
    uint64_t end = body_end_ ? std::min(*body_end_, view.available) : view.available;
    if (view.state == FillState::kStreaming && view.length && view.available >= *view.length) {
      if (reader_.position() + kHeldBack >= *view.length) return;
      end = std::min(end, *view.length - 1);
    }
    const uint64_t ready = end - std::min(end, reader_.position());
    const bool at_end = body_end_ ? reader_.position() >= *body_end_
                                  : view.state == FillState::kComplete && ready == 0;
    if (at_end) {
      if (chunked_) {
        std::string last;
        cache::AppendAll(last, {first_chunk_ ? "0\r\n" : "\r\n0\r\n", view.trailers, "\r\n"});
        const iovec piece = net::Slice(last);
        if (!client_->Send({&piece, 1}, nullptr)) {
          reader_ = {};  // the client is gone: nothing is left to pump
          return;
        }
      }
      reader_ = {};
      Finish();
      return;
    }
    if (ready == 0 || budget == 0) return;
    std::array<iovec, kPieces> pieces;
    size_t count = reader_.Gather(std::span(pieces).subspan(1));
    uint64_t size = 0;
    const uint64_t most = std::min(ready, budget);
    for (size_t i = 1; i <= count; ++i) {
      if (size + pieces[i].iov_len >= most) {
        pieces[i].iov_len = most - size;
        size = most;
        count = i;
        break;
      }
      size += pieces[i].iov_len;
    }
    if (size == 0) return;
    budget -= size;
    std::span<const iovec> out = std::span(pieces).subspan(1, count);
    if (chunked_) {
      pieces[0] =
          net::Slice(http1::ChunkPrefix(chunk_prefix_, size, std::exchange(first_chunk_, false)));
      out = std::span(pieces).first(count + 1);
    }
    to_consume_ = size;
    // The bytes stay valid until they are consumed, and the reader lives as long as this exchange.
    if (!client_->Send(out, shared_from_this())) {
      reader_ = {};
      return;
    }
  }
}

}  // namespace satchel::proxy
