// What a worker fetches for nobody: refreshes after purges, and what is warmed.
#include <utility>

#include "proxy/fill_task.h"
#include "proxy/purge_targets.h"
#include "proxy/warm_recipe.h"
#include "proxy/warm_status.h"
#include "proxy/worker.h"

namespace satchel::proxy {
namespace {

// In place of the client and the listener in the log.
constexpr std::string_view kInternal = "internal";

// The job that brings the answer to such a request, if a rule matches it. Its permit is still to be had.
std::optional<FillTask::Job> BackgroundJob(Worker& worker,
                                           std::shared_ptr<const cache::RequestHead> head) {
  const SnapshotPtr& snapshot = worker.snapshot();
  rules::Captures captures;
  const rules::MatchResult match = snapshot->rules.Match(*head, &captures);
  if (match.status != rules::MatchResult::Status::kMatched || !match.rule->cache.enabled) {
    return std::nullopt;
  }
  FillTask::Job job;
  job.snapshot = snapshot;
  job.rule = match.rule;
  job.client.peer_ip = "unix";  // nobody's address
  job.client.tls = head->scheme == "https";
  job.pool = worker.pool(match.rule->upstream_index);
  job.target = rules::RewriteTarget(*match.rule, captures, *head);
  job.key.Build(*head, match.rule->key);
  job.background = true;
  job.head = std::move(head);
  return job;
}

// What came of it, told to the log as well: as an exchange that no client asked for.
WarmOutcome Conclude(Worker& worker, const FillTask& task, int64_t started_ns) {
  const FillTask::Job& job = task.job();
  WarmOutcome outcome;
  AccessRecord record;
  if (task.from_remote()) {
    outcome.result = WarmResult::kShared;
    record.outcome = Outcome::kHit;
    record.tier = "l2";
  } else if (job.shared_only) {
    outcome.missed = true;
    return outcome;
  } else if (task.stored_answer()) {
    outcome.result = WarmResult::kFetched;
    record.outcome = task.revalidated() ? Outcome::kRevalidated : Outcome::kMiss;
  } else if (task.gave_up()) {
    outcome.result = WarmResult::kBusy;
    return outcome;
  } else if (!task.error().empty() || task.upstream_status() >= 500) {
    outcome.result = WarmResult::kFailed;
    outcome.error = task.error().empty() ? "status " + std::to_string(task.upstream_status())
                                         : task.error();
    record.outcome = Outcome::kError;
    record.error = outcome.error;
  } else {
    outcome.result = WarmResult::kUncacheable;
    record.outcome = Outcome::kBypass;
  }
  const cache::StoredPtr now = worker.store().Lookup(job.key, *job.head, job.rule->cache).response;
  if (now) outcome.bytes = now->body().size();
  if (!worker.access_log().enabled()) return outcome;
  record.time = worker.WallNow();
  record.client = kInternal;
  record.listener = kInternal;
  record.method = job.head->method_text;
  record.scheme = job.head->scheme;
  record.host = job.head->authority;
  record.target = job.head->target;
  record.status = now ? now->facts().status : task.upstream_status();
  record.duration_us = (net::EventLoop::ReadClockNs() - started_ns) / 1000;
  record.rule = job.rule->name;
  record.reason = task.verdict_reason();
  record.key_hash = job.key.hash();
  record.upstream_status = task.upstream_status();
  if (const Fetch* fetch = task.fetch()) {
    record.upstream = fetch->pool().config().name;
    record.upstream_address = fetch->server_text();
    record.upstream_us = fetch->first_byte_us();
    record.upstream_attempts = fetch->attempts();
  }
  worker.access_log().Write(record);
  return outcome;
}

}  // namespace

void Worker::Refetch(RefreshTarget target) {
  loop_.Post([this, target = std::move(target)] { RefetchNow(target); });
}

void Worker::RefetchNow(const RefreshTarget& target) {
  if (draining_) return;
  const auto head = std::make_shared<cache::RequestHead>(GetOf(target.uri));
  head->fields = target.fields;
  auto job = BackgroundJob(*this, head);
  if (!job) return;
  if (!target.key.empty() && job->key.text() != target.key) return;  // of more than URL and Vary
  job->stored = store().Lookup(job->key, *job->head, job->rule->cache).response;
  if (job->stored && (job->stored->facts().partial || job->stored->facts().IsFreshAt(WallNow()))) {
    return;
  }
  job->permit = store().TryLead(job->key, *job->head, job->rule->cache,
                                {.seen = &job->stored,
                                 .vary = target.vary.empty() ? nullptr : &target.vary});
  if (!job->permit) return;
  Add(metrics_.refreshes);
  const auto task = std::make_shared<FillTask>(*this, std::move(*job));
  Keep(task);
  task->Start();
}

void Worker::Warm(WarmRequest request, bool shared_only, std::function<void(WarmOutcome)> done) {
  loop_.Post([this, request = std::move(request), shared_only, done = std::move(done)] {
    WarmNow(request, shared_only, done);
  });
}

void Worker::WarmNow(const WarmRequest& request, bool shared_only,
                     const std::function<void(WarmOutcome)>& done) {
  WarmOutcome outcome;
  const auto end = [&](WarmResult result) {
    outcome.result = result;
    done(std::move(outcome));
  };
  if (draining_) return end(WarmResult::kSkipped);
  auto job = BackgroundJob(*this, std::make_shared<cache::RequestHead>(request.Head()));
  if (!job || !MayWarm(*job->rule) || HasSecrets(*snapshot_, request)) {
    return end(WarmResult::kNoRule);
  }
  cache::StoredPtr stored = store().Lookup(job->key, *job->head, job->rule->cache).response;
  if (stored && stored->facts().partial) {
    job->prefix = std::move(stored);
  } else if (stored && stored->facts().IsFreshAt(WallNow())) {
    return end(WarmResult::kFresh);
  } else {
    job->stored = std::move(stored);
  }
  if (shared_only && (remote() == nullptr || !remote()->available())) {
    outcome.unavailable = true;
    return end(WarmResult::kFailed);
  }
  job->permit = store().TryLead(job->key, *job->head, job->rule->cache,
                                {.seen = job->prefix ? &job->prefix : &job->stored});
  if (!job->permit) return end(WarmResult::kBusy);
  job->shared_only = shared_only;
  const int64_t started_ns = net::EventLoop::ReadClockNs();
  job->finished = [this, done, started_ns](const FillTask& task) {
    done(Conclude(*this, task, started_ns));
  };
  const auto task = std::make_shared<FillTask>(*this, std::move(*job));
  Keep(task);
  task->Start();
}

void Worker::NotePopular(const rules::Rule* rule, const cache::RequestHead& head,
                         const cache::StoredResponse* answer) {
  const uint64_t weight = sampler_.Take(loop_.now_ms());
  if (rule == nullptr || answer == nullptr) return;
  if (const auto recipe = RecipeOf(*snapshot_, *rule, head, answer->vary())) {
    shared_.popularity.Add(recipe->ToText(), weight);
  }
}

void Worker::CountPopularity(bool on) {
  loop_.Post([this, on] { sampler_.Enable(on); });
}

}  // namespace satchel::proxy
