// The search for the fewest summary routes. Each region has options: so many blocks, of such sizes.
// First the knapsack by space alone, which is exact for free blocks of one size (one root without
// holes) and a bound otherwise; then, over free blocks of several sizes, the same layer by layer
// with the space taken of each size, keeping what nothing else dominates.
#include "ipamd/plan/optimum.h"

#include <algorithm>
#include <limits>

#include "core/error.h"
#include "ipamd/plan/covers.h"

namespace tombolo {
namespace {

constexpr std::size_t kMostStates = 4'000;    // of one layer
constexpr std::size_t kMostOptions = 256;     // of one region
constexpr std::uint32_t kMostExtra = 4'096;   // routes beyond each region's fewest
constexpr std::size_t kMostWork = 3'000'000;  // options looked at, over all layers
constexpr std::size_t kMostCovers = 255;      // of one region
constexpr uint128 kNever = ~uint128{0};

struct Option {
  std::uint32_t routes = 0;
  Sizes blocks;
  Sizes taken;                // blocks, and the unrouted requests that lie outside them
  std::vector<uint128> used;  // space taken of the i largest sizes of free blocks and up
};

// The distinct sizes of free blocks, the largest first, and the space in blocks of at least each.
struct Classes {
  std::vector<int> exponents;
  std::vector<uint128> room;
  explicit Classes(const Sizes& supply) {
    uint128 sum = 0;
    for (int at = 127; at >= 0; --at) {
      std::uint32_t count = supply.count[static_cast<std::size_t>(at)];
      if (count == 0) continue;
      sum += uint128{count} << at;
      exponents.push_back(at);
      room.push_back(sum);
    }
  }
  // What `taken` must find in the blocks of each size and the larger ones: what is too large for
  // the next smaller size.
  std::vector<uint128> used_by(const Sizes& taken) const {
    std::vector<uint128> used(exponents.size());
    uint128 sum = 0;
    std::size_t at_class = 0;
    for (int at = 127; at >= 0 && at_class < used.size(); --at) {
      while (at_class + 1 < used.size() && at <= exponents[at_class + 1]) used[at_class++] = sum;
      sum += uint128{taken.count[static_cast<std::size_t>(at)]} << at;
    }
    for (; at_class < used.size(); ++at_class) used[at_class] = sum;
    return used;
  }
};

bool at_most(const std::vector<uint128>& a, const std::vector<uint128>& b) {
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a[i] > b[i]) return false;
  return true;
}

class Search {
 public:
  Search(const std::vector<RegionDemand>& regions, const Sizes& shared, const Sizes& supply)
      : regions_(regions), shared_(shared), supply_(supply), classes_(supply) {}

  Optimum run() {
    Optimum result;
    result.feasible = everything_fits();
    if (!result.feasible) return result;
    for (const RegionDemand& region : regions_) {
      options_.push_back(whole_options(region));
      if (options_.back().empty()) return in_pieces();
      fewest_ += options_.back().front().routes;
    }
    auto by_space = by_space_alone();
    if (!by_space) return in_pieces();
    result.bound = by_space->routes;
    result.reason = by_space->routes == fewest_
                        ? "each region has as few routes as it could have alone"
                        : "fewer routes would cover more space than there is";
    if (std::uint32_t least = fewest_by_cover(); least > result.bound) {
      result.bound = least;
      result.reason = "fewer of the largest free blocks have no room for the routed ranges";
    }
    if (fits(by_space->taken, supply_)) {
      result.routes = by_space->routes;
      result.blocks = std::move(by_space->blocks);
      return result;
    }
    for (std::uint32_t most = result.bound - fewest_; most <= kMostExtra && complete_; ++most) {
      auto found = by_layers(most, false);
      if (!found) continue;
      result.routes = found->routes;
      result.blocks = std::move(found->blocks);
      raise_bound(result);
      result.exact = result.routes == result.bound;
      return result;
    }
    Optimum pieces = in_pieces();
    pieces.bound = std::max(pieces.bound, result.bound);
    if (pieces.bound == result.bound) pieces.reason = result.reason;
    pieces.exact = pieces.routes == pieces.bound;
    return pieces;
  }

