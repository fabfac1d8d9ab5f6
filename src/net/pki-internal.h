// SPDX-License-Identifier: Apache-2.0
/* For the tests: certificates of any time. */
#ifndef HF_NET_PKI_INTERNAL_H
#define HF_NET_PKI_INTERNAL_H

#include <time.h>

#include "net/pki.h"

struct hf_pki_request {
    const char *role;
    const char *name;
    const char *const *hosts;
    size_t host_count;
    time_t from;
    time_t until;
};

/* hf_pki_issue with a lifetime to choose. */
int hf_pki_issue_request(const char *dir, const struct hf_pki_request *request, const char *out_dir,
                         char *ret_error, size_t error_size);

#endif
