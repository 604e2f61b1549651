// CSV (RFC 4180, but with bare line feeds) for spreadsheets and scripts, and Markdown for wikis.
#include "ipamd/export/internal.h"

namespace tombolo::exports {
namespace {

using Row = std::vector<std::string>;

const Row kHeader{"cluster", "id",   "region",   "cloud",  "use",
                  "family",  "cidr", "per_node", "origin", "zone"};

std::string per_node(const PlannedRange& range) {
  return range.node_prefix_length > 0 ? fmt::format("{}", range.node_prefix_length) : "";
}

Row row_of(const PlannedCluster* cluster, const PlannedRange& range) {
  Row row{"", "", "", ""};
  if (cluster != nullptr)
    row = {cluster->name, cluster->id == 0 ? "" : fmt::format("{}", cluster->id), cluster->region,
           std::string(to_string(cluster->cloud))};
  for (std::string_view text : {to_string(range.use), to_string(range.prefix.family())})
    row.emplace_back(text);
  row.push_back(range.prefix.str());
  row.push_back(per_node(range));
  row.emplace_back(to_string(range.origin));
  row.emplace_back();
  return row;
}

Row row_of(const PlannedCluster& cluster, const Subnet& subnet) {
  Row row = row_of(&cluster, {BlockUse::kUnderlay, subnet.prefix, 0, {}});
  row[4] = subnet.is_public ? "public-subnet" : "private-subnet";
  row[8].clear();
  row[9] = subnet.zone;
  return row;
}

std::vector<Row> rows_of(const Job& job) {
  std::vector<Row> rows;
  for (const PlannedCluster& cluster : job.plan.clusters)
    if (job.cluster == nullptr || job.cluster == &cluster) {
      for (const PlannedRange& range : cluster.ranges) rows.push_back(row_of(&cluster, range));
      for (const Subnet& subnet : cluster.subnets) rows.push_back(row_of(cluster, subnet));
    }
  for (const PlannedRange& range : job.plan.clusterset) rows.push_back(row_of(nullptr, range));
  return rows;
}

// A spreadsheet takes what begins like a formula for one: a quote in front keeps it a text.
std::string csv_cell(const std::string& text) {
  if (text.empty()) return text;
  bool formula = std::string_view("=+-@\t\r").find(text.front()) != std::string_view::npos;
  std::string plain = formula ? "'" + text : text;
  if (plain.find_first_of(",\"\r\n") == std::string::npos) return plain;
  std::string quoted = "\"";
  for (char character : plain) quoted += character == '"' ? "\"\"" : std::string(1, character);
  return quoted + "\"";
}

std::string csv_line(const Row& row) {
  std::string line;
  for (std::size_t i = 0; i < row.size(); ++i) line += (i > 0 ? "," : "") + csv_cell(row[i]);
  return line + "\n";
}

std::string markdown_cell(std::string_view text) {
  std::string cell;
  for (char character : text) {
    if (std::string_view("\\|`*_<>[]#").find(character) != std::string_view::npos) cell += '\\';
    cell += character == '\n' || character == '\r' ? ' ' : character;
  }
  return cell.empty() ? "-" : cell;
}

std::string markdown_line(const Row& row) {
  std::string line = "|";
  for (const std::string& text : row) line += " " + markdown_cell(text) + " |";
  return line + "\n";
}

std::string markdown_table(const Row& header, const std::vector<Row>& rows) {
  std::string text = markdown_line(header) + "|";
  for (std::size_t i = 0; i < header.size(); ++i) text += " --- |";
  text += "\n";
  for (const Row& row : rows) text += markdown_line(row);
  return text;
}

}  // namespace

Result<std::string> csv(const Job& job) {
  std::string text = csv_line(kHeader);
  for (const Row& row : rows_of(job)) text += csv_line(row);
  for (const PlannedReserve& range : job.plan.reserved)
    text += csv_line({"", "", "", "", "reserved", std::string(to_string(range.prefix.family())),
                      range.prefix.str(), "", range.note, ""});
  return text;
}

Result<std::string> markdown(const Job& job) {
  std::string text = fmt::format("# Addresses of the fleet {}\n\n", job.plan.fleet);
  text += markdown_table(kHeader, rows_of(job));
  std::vector<Row> routes;
  for (const RegionSummary& summary : region_summaries(job.plan))
    routes.push_back(
        {summary.region, std::string(to_string(summary.family)), joined(summary.prefixes, ", ")});
  text += "\n## Routes per region\n\n" + markdown_table({"region", "family", "routes"}, routes);
  if (job.plan.reserved.empty()) return text;
  std::vector<Row> reserved;
  for (const PlannedReserve& range : job.plan.reserved)
    reserved.push_back({range.prefix.str(), range.note});
  return text + "\n## Reserved\n\n" + markdown_table({"cidr", "note"}, reserved);
}

}  // namespace tombolo::exports
