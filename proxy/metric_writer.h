#pragma once

#include <prometheus/metric_family.h>

#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/metrics.h"

namespace satchel::proxy {

template <size_t N>
using Words = std::array<std::string_view, N>;

// Collects families; each call adds one.
class MetricWriter {
  using ClientMetric = prometheus::ClientMetric;
  using Label = ClientMetric::Label;
  using MetricType = prometheus::MetricType;

 public:
  MetricWriter(std::vector<prometheus::MetricFamily>& out, const std::vector<const WorkerMetrics*>& workers)
      : out_(out), workers_(workers) {}

  void Value(MetricType type, std::string name, std::string help, double value,
             std::vector<Label> labels = {}) {
    Family(type, std::move(name), std::move(help));
    Series(value, std::move(labels));
  }
  void Gauge(std::string name, std::string help, double value) {
    Value(MetricType::Gauge, std::move(name), std::move(help), value);
  }
  void Counted(std::string name, std::string help, double value) {
    Value(MetricType::Counter, std::move(name), std::move(help), value);
  }
  void Gauge(std::string name, std::string help, const Counter WorkerMetrics::*counter) {
    Gauge(std::move(name), std::move(help), Sum(counter));
  }
  void Counted(std::string name, std::string help, const Counter WorkerMetrics::*counter) {
    Counted(std::move(name), std::move(help), Sum(counter));
  }

  template <size_t N>
  void Counted(std::string name, std::string help, const char* label, const Words<N>& words,
               const std::array<Counter, N> WorkerMetrics::*counters) {
    Family(MetricType::Counter, std::move(name), std::move(help));
    AddSeries(label, words, counters, {});
  }

  // More series of the family last begun.
  template <size_t N>
  void AddSeries(const char* label, const Words<N>& words,
                 const std::array<Counter, N> WorkerMetrics::*counters,
                 const std::vector<Label>& more) {
    for (size_t i = 0; i < N; ++i) {
      double sum = 0;
      for (const WorkerMetrics* worker : workers_) {
        sum += static_cast<double>(Read((worker->*counters)[i]));
      }
      std::vector<Label> labels = more;
      labels.push_back({label, std::string(words[i])});
      Series(sum, std::move(labels));
    }
  }

  void Durations(std::string name, std::string help, const Histogram WorkerMetrics::*histogram) {
    Family(MetricType::Histogram, std::move(name), std::move(help));
    ClientMetric metric;
    uint64_t count = 0;
    double sum = 0;
    for (size_t bucket = 0; bucket < Histogram::kBuckets; ++bucket) {
      for (const WorkerMetrics* worker : workers_) count += (worker->*histogram).bucket(bucket);
      if (bucket + 1 == Histogram::kBuckets) break;  // the serializer writes +Inf
      metric.histogram.bucket.push_back(
          {count, static_cast<double>(Histogram::UpperBound(bucket)) / 1e6});
    }
    for (const WorkerMetrics* worker : workers_) {
      sum += static_cast<double>((worker->*histogram).sum_micros()) / 1e6;
    }
    metric.histogram.sample_count = count;
    metric.histogram.sample_sum = sum;
    out_.back().metric.push_back(std::move(metric));
  }

  void Family(MetricType type, std::string name, std::string help) {
    prometheus::MetricFamily family;
    family.type = type;
    family.name = std::move(name);
    family.help = std::move(help);
    out_.push_back(std::move(family));
  }
  void Series(double value, std::vector<Label> labels) {
    ClientMetric metric;
    metric.label = std::move(labels);
    if (out_.back().type == MetricType::Counter) {
      metric.counter.value = value;
    } else {
      metric.gauge.value = value;
    }
    out_.back().metric.push_back(std::move(metric));
  }
  double Sum(const Counter WorkerMetrics::*counter) const {
    double sum = 0;
    for (const WorkerMetrics* worker : workers_) sum += static_cast<double>(Read(worker->*counter));
    return sum;
  }

 private:
  std::vector<prometheus::MetricFamily>& out_;
  const std::vector<const WorkerMetrics*>& workers_;
};

// What instances share: Redis servers, purges, limits (metrics_fleet.cc).
void WriteRedisNodes(MetricWriter& out, const std::vector<const WorkerMetrics*>& workers);
void WritePurges(MetricWriter& out, const PurgeStatus& purges);
void WriteSchedule(MetricWriter& out, const ScheduleStatus& schedule);
// metrics_warm.cc
void WriteWarm(MetricWriter& out, const WarmStatus& warm);
void WriteLimits(MetricWriter& out, const SharedLimits& limits);

}  // namespace satchel::proxy
