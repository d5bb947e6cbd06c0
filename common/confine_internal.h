/* SPDX-License-Identifier: Apache-2.0 */
/* What the confine files share: whether this build has a sanitizer, which needs what is taken away.
 */
#ifndef TX_COMMON_CONFINE_INTERNAL_H
#define TX_COMMON_CONFINE_INTERNAL_H

#if defined(__SANITIZE_ADDRESS__)
#define CONFINE_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CONFINE_SANITIZED 1
#endif
#endif
#ifndef CONFINE_SANITIZED
#define CONFINE_SANITIZED 0
#endif

#endif
