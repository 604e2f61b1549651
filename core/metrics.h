// Prometheus metrics of the process. Names follow the Prometheus conventions (tombolo_…_total,
// …_seconds, …_bytes); labels are few and bounded: never an address, a pod or a user's text. Safe
// from every thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

namespace prometheus {
class Counter;
class Gauge;
class Histogram;
class Registry;
}  // namespace prometheus

namespace tombolo::metrics {

using Labels = std::map<std::string, std::string>;

class Counter {
 public:
  void increment(double by = 1) const;
  double value() const;

 private:
  friend Counter counter(const std::string&, const std::string&, const Labels&);
  explicit Counter(prometheus::Counter* counter) : counter_(counter) {}
  prometheus::Counter* counter_;
};

class Gauge {
 public:
  void set(double value) const;
  double value() const;

 private:
  friend Gauge gauge(const std::string&, const std::string&, const Labels&);
  explicit Gauge(prometheus::Gauge* gauge) : gauge_(gauge) {}
  prometheus::Gauge* gauge_;
};

class Histogram {
 public:
  void observe(double value) const;
  // The same as `times` calls with one value, for callers that sum up before they report.
  void observe_many(double value, std::uint64_t times) const;

 private:
  friend Histogram latency_histogram(const std::string&, const std::string&, const Labels&);
  explicit Histogram(prometheus::Histogram* histogram) : histogram_(histogram) {}
  prometheus::Histogram* histogram_;
};

// The same name and labels give the same metric: keep the returned handle, it is cheap to copy.
Counter counter(const std::string& name, const std::string& help, const Labels& labels = {});
Gauge gauge(const std::string& name, const std::string& help, const Labels& labels = {});
// Seconds, buckets from 10 us to 10 s.
Histogram latency_histogram(const std::string& name, const std::string& help,
                            const Labels& labels = {});

std::shared_ptr<prometheus::Registry> registry();

}  // namespace tombolo::metrics
