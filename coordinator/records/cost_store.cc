#include "coordinator/records/cost_store.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/file.h"
#include "common/logging.h"
#include "common/status_macros.h"

namespace penstock {
namespace {

constexpr int kSchemaVersion = 1;

// `value` is a MeasuredCosts that holds what the key names and nothing else.
constexpr char kSchema[] = R"sql(
  CREATE TABLE IF NOT EXISTS costs(
    device TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    unix_ms INTEGER NOT NULL,
    PRIMARY KEY(device, key)) WITHOUT ROWID;
)sql";

// Of one layer and one micro-batch: an hour. Of anything, in bytes: a pebibyte.
constexpr double kMostUs = 3.6e9;
constexpr double kMostBytes = 1125899906842624.0;

std::string PathOf(const std::string& state_dir) { return JoinPath(state_dir, "costs.db"); }

}  // namespace

absl::Status CheckMeasured(const v1::MeasuredCosts& costs) {
  const auto check = [](absl::string_view what, absl::string_view figure, double value, double most) -> absl::Status {
    if (value >= 0 && value <= most) return absl::OkStatus();  // NaN is not
    return absl::InternalError(absl::StrCat(what, ": ", figure, " was measured as ", value,
                                            ", which cannot be; nothing of this measurement is kept"));
  };
  for (const v1::MeasuredLayer& layer : costs.layers()) {
    const std::string what = absl::StrCat("layer ", layer.layer());
    PENSTOCK_RETURN_IF_ERROR(check(what, "its forward pass, in microseconds,", layer.forward_us(), kMostUs));
    PENSTOCK_RETURN_IF_ERROR(check(what, "its input gradient, in microseconds,", layer.input_gradient_us(), kMostUs));
    PENSTOCK_RETURN_IF_ERROR(check(what, "its weight gradient, in microseconds,", layer.weight_gradient_us(), kMostUs));
    for (const uint64_t bytes : {layer.activation_bytes(), layer.deferred_bytes(), layer.working_bytes()}) {
      PENSTOCK_RETURN_IF_ERROR(check(what, "what it keeps, in bytes,", static_cast<double>(bytes), kMostBytes));
    }
  }
  PENSTOCK_RETURN_IF_ERROR(check("the update", "its bytes a microsecond", costs.update_bytes_per_us(), kMostBytes));
  PENSTOCK_RETURN_IF_ERROR(check("the link", "its latency, in microseconds,", costs.link_latency_us(), kMostUs));
  return check("the link", "its bytes a microsecond", costs.link_bytes_per_us(), kMostBytes);
}

absl::StatusOr<std::unique_ptr<CostStore>> CostStore::Open(const std::string& state_dir) {
  PENSTOCK_RETURN_IF_ERROR(MakeDirs(state_dir));
  PENSTOCK_ASSIGN_OR_RETURN(SqliteDatabase database, SqliteDatabase::Open(PathOf(state_dir)));
  std::unique_ptr<CostStore> store(new CostStore(std::move(database)));
  PENSTOCK_RETURN_IF_ERROR(Annotate(store->Prepare(), PathOf(state_dir)));
  return store;
}

absl::StatusOr<std::unique_ptr<CostStore>> CostStore::OpenExisting(const std::string& state_dir) {
  if (!FileExists(PathOf(state_dir))) return nullptr;
  return Open(state_dir);
}

absl::Status CostStore::Prepare() {
  absl::MutexLock lock(&mu_);
  // Another process may be writing: milliseconds.
  PENSTOCK_RETURN_IF_ERROR(database_.Exec("PRAGMA busy_timeout=5000; PRAGMA journal_mode=WAL;"));
  int64_t version = 0;
  {
    PENSTOCK_ASSIGN_OR_RETURN(SqliteStatement read, database_.Prepare("PRAGMA user_version"));
    PENSTOCK_ASSIGN_OR_RETURN(const bool row, read.Step());
    if (row) version = read.Int(0);
  }
  if (version > kSchemaVersion) {
    return absl::FailedPreconditionError(absl::StrCat("the store of measured costs has version ", version,
                                                      ", this Penstock reads up to ", kSchemaVersion,
                                                      ": remove the file, and measure again"));
  }
  if (version == kSchemaVersion) return absl::OkStatus();
  PENSTOCK_ASSIGN_OR_RETURN(const auto transaction, SqliteTransaction::Begin(&database_));
  PENSTOCK_RETURN_IF_ERROR(database_.Exec(kSchema));
  PENSTOCK_RETURN_IF_ERROR(database_.Exec(absl::StrCat("PRAGMA user_version=", kSchemaVersion)));
  return transaction->Commit();
}

