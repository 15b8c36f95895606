#include "proxy/metrics.h"

#include <prometheus/text_serializer.h>

#include <algorithm>
#include <sstream>
#include <utility>

#include "proxy/metric_writer.h"
#include "proxy/process_info.h"

namespace satchel::proxy {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

constexpr Words<static_cast<size_t>(Outcome::kCount)> kOutcomes = {
    "hit",       "stale",   "revalidated", "miss",  "collapsed", "bypass",
    "synthetic", "limited", "refused",     "error", "aborted"};
constexpr Words<static_cast<size_t>(L2Result::kCount)> kL2Results = {"hit",     "miss",  "rejected",
                                                                     "timeout", "error", "skipped"};
constexpr Words<static_cast<size_t>(cache::BadRecord::kCount)> kBadRecords = {
    "version", "checksum", "key", "cipher", "chunk", "form"};
constexpr Words<static_cast<size_t>(LockResult::kCount)> kLockResults = {"taken", "busy", "unknown",
                                                                         "lost", "renewed"};
constexpr Words<static_cast<size_t>(LimitOutcome::kCount)> kLimitOutcomes = {
    "none",   "allowed",     "refused", "no-key", "unknown-key",
    "shadow", "local-share", "open",    "closed"};
constexpr Words<static_cast<size_t>(LimitSaving::kCount)> kLimitSavings = {"coalesced", "memory",
                                                                           "lease"};
constexpr Words<static_cast<size_t>(UpstreamError::kCount)> kUpstreamErrors = {
    "resolve",      "connect",       "connect-timeout", "tls",      "first-byte-timeout",
    "idle-timeout", "total-timeout", "reset",           "protocol", "no-server"};
constexpr Words<static_cast<size_t>(Bound::kCount)> kBounds = {
    "connections",     "descriptors", "start-line",  "header-bytes", "request-body",
    "header-timeout",  "keep-alive",  "write-stall", "pipeline",     "client-buffer",
    "upstream-buffer", "fill-wait",   "fleet-wait",  "max-object",   "interim",
    "keyed-body",      "sealing"};
constexpr Words<6> kStatusClasses = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};

static_assert(!kOutcomes.back().empty() && !kL2Results.back().empty() &&
              !kBadRecords.back().empty() && !kLockResults.back().empty() &&
              !kLimitOutcomes.back().empty() && !kUpstreamErrors.back().empty() &&
              !kBounds.back().empty());

template <size_t N>
std::string_view WordOf(const Words<N>& words, size_t index) {
  return index < N ? words[index] : "unknown";
}

using M = WorkerMetrics;

void WriteRequests(MetricWriter& out, const std::vector<const WorkerMetrics*>& workers) {
  out.Counted("satchel_requests_total", "Requests, by what became of them.", "outcome", kOutcomes,
              &M::outcomes);
  out.Counted("satchel_responses_total", "Answers to clients, by class of status.", "class",
              kStatusClasses, &M::status_classes);
  out.Family(MetricType::Counter, "satchel_cache_decisions_total",
             "Requests, by the reason of the cache's decision.");
  for (size_t i = 0; i < static_cast<size_t>(cache::Reason::kCount); ++i) {
    double sum = 0;
    for (const WorkerMetrics* worker : workers) {
      sum += static_cast<double>(Read(worker->reasons[i]));
    }
    const auto reason = static_cast<cache::Reason>(i);
    if (sum == 0 || reason == cache::Reason::kNone) continue;  // some fifty: show what occurs
    out.Series(sum, {{"reason", std::string(cache::ReasonWord(reason))}});
  }
  out.Gauge("satchel_requests_in_flight", "Requests begun and not yet answered.",
            &M::requests_in_flight);
  out.Durations("satchel_request_duration_seconds",
                "From the complete request head to the last byte handed to the kernel.",
                &M::request_duration);
}