 private:
  struct State {
    std::vector<uint128> used;
    std::size_t parent = 0;  // in the layer before
    std::uint32_t parent_extra = 0;
    const Option* option = nullptr;
  };
  using Layer = std::vector<std::vector<State>>;  // by extra routes

  bool everything_fits() const {
    Sizes all = shared_;
    for (const RegionDemand& region : regions_) {
      all.add(region.routed);
      all.add(region.unrouted);
    }
    return fits(all, supply_);
  }

  // Each route lies in one free block, so that many routes have at most the space of as many of
  // the largest blocks.
  std::uint32_t fewest_by_cover() const {
    uint128 demand = 0;
    for (const RegionDemand& region : regions_) demand += region.routed.total();
    std::uint32_t routes = 0;
    for (int at = 127; at >= 0 && demand > 0; --at) {
      uint128 wanted = (demand + (uint128{1} << at) - 1) >> at;
      uint128 here = std::min<uint128>(wanted, supply_.count[static_cast<std::size_t>(at)]);
      routes += static_cast<std::uint32_t>(here);
      demand -= std::min(demand, here << at);
    }
    return routes;
  }

  std::optional<Option> option_of(const RegionDemand& region, Sizes blocks) const {
    Option option;
    option.routes = blocks.number();
    option.blocks = blocks;
    option.taken = blocks;
    if (!pack(region.routed, blocks).empty()) return std::nullopt;
    option.taken.add(pack(region.unrouted, blocks));
    option.used = classes_.used_by(option.taken);
    return option;
  }

  // The covers of a region, those that waste less than the ones with fewer blocks.
  std::vector<Option> whole_options(const RegionDemand& region) const {
    std::vector<Option> options;
    if (region.routed.empty()) {
      options.push_back(*option_of(region, {}));
      return options;
    }
    for (const Cover& cover : least_covers(region, supply_.largest()))
      if (auto option = option_of(region, cover.blocks); option && options.size() < kMostCovers)
        options.push_back(std::move(*option));
    return options;
  }

  struct Found {
    std::uint32_t routes = 0;
    std::vector<Sizes> blocks;
    Sizes taken;
  };

  // The fewest routes for which the space suffices; every option is as in whole_options, whose
  // space no other choice of as many blocks undercuts.
  std::optional<Found> by_space_alone() const {
    for (std::uint32_t most = 0; most <= kMostExtra; most = most * 2 + 1) {
      std::vector<uint128> least(most + 1, shared_.total());
      std::vector<std::vector<std::uint8_t>> chosen;  // per region and extra routes: which option
      for (const auto& options : options_) {
        std::vector<uint128> next(most + 1, kNever);
        std::vector<std::uint8_t> choice(most + 1, 0);
        for (std::uint32_t extra = 0; extra <= most; ++extra)
          for (std::size_t i = 0; i < options.size(); ++i) {
            std::uint32_t more = options[i].routes - options.front().routes;
            if (more > extra || least[extra - more] == kNever) continue;
            uint128 space = least[extra - more] + options[i].taken.total();
            if (space >= next[extra]) continue;
            next[extra] = space;
            choice[extra] = static_cast<std::uint8_t>(i);
          }
        least = std::move(next);
        chosen.push_back(std::move(choice));
      }
      for (std::uint32_t extra = 0; extra <= most; ++extra)
        if (least[extra] <= supply_.total()) return chosen_blocks(chosen, extra);
    }
    return std::nullopt;
  }

  Found chosen_blocks(const std::vector<std::vector<std::uint8_t>>& chosen,
                      std::uint32_t extra) const {
    Found found{fewest_ + extra, std::vector<Sizes>(regions_.size()), shared_};
    for (std::size_t i = regions_.size(); i > 0; --i) {
      const Option& option = options_[i - 1][chosen[i - 1][extra]];
      found.blocks[i - 1] = option.blocks;
      found.taken.add(option.taken);
      extra -= option.routes - options_[i - 1].front().routes;
    }
    return found;
  }