absl::Status CostStore::Put(const CostKeys& keys, const v1::MeasuredCosts& costs, absl::Time now) {
  if (static_cast<int>(keys.layers.size()) != costs.layers_size()) {
    return absl::InternalError(absl::StrCat(costs.layers_size(), " measured layers for ", keys.layers.size(), " keys"));
  }
  PENSTOCK_RETURN_IF_ERROR(CheckMeasured(costs));
  absl::MutexLock lock(&mu_);
  PENSTOCK_ASSIGN_OR_RETURN(const auto transaction, SqliteTransaction::Begin(&database_));
  for (int i = 0; i < costs.layers_size(); ++i) {
    v1::MeasuredCosts one;
    *one.add_layers() = costs.layers(i);
    PENSTOCK_RETURN_IF_ERROR(PutOne(costs.device(), keys.layers[i], one, now));
  }
  if (costs.update_bytes_per_us() > 0) {
    v1::MeasuredCosts one;
    one.set_update_bytes_per_us(costs.update_bytes_per_us());
    PENSTOCK_RETURN_IF_ERROR(PutOne(costs.device(), keys.update, one, now));
  }
  if (costs.link_bytes_per_us() > 0) {
    v1::MeasuredCosts one;
    one.set_link_latency_us(costs.link_latency_us());
    one.set_link_bytes_per_us(costs.link_bytes_per_us());
    PENSTOCK_RETURN_IF_ERROR(PutOne(costs.device(), keys.link, one, now));
  }
  return transaction->Commit();
}

absl::Status CostStore::PutOne(const std::string& device, const std::string& key, const v1::MeasuredCosts& value,
                               absl::Time now) {
  PENSTOCK_ASSIGN_OR_RETURN(
      SqliteStatement put,
      database_.Prepare("INSERT OR REPLACE INTO costs(device, key, value, unix_ms) VALUES(?1, ?2, ?3, ?4)"));
  put.BindText(1, device).BindText(2, key).BindBlob(3, value.SerializeAsString()).Bind(4, absl::ToUnixMillis(now));
  return put.Run();
}

absl::StatusOr<std::optional<v1::MeasuredCosts>> CostStore::FindOne(const std::string& device, const std::string& key) {
  PENSTOCK_ASSIGN_OR_RETURN(SqliteStatement find,
                            database_.Prepare("SELECT value, unix_ms FROM costs WHERE device = ?1 AND key = ?2"));
  find.BindText(1, device).BindText(2, key);
  PENSTOCK_ASSIGN_OR_RETURN(const bool row, find.Step());
  if (!row) return std::nullopt;
  v1::MeasuredCosts value;
  if (!value.ParseFromString(find.Text(0)) || !CheckMeasured(value).ok()) {
    LOG(WARNING) << "the measured cost of " << key << " is damaged: it counts as not measured";
    return std::nullopt;
  }
  for (v1::MeasuredLayer& layer : *value.mutable_layers()) layer.set_unix_ms(find.Int(1));
  return value;
}

absl::StatusOr<std::optional<v1::MeasuredCosts>> CostStore::Find(const std::string& device, const CostKeys& keys,
                                                                 const std::vector<std::string>& names) {
  absl::MutexLock lock(&mu_);
  v1::MeasuredCosts costs;
  costs.set_device(device);
  for (size_t i = 0; i < keys.layers.size(); ++i) {
    PENSTOCK_ASSIGN_OR_RETURN(const std::optional<v1::MeasuredCosts> found, FindOne(device, keys.layers[i]));
    if (!found.has_value() || found->layers_size() != 1) return std::nullopt;
    v1::MeasuredLayer* layer = costs.add_layers();
    *layer = found->layers(0);
    layer->set_layer(names[i]);  // it was measured under another layer's name, perhaps
  }
  PENSTOCK_RETURN_IF_ERROR(AddRates(device, keys, &costs));
  return costs;
}

absl::Status CostStore::AddRates(const std::string& device, const CostKeys& keys, v1::MeasuredCosts* costs) {
  PENSTOCK_ASSIGN_OR_RETURN(const std::optional<v1::MeasuredCosts> update, FindOne(device, keys.update));
  if (update.has_value()) costs->set_update_bytes_per_us(update->update_bytes_per_us());
  PENSTOCK_ASSIGN_OR_RETURN(const std::optional<v1::MeasuredCosts> link, FindOne(device, keys.link));
  if (link.has_value()) {
    costs->set_link_latency_us(link->link_latency_us());
    costs->set_link_bytes_per_us(link->link_bytes_per_us());
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::MeasuredCosts> CostStore::Rates(const std::string& device, const CostKeys& keys) {
  absl::MutexLock lock(&mu_);
  v1::MeasuredCosts costs;
  costs.set_device(device);
  PENSTOCK_RETURN_IF_ERROR(AddRates(device, keys, &costs));
  return costs;
}

absl::StatusOr<std::vector<bool>> CostStore::Known(const std::string& device, const CostKeys& keys) {
  absl::MutexLock lock(&mu_);
  std::vector<bool> known;
  for (const std::string& key : keys.layers) {
    PENSTOCK_ASSIGN_OR_RETURN(const std::optional<v1::MeasuredCosts> found, FindOne(device, key));
    known.push_back(found.has_value() && found->layers_size() == 1);
  }
  return known;
}

absl::StatusOr<std::vector<std::string>> CostStore::Devices() {
  absl::MutexLock lock(&mu_);
  PENSTOCK_ASSIGN_OR_RETURN(
      SqliteStatement read,
      database_.Prepare(
          "SELECT device, MAX(unix_ms) AS latest FROM costs GROUP BY device ORDER BY latest DESC, device"));
  std::vector<std::string> devices;
  while (true) {
    PENSTOCK_ASSIGN_OR_RETURN(const bool row, read.Step());
    if (!row) return devices;
    devices.push_back(read.Text(0));
  }
}

}  // namespace penstock
