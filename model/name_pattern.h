// Patterns of parameters' names. Pure.
// Source: docs/training.md, "Parameter groups".
#ifndef PENSTOCK_MODEL_NAME_PATTERN_H_
#define PENSTOCK_MODEL_NAME_PATTERN_H_

#include <string>

namespace penstock {

// Whether a pattern fits the whole name: * is any text, dots too, ? a character, [...] one of several.
bool FitsPattern(const std::string& pattern, const std::string& name);

}  // namespace penstock

#endif  // PENSTOCK_MODEL_NAME_PATTERN_H_