void WriteClients(MetricWriter& out) {
  out.Gauge("satchel_keyed_body_bytes",
            "Bytes of request bodies held now because they are part of a cache key.",
            &M::keyed_body_bytes);
  out.Counted("satchel_connections_accepted_total", "Client connections accepted.",
              &M::connections_accepted);
  out.Counted("satchel_connections_closed_total", "Client connections closed.",
              &M::connections_closed);
  out.Gauge("satchel_connections_open", "Client connections open now.", &M::connections_open);
  out.Gauge("satchel_tunnels_open", "Upgraded connections open now.", &M::tunnels_open);
  out.Counted("satchel_tls_handshakes_total", "TLS handshakes completed with clients.",
              &M::tls_handshakes);
  out.Counted("satchel_tls_handshake_errors_total", "TLS handshakes with clients that failed.",
              &M::tls_handshake_errors);
  out.Counted("satchel_parse_errors_total", "Requests refused because of their form.",
              &M::parse_errors);
  out.Counted("satchel_accept_errors_total", "Failures of accept().", &M::accept_errors);
  out.Counted("satchel_client_received_bytes_total", "Bytes received from clients.",
              &M::client_bytes_in);
  out.Counted("satchel_client_sent_bytes_total", "Bytes sent to clients.", &M::client_bytes_out);
}

void WriteUpstreams(MetricWriter& out, const std::vector<ServerStatus>& servers) {
  out.Counted("satchel_upstream_requests_total", "Requests sent to upstreams, retries included.",
              &M::upstream_requests);
  out.Counted("satchel_upstream_retries_total", "Requests sent to an upstream once more.",
              &M::upstream_retries);
  out.Counted("satchel_upstream_responses_total", "Answers of upstreams, by class of status.",
              "class", kStatusClasses, &M::upstream_status_classes);
  out.Counted("satchel_upstream_errors_total", "Failed attempts at upstreams, by kind.", "kind",
              kUpstreamErrors, &M::upstream_errors);
  out.Counted("satchel_upstream_connects_total", "Connections opened to upstreams.",
              &M::upstream_connects);
  out.Gauge("satchel_upstream_connections_open", "Connections to upstreams open now.",
            &M::upstream_open);
  out.Gauge("satchel_upstream_connections_idle", "Of these, waiting for the next request.",
            &M::upstream_idle);
  out.Counted("satchel_upstream_received_bytes_total", "Bytes received from upstreams.",
              &M::upstream_bytes_in);
  out.Counted("satchel_upstream_sent_bytes_total", "Bytes sent to upstreams.",
              &M::upstream_bytes_out);
  out.Durations("satchel_upstream_first_byte_seconds",
                "From the request sent to the response head received.", &M::upstream_first_byte);
  if (servers.empty()) return;
  out.Family(MetricType::Gauge, "satchel_upstream_server_up", "1 if the server takes requests.");
  for (const ServerStatus& server : servers) {
    out.Series(server.healthy && !server.ejected ? 1 : 0,
               {{"upstream", server.upstream}, {"server", server.server}});
  }
  out.Family(MetricType::Gauge, "satchel_upstream_server_in_flight",
             "Requests a server has not answered yet.");
  for (const ServerStatus& server : servers) {
    out.Series(static_cast<double>(server.in_flight),
               {{"upstream", server.upstream}, {"server", server.server}});
  }
}

