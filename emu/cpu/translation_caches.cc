// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/translation_caches.h"

namespace nestor::emu {

namespace {

using ept::Access;
using ept::CachedMapping;
using ept::Invalidation;
using ept::MappingTag;

enum class Verdict : uint8_t { kPermitted, kNeedsDirtyFlag, kRefusedByPaging, kRefusedByEpt };

Verdict judge(const CachedMapping& mapping, Access access, const ept::PagingState& paging,
              const ept::EptState* ept) {
  if (!ept::permits(mapping.rights, paging, access)) return Verdict::kRefusedByPaging;
  if (ept != nullptr &&
      !ept::permits(mapping.ept_rights, *ept, ept::final_access(access, mapping.rights))) {
    return Verdict::kRefusedByEpt;
  }
  const bool needs_walk = access.kind == Access::kWrite && !mapping.dirty;
  return needs_walk ? Verdict::kNeedsDirtyFlag : Verdict::kPermitted;
}

CachedMapping mapping_of(const MappingTag& tag, uint64_t linear, unsigned size_bits, bool global) {
  CachedMapping mapping;
  mapping.key.tag = tag;
  mapping.key.global = global;
  mapping.key.size_bits = static_cast<uint8_t>(size_bits);
  mapping.key.input = ept::LinearAddress{linear}.page_base(size_bits).value;
  return mapping;
}

}  // namespace

CachedMapping* TranslationCaches::find(const MappingTag& tag, uint64_t linear, Access access,
                                       const ept::PagingState& paging, const ept::EptState* ept) {
  CachedMapping* found = cache_.find_translation(tag, linear);
  const Verdict verdict =
      found == nullptr ? Verdict::kNeedsDirtyFlag : judge(*found, access, paging, ept);
  switch (verdict) {
    case Verdict::kPermitted:
      ++counts_.hits;
      return found;
    case Verdict::kRefusedByPaging:
      drop_page_fault(tag, linear);
      break;
    case Verdict::kRefusedByEpt:
      drop_ept_violation(tag, linear, found->guest_physical | found->offset(linear), true);
      break;
    case Verdict::kNeedsDirtyFlag:
      break;
  }
  ++counts_.misses;
  return nullptr;
}

const CachedMapping* TranslationCaches::peek(const MappingTag& tag, uint64_t linear, Access access,
                                             const ept::PagingState& paging,
                                             const ept::EptState* ept) {
  const CachedMapping* found = cache_.find_translation(tag, linear);
  if (found == nullptr || judge(*found, access, paging, ept) != Verdict::kPermitted) return nullptr;
  return found;
}

CachedMapping& TranslationCaches::keep(const MappingTag& tag, uint64_t linear, const Nested& walk,
                                       bool global) {
  CachedMapping mapping = mapping_of(tag, linear, walk.page_bits, global);
  mapping.output = walk.address.page_base(walk.page_bits).value;
  mapping.guest_physical = walk.guest_physical.page_base(walk.page_bits).value;
  mapping.rights = walk.rights;
  mapping.ept_rights = walk.ept_rights;
  mapping.dirty = walk.dirty;
  return *cache_.insert(mapping);
}

CachedMapping& TranslationCaches::keep(const MappingTag& tag, uint64_t linear, const Linear& walk,
                                       bool global) {
  CachedMapping mapping = mapping_of(tag, linear, walk.page_bits, global);
  mapping.output = walk.address.page_base(walk.page_bits).value;
  mapping.rights = walk.rights;
  mapping.dirty = walk.dirty;
  return *cache_.insert(mapping);
}

bool TranslationCaches::drop_after_fault(const MappingTag& tag, uint64_t linear,
                                         const Nested& walk) {
  switch (walk.outcome) {
    case ept::NestedOutcome::kTranslated:
    case ept::NestedOutcome::kUnreachable:
      return false;
    case ept::NestedOutcome::kPageFault:
      drop_page_fault(tag, linear);
      return true;
    default:
      drop_ept_violation(tag, linear, walk.guest_physical.value, walk.linear_translated);
      return true;
  }
}

bool TranslationCaches::drop_after_fault(const MappingTag& tag, uint64_t linear,
                                         const Linear& walk) {
  if (walk.outcome != ept::LinearOutcome::kPageFault) return false;
  drop_page_fault(tag, linear);
  return true;
}

void TranslationCaches::drop_page_fault(const MappingTag& tag, uint64_t linear) {
  Invalidation what;
  what.kind = Invalidation::Kind::kPageFault;
  what.vpid = tag.vpid;
  what.pcid = tag.pcid;
  what.linear = linear;
  invalidate(what);
}

void TranslationCaches::drop_ept_violation(const MappingTag& tag, uint64_t linear,
                                           uint64_t guest_physical, bool linear_translated) {
  Invalidation what;
  what.kind = Invalidation::Kind::kEptViolation;
  what.vpid = tag.vpid;
  what.pcid = tag.pcid;
  what.eptp = tag.ept_root;
  what.linear = linear;
  what.linear_translated = linear_translated;
  what.guest_physical = guest_physical;
  invalidate(what);
}

}  // namespace nestor::emu
