#include "worker/torch/torch_guard.h"

#include <new>

#include "common/status_macros.h"
#include "worker/torch/torch.h"

namespace penstock {

absl::Status RunTorch(absl::FunctionRef<std::string()> where, absl::FunctionRef<absl::Status()> body) {
  try {
    const c10::InferenceMode no_gradients;
    const absl::Status status = body();
    return status.ok() ? status : Annotate(status, where());
  } catch (const c10::OutOfMemoryError& e) {
    return absl::ResourceExhaustedError(absl::StrCat(where(), ": ", e.what_without_backtrace()));
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(absl::StrCat(where(), ": the host is out of memory"));
  } catch (const c10::Error& e) {
    return absl::InternalError(absl::StrCat(where(), ": torch: ", e.what_without_backtrace()));
  } catch (const std::exception& e) {
    return absl::InternalError(absl::StrCat(where(), ": ", e.what()));
  }
}

}  // namespace penstock