void WriteStores(MetricWriter& out, const cache::Store::Stats& l1, const ProcessStatus& process) {
  out.Value(MetricType::Counter, "satchel_tier_lookups_total",
            "Lookups of stored responses, by tier and result.", out.Sum(&M::l1_hits),
            {{"tier", "l1"}, {"result", "hit"}});
  out.Series(out.Sum(&M::l1_misses), {{"tier", "l1"}, {"result", "miss"}});
  out.AddSeries("result", kL2Results, &M::l2_reads, {{"tier", "l2"}});
  out.Counted("satchel_l2_writes_total", "Responses written to Redis, by result.", "result",
              kL2Results, &M::l2_writes);
  out.Counted("satchel_l2_deletes_total", "Responses deleted from Redis, by result.", "result",
              kL2Results, &M::l2_deletes);
  out.Counted("satchel_l2_bad_records_total", "Records in Redis that were of no use, by cause.",
              "cause", kBadRecords, &M::l2_bad_records);
  out.Counted("satchel_l2_renewals_total", "Writes to Redis of the times alone, after a 304.",
              &M::l2_renewals);
  out.Counted("satchel_l2_searches_total",
              "Looks in Redis for an equivalent of a URI that is not there (No-Vary-Search).",
              &M::l2_searches);
  out.Counted("satchel_l2_equivalents_total", "Of those, what found a response.",
              &M::l2_equivalents);
  out.Counted("satchel_l2_body_bytes_total",
              "Bytes of the bodies written to Redis, before compression.", &M::l2_body_bytes);
  out.Counted("satchel_l2_kept_bytes_total",
              "Bytes of the records written to Redis, heads included.", &M::l2_kept_bytes);
  out.Gauge("satchel_l2_sealing_bytes", "Bytes of large bodies that wait to be written to Redis.",
            &M::l2_sealing_bytes);
  out.Durations("satchel_l2_read_seconds", "Time of a lookup in Redis.", &M::l2_read_duration);

  out.Gauge("satchel_l1_bytes", "Bytes of L1 in use, metadata included.",
            static_cast<double>(l1.bytes));
  out.Gauge("satchel_l1_capacity_bytes", "Bytes L1 may use.", static_cast<double>(l1.capacity));
  out.Gauge("satchel_l1_objects", "Responses in L1.", static_cast<double>(l1.objects));
  out.Gauge("satchel_l1_body_files", "Bodies in L1 that lie in a file, to be sent uncopied.",
            static_cast<double>(l1.files));
  out.Counted("satchel_l1_body_files_refused_total",
              "Bodies that were to be laid in a file when there were enough, or none to be had.",
              static_cast<double>(l1.files_refused));
  out.Gauge("satchel_l1_fills", "Responses growing now.", static_cast<double>(l1.fills));
  out.Gauge("satchel_l1_uncacheable_keys", "Keys remembered as not cacheable.",
            static_cast<double>(l1.uncacheable));
  out.Gauge("satchel_l1_equivalents",
            "Responses known to answer other queries too (No-Vary-Search).",
            static_cast<double>(l1.equivalents));
  out.Counted("satchel_l1_equivalents_forgotten_total",
              "Of those, forgotten to make room for newer ones.", l1.equivalents_forgotten);
  out.Counted("satchel_l1_insertions_total", "Responses stored in L1.",
              static_cast<double>(l1.insertions));
  out.Counted("satchel_l1_evictions_total", "Responses removed from L1 to make room.",
              static_cast<double>(l1.evictions));
  out.Counted("satchel_l1_expirations_total", "Responses removed from L1 because of their age.",
              static_cast<double>(l1.expirations));
  out.Counted("satchel_l1_rejected_too_large_total", "Responses too large for L1.",
              static_cast<double>(l1.rejected_too_large));
  out.Counted("satchel_l1_invalidations_total", "Responses removed from L1 by invalidation.",
              static_cast<double>(l1.invalidations));

  out.Counted("satchel_fills_led_total", "Fetches that others could join.", &M::fills_led);
  out.Counted("satchel_fills_followed_total", "Requests that joined another's fetch.",
              &M::fills_followed);
  out.Counted("satchel_fills_promoted_total", "Followers that had to fetch themselves.",
              &M::fills_promoted);
  out.Counted("satchel_fills_failed_total", "Fills that ended without a response.",
              &M::fills_failed);
  out.Counted("satchel_refreshes_total", "Background refreshes begun.", &M::refreshes);
  out.Counted("satchel_early_refreshes_total", "Of these, before the response had expired.",
              &M::early_refreshes);

  out.Counted("satchel_fleet_locks_total",
              "Attempts to fetch for the whole fleet, by result, and what became of the locks.",
              "result", kLockResults, &M::fleet_locks);
  out.Counted("satchel_fleet_waits_total", "Fills that waited for another instance's fetch.",
              &M::fleet_waits);
  out.Counted("satchel_fleet_followed_total",
              "Of these, answered by what the other instance stored.", &M::fleet_followed);
  out.Counted("satchel_fleet_heirs_total", "Of these, that fetched in its place.", &M::fleet_heirs);
  out.Counted("satchel_fleet_let_downs_total",
              "Times the other instance's lock lapsed, or what it stored was not there.",
              &M::fleet_let_downs);
  out.Durations("satchel_fleet_wait_seconds", "Time waited for another instance's fetch.",
                &M::fleet_wait_duration);

  out.Gauge("satchel_redis_configured", "1 if a Redis is configured.", process.l2_configured);
  out.Gauge("satchel_redis_connections_up", "Workers whose connection to Redis works.",
            &M::redis_up);
  out.Gauge("satchel_redis_breaker_open", "Workers that do not ask Redis at the moment.",
            &M::redis_breaker_open);
  out.Counted("satchel_redis_reconnects_total", "Connections to Redis lost and opened again.",
              &M::redis_reconnects);
  out.Counted("satchel_redis_cluster_gave_up_total",
              "Calls redirected too often, and stores that met a slot on its way.",
              &M::redis_gave_up);
  out.Counted("satchel_redis_cluster_unserved_total", "Calls for a slot that nobody serves.",
              &M::redis_unserved);
  out.Counted("satchel_redis_cluster_cross_slot_total",
              "Calls whose keys lie in different slots: please report them.", &M::redis_cross_slot);
  out.Counted("satchel_redis_late_replies_total", "Replies that came after their deadline.",
              &M::redis_late_replies);
}