  // Fewer routes than found are impossible when they are even where services need no block of their
  // own size, only space: then every choice of blocks is among those that are tried.
  void raise_bound(Optimum& result) {
    while (result.bound < result.routes && complete_) {
      bool possible = by_layers(result.bound - fewest_, true).has_value();
      if (possible || !complete_) return;
      ++result.bound;
      result.reason = "every choice of fewer blocks was tried against the free blocks";
    }
  }

  // A cover of the routed ranges alone, with the space that as many blocks take at least.
  std::optional<Option> relaxed_option(std::size_t index, const Sizes& blocks) const {
    const RegionDemand& region = regions_[index];
    if (!fits(region.routed, blocks)) return std::nullopt;
    Option option;
    option.routes = blocks.number();
    option.blocks = blocks;
    option.used = classes_.used_by(blocks);
    option.used.back() = kNever;
    for (const Option& whole : options_[index])
      if (whole.routes <= option.routes) option.used.back() = whole.taken.total();
    if (option.used.back() == kNever) return std::nullopt;
    return option;
  }

  // The options, and those that halve some of their blocks, with at most `most` routes beyond the
  // region's fewest. What another option undercuts in every size is left out.
  std::vector<Option> split_options(std::size_t index, std::uint32_t most, bool relaxed) {
    const RegionDemand& region = regions_[index];
    std::uint32_t limit = options_[index].front().routes + most;
    std::vector<Sizes> whole;
    if (!relaxed || region.routed.empty())
      for (const Option& option : options_[index]) whole.push_back(option.blocks);
    // Services need not be inside: smaller blocks of the routed ranges alone may be what fits.
    if (!region.routed.empty())
      for (const Cover& cover : least_covers({region.routed, {}}, supply_.largest()))
        if (std::ranges::find(whole, cover.blocks) == whole.end()) whole.push_back(cover.blocks);
    std::vector<Option> kept;
    auto consider = [&](Option option) {
      for (const Option& other : kept)
        if (other.routes <= option.routes && at_most(other.used, option.used)) return;
      if (at_most(option.used, classes_.room)) kept.push_back(std::move(option));
    };
    std::vector<Sizes> level;
    for (std::uint32_t routes = 0; routes <= limit; ++routes) {
      for (const Sizes& blocks : whole)
        if (blocks.number() == routes) level.push_back(blocks);
      std::vector<Sizes> next;
      for (const Sizes& blocks : level) {
        if (!work()) return kept;
        auto option = relaxed ? relaxed_option(index, blocks) : option_of(region, blocks);
        if (option) consider(std::move(*option));
        for (int at = blocks.largest(); at > 0; --at) {
          if (blocks.count[static_cast<std::size_t>(at)] == 0) continue;
          Sizes halved = blocks;
          --halved.count[static_cast<std::size_t>(at)];
          halved.add(at - 1, 2);
          if (std::ranges::find(next, halved) == next.end()) next.push_back(halved);
        }
      }
      if (next.size() > kMostOptions || kept.size() > kMostOptions) {
        complete_ = false;
        next.resize(std::min(next.size(), kMostOptions));
      }
      level = std::move(next);
      if (classes_.exponents.size() < 2) level.clear();  // halves gain nothing
    }
    return kept;
  }

  // False when the work that is allowed is used up; the search then proves nothing more.
  bool work() {
    if (++work_ > kMostWork) complete_ = false;
    return complete_;
  }

  // The least space that the regions from each on take, by extra routes.
  std::vector<std::vector<uint128>> least_after(std::uint32_t most) const {
    std::vector<std::vector<uint128>> least(regions_.size() + 1, std::vector<uint128>(most + 1, 0));
    for (std::size_t i = regions_.size(); i > 0; --i)
      for (std::uint32_t extra = 0; extra <= most; ++extra) {
        uint128 best = kNever;
        for (const Option& option : options_[i - 1]) {
          std::uint32_t more = option.routes - options_[i - 1].front().routes;
          if (more <= extra) best = std::min(best, least[i][extra - more] + option.taken.total());
        }
        least[i - 1][extra] = best;
      }
    return least;
  }

