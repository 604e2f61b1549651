// metav1.LabelSelector: apimachinery's validation, then one sorted list of requirements, so that
// selectors that say the same are the same. Pure.
#include "policy/languages/selector.h"

#include <algorithm>

#include "core/names.h"

namespace tombolo::policy {
namespace {

Result<void> parse_match_labels(const Cursor& at, LabelSelector& out) {
  TRY(labels, at.string_map());
  if (labels.size() > kMaxListLength)
    return at.error(
        fmt::format("has {} labels, at most {} are read", labels.size(), kMaxListLength));
  for (const auto& [key, value] : labels) {
    if (!is_label_key(key))
      return at[key].error(fmt::format("'{}' is not a label key", key.substr(0, 80)));
    if (!is_label_value(value))
      return at[key].error(fmt::format("'{}' is not a label value", value.substr(0, 80)));
    out.requirements.push_back({key, LabelOperator::kIn, {value}});
  }
  return {};
}

Result<LabelOperator> parse_operator(const Cursor& at) {
  TRY(text, at.string());
  if (text == "In") return LabelOperator::kIn;
  if (text == "NotIn") return LabelOperator::kNotIn;
  if (text == "Exists") return LabelOperator::kExists;
  if (text == "DoesNotExist") return LabelOperator::kDoesNotExist;
  return at.error(
      fmt::format("'{}' is not one of In, NotIn, Exists, DoesNotExist", text.substr(0, 80)));
}

Result<LabelRequirement> parse_requirement(const Cursor& at) {
  TRY_OK(at.expect_object());
  TRY_OK(at.only({"key", "operator", "values"}));
  LabelRequirement result;
  TRY(key, at["key"].string());
  if (!is_label_key(key))
    return at["key"].error(fmt::format("'{}' is not a label key", key.substr(0, 80)));
  TRY(op, parse_operator(at["operator"]));
  Cursor values_at = at["values"];
  TRY_OK(expect_list(values_at));
  TRY(values, values_at.string_list());
  bool takes_values = op == LabelOperator::kIn || op == LabelOperator::kNotIn;
  if (takes_values && values.empty()) return at.error("In and NotIn need at least one value");
  if (!takes_values && !values.empty())
    return values_at.error("Exists and DoesNotExist take no values");
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!is_label_value(values[i]))
      return values_at.at(i).error(
          fmt::format("'{}' is not a label value", values[i].substr(0, 80)));
  std::ranges::sort(values);
  values.erase(std::ranges::unique(values).begin(), values.end());
  result.key = std::move(key);
  result.op = op;
  result.values = std::move(values);
  return result;
}

}  // namespace

Result<void> expect_list(const Cursor& at) {
  if (at.is_null()) return {};
  TRY_OK(at.expect_array());
  if (at.size() > kMaxListLength)
    return at.error(fmt::format("has {} entries, at most {} are read", at.size(), kMaxListLength));
  return {};
}

Result<LabelSelector> parse_selector(const Cursor& at) {
  LabelSelector result;
  if (at.is_null()) return result;
  TRY_OK(at.expect_object());
  TRY_OK(at.only({"matchLabels", "matchExpressions"}));
  TRY_OK(parse_match_labels(at["matchLabels"], result));
  Cursor expressions = at["matchExpressions"];
  TRY_OK(expect_list(expressions));
  for (std::size_t i = 0; i < expressions.size(); ++i) {
    Cursor expression = expressions.at(i);
    TRY(requirement, parse_requirement(expression));
    result.requirements.push_back(std::move(requirement));
  }
  std::ranges::sort(result.requirements);
  result.requirements.erase(std::ranges::unique(result.requirements).begin(),
                            result.requirements.end());
  return result;
}

}  // namespace tombolo::policy
