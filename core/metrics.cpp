// prometheus-cpp behind the handles.
#include "core/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <algorithm>

namespace tombolo::metrics {
namespace {

const prometheus::Histogram::BucketBoundaries& latency_buckets() {
  static const prometheus::Histogram::BucketBoundaries buckets{
      1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1, 3, 10};
  return buckets;
}

}  // namespace

std::shared_ptr<prometheus::Registry> registry() {
  static auto registry = std::make_shared<prometheus::Registry>();
  return registry;
}

void Counter::increment(double by) const {
  counter_->Increment(by);
}
double Counter::value() const {
  return counter_->Value();
}
void Gauge::set(double value) const {
  gauge_->Set(value);
}
double Gauge::value() const {
  return gauge_->Value();
}
void Histogram::observe(double value) const {
  histogram_->Observe(value);
}

void Histogram::observe_many(double value, std::uint64_t times) const {
  std::vector<double> increments(latency_buckets().size() + 1);
  auto bucket = std::ranges::lower_bound(latency_buckets(), value) - latency_buckets().begin();
  increments[static_cast<std::size_t>(bucket)] = static_cast<double>(times);
  histogram_->ObserveMultiple(increments, value * static_cast<double>(times));
}

Counter counter(const std::string& name, const std::string& help, const Labels& labels) {
  return Counter(
      &prometheus::BuildCounter().Name(name).Help(help).Register(*registry()).Add(labels));
}

Gauge gauge(const std::string& name, const std::string& help, const Labels& labels) {
  return Gauge(&prometheus::BuildGauge().Name(name).Help(help).Register(*registry()).Add(labels));
}

Histogram latency_histogram(const std::string& name, const std::string& help,
                            const Labels& labels) {
  return Histogram(&prometheus::BuildHistogram()
                        .Name(name)
                        .Help(help)
                        .Register(*registry())
                        .Add(labels, latency_buckets()));
}

}  // namespace tombolo::metrics