void WriteChecks(MetricWriter& out, const ProcessStatus& process) {
  out.Counted("satchel_rate_limit_checks_total", "Rate limit checks, by verdict.", "verdict",
              kLimitOutcomes, &M::limits);
  out.Durations("satchel_rate_limit_check_seconds", "Time of a rate limit check.",
                &M::limit_duration);
  out.Counted("satchel_rate_limit_redis_calls_total", "Calls of the limiter to Redis.",
              &M::limit_calls);
  out.Counted("satchel_rate_limit_saved_calls_total",
              "Checks without a call of their own: equal to another of the same turn, refused from "
              "memory, or by a slot taken ahead.",
              "by", kLimitSavings, &M::limit_saved);
  out.Counted("satchel_rate_limit_lease_lost_total", "Slots taken ahead that nobody used in time.",
              &M::limit_lease_lost);
  if (process.limits != nullptr) WriteLimits(out, *process.limits);
}

void WriteRest(MetricWriter& out, const ProcessStatus& process, size_t workers) {
  WriteChecks(out, process);
  out.Counted("satchel_bounds_hit_total", "Times something bounded was at its bound.", "bound",
              kBounds, &M::bounds);

  out.Counted("satchel_log_lines_total", "Access log lines made.", &M::log_lines);
  out.Counted("satchel_log_lines_truncated_total", "Of these, with strings cut to fit.",
              &M::log_truncated);
  out.Counted("satchel_log_lines_written_total", "Access log lines written.",
              static_cast<double>(process.log_lines_written));
  out.Counted("satchel_log_lines_dropped_total",
              "Access log lines lost because the output was slow, full or closed.",
              static_cast<double>(process.log_lines_dropped));
  out.Counted("satchel_log_write_errors_total", "Errors of the access log's output.",
              static_cast<double>(process.log_write_errors));

  out.Value(MetricType::Gauge, "satchel_build_info", "Always 1.", 1,
            {{"version", process.version}});
  out.Gauge("satchel_workers", "Worker threads.", static_cast<double>(workers));
  out.Gauge("satchel_ready", "1 if /readyz answers 200.", process.ready);
  out.Gauge("satchel_draining", "1 while shutting down.", process.draining);
  out.Gauge("satchel_config_generation", "Configurations applied since the start.",
            static_cast<double>(process.generation));
  out.Gauge("satchel_config_last_reload_successful", "0 if the last reload was refused.",
            process.last_reload_ok);
  out.Gauge("satchel_config_last_reload_success_timestamp_seconds",
            "When a configuration was last applied.", process.last_reload_time);
  out.Family(MetricType::Counter, "satchel_config_reloads_total", "Reloads, by result.");
  out.Series(static_cast<double>(process.reloads_ok), {{"result", "ok"}});
  out.Series(static_cast<double>(process.reloads_failed), {{"result", "refused"}});

  const ProcessInfo info = ReadProcessInfo();
  out.Gauge("process_resident_memory_bytes", "Resident memory size in bytes.",
            static_cast<double>(info.resident_bytes));
  out.Gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.",
            static_cast<double>(info.virtual_bytes));
  out.Gauge("process_open_fds", "Number of open file descriptors.",
            static_cast<double>(info.open_descriptors));
  out.Gauge("process_max_fds", "Maximum number of open file descriptors.",
            static_cast<double>(info.max_descriptors));
  out.Gauge("process_threads", "Number of threads.", static_cast<double>(info.threads));
  out.Counted("process_cpu_seconds_total", "User and system CPU time spent in seconds.",
              info.cpu_seconds);
  out.Gauge("process_start_time_seconds", "Start time in seconds since the epoch.",
            process.start_time);
}

}  // namespace