  void extend(const Layer& before, const std::vector<Option>& options, std::uint32_t fewest,
              const std::vector<uint128>& least, Layer& after) {
    for (std::uint32_t extra = 0; extra < before.size(); ++extra)
      for (std::size_t i = 0; i < before[extra].size(); ++i)
        for (const Option& option : options) {
          std::uint32_t sum = extra + option.routes - fewest;
          if (sum >= after.size()) continue;
          if (!work()) return;
          State state{before[extra][i].used, i, extra, &option};
          for (std::size_t j = 0; j < state.used.size(); ++j) state.used[j] += option.used[j];
          if (!at_most(state.used, classes_.room)) continue;
          if (state.used.back() + least[after.size() - 1 - sum] > classes_.room.back()) continue;
          auto& states = after[sum];
          work_ += states.size() / 8;
          if (std::ranges::any_of(states, [&](auto& s) { return at_most(s.used, state.used); }))
            continue;
          std::erase_if(states, [&](auto& s) { return at_most(state.used, s.used); });
          if (states.size() < kMostStates)
            states.push_back(std::move(state));
          else
            complete_ = false;
        }
  }

  std::optional<Found> by_layers(std::uint32_t most, bool relaxed) {
    std::vector<std::vector<Option>> all;
    for (std::size_t i = 0; i < regions_.size(); ++i)
      if (complete_) all.push_back(split_options(i, most, relaxed));
    auto least = least_after(most);
    std::vector<Layer> layers(1, Layer(most + 1));
    layers[0][0].push_back({classes_.used_by(shared_), 0, 0, nullptr});
    for (std::size_t i = 0; i < all.size() && complete_; ++i) {
      Layer next(most + 1);
      extend(layers.back(), all[i], options_[i].front().routes, least[i + 1], next);
      layers.push_back(std::move(next));
    }
    if (!complete_) return std::nullopt;
    for (std::uint32_t extra = 0; extra <= most; ++extra) {
      if (layers.back()[extra].empty()) continue;
      Found found{fewest_ + extra, std::vector<Sizes>(regions_.size()), {}};
      std::uint32_t at_extra = extra;
      std::size_t index = 0;
      for (std::size_t i = regions_.size(); i > 0; --i) {
        const State& state = layers[i][at_extra][index];
        found.blocks[i - 1] = state.option->blocks;
        at_extra = state.parent_extra;
        index = state.parent;
      }
      return found;
    }
    return std::nullopt;
  }

  // The way out that always exists when everything fits: every routed request for itself, then
  // regions joined into fewer blocks as long as that fits.
  Optimum in_pieces() {
    Optimum result;
    result.feasible = true;
    Sizes all = shared_;
    std::vector<Sizes> taken;
    for (const RegionDemand& region : regions_) {
      result.blocks.push_back(region.routed);
      Sizes mine = region.routed;
      mine.add(region.unrouted);
      taken.push_back(mine);
      all.add(mine);
      result.bound += region.routed.empty() ? 0 : 1;
    }
    for (std::size_t i = 0; i < regions_.size(); ++i)
      for (const Option& option : whole_options(regions_[i])) {
        if (option.routes >= result.blocks[i].number()) continue;
        Sizes with = all;
        for (std::size_t at = 0; at < with.count.size(); ++at)
          with.count[at] = with.count[at] - taken[i].count[at] + option.taken.count[at];
        if (!fits(with, supply_)) continue;
        all = with;
        taken[i] = option.taken;
        result.blocks[i] = option.blocks;
      }
    for (const Sizes& blocks : result.blocks) result.routes += blocks.number();
    result.reason = "each region needs one route at least";
    result.exact = result.routes == result.bound;
    return result;
  }

  const std::vector<RegionDemand>& regions_;
  const Sizes& shared_;
  const Sizes& supply_;
  Classes classes_;
  std::vector<std::vector<Option>> options_;
  std::uint32_t fewest_ = 0;
  std::size_t work_ = 0;
  bool complete_ = true;  // no limit was met
};

}  // namespace

Optimum fewest_routes(const std::vector<RegionDemand>& regions, const Sizes& shared,
                      const Sizes& supply) {
  return Search(regions, shared, supply).run();
}

}  // namespace tombolo