std::string_view OutcomeWord(Outcome outcome) {
  return WordOf(kOutcomes, static_cast<size_t>(outcome));
}
std::string_view L2ResultWord(L2Result result) {
  return WordOf(kL2Results, static_cast<size_t>(result));
}
std::string_view LockResultWord(LockResult result) {
  return WordOf(kLockResults, static_cast<size_t>(result));
}
std::string_view LimitOutcomeWord(LimitOutcome outcome) {
  return WordOf(kLimitOutcomes, static_cast<size_t>(outcome));
}
std::string_view UpstreamErrorWord(UpstreamError error) {
  return WordOf(kUpstreamErrors, static_cast<size_t>(error));
}
std::string_view BoundWord(Bound bound) { return WordOf(kBounds, static_cast<size_t>(bound)); }

MetricsRegistry::MetricsRegistry(std::vector<const WorkerMetrics*> workers,
                                 const cache::Store* store)
    : workers_(std::move(workers)), store_(store) {}

uint64_t MetricsRegistry::Sum(const Counter WorkerMetrics::*counter) const {
  uint64_t sum = 0;
  for (const WorkerMetrics* worker : workers_) sum += Read(worker->*counter);
  return sum;
}

std::vector<MetricFamily> MetricsRegistry::Collect(const ProcessStatus& process,
                                                   const std::vector<ServerStatus>& servers) const {
  std::vector<MetricFamily> families;
  families.reserve(96);
  MetricWriter out(families, workers_);
  WriteRequests(out, workers_);
  WriteClients(out);
  WriteUpstreams(out, servers);
  WriteStores(out, store_->stats(), process);
  WriteRedisNodes(out, workers_);
  WritePurges(out, process.purges);
  WriteSchedule(out, process.schedule);
  WriteWarm(out, process.warm);
  WriteRest(out, process, workers_.size());
  return families;
}

std::string MetricsRegistry::Text(const ProcessStatus& process,
                                  const std::vector<ServerStatus>& servers) const {
  std::ostringstream text;
  prometheus::TextSerializer().Serialize(text, Collect(process, servers));
  return std::move(text).str();
}

}  // namespace satchel::proxy
