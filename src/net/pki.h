// SPDX-License-Identifier: Apache-2.0
/*
 * Certificates until the vault exists: an authority in a directory, and certificates signed by it.
 * Keys are EC P-256, written with mode 0600 and never overwritten in place. Blocking; any thread,
 * one at a time for each directory.
 */
#ifndef HF_NET_PKI_H
#define HF_NET_PKI_H

#include <stddef.h>

#define HF_PKI_AUTHORITY_CERTIFICATE "ca.pem"
#define HF_PKI_AUTHORITY_KEY "ca-key.pem"
#define HF_PKI_CERTIFICATE "cert.pem"
#define HF_PKI_KEY "key.pem"
#define HF_PKI_DAYS_MAX 3650
#define HF_PKI_HOSTS_MAX 16
#define HF_PKI_NAME_MAX 128

/*
 * Makes an authority called `name` in `dir` (made with mode 0700 when missing): ca.pem and
 * ca-key.pem, valid for ten years. -EEXIST when one is there already; -EINVAL for a name that is
 * not 1 .. HF_PKI_NAME_MAX letters, digits, '.', '_', '-'; other errno. ret_error (may be NULL)
 * gets a line for people.
 */
int hf_pki_init(const char *dir, const char *name, char *ret_error, size_t error_size);

/*
 * Signs a certificate for holdfast://role/name with the authority in `dir` and writes cert.pem,
 * key.pem and a copy of ca.pem into out_dir (made with mode 0700 when missing), each replaced as a
 * whole. `hosts`: host_count DNS names or IP addresses for other TLS clients to check. days: 1 ..
 * HF_PKI_DAYS_MAX. -EINVAL, -ENOENT (no authority), other errno.
 */
int hf_pki_issue(const char *dir, const char *role, const char *name, const char *const *hosts,
                 size_t host_count, int days, const char *out_dir, char *ret_error,
                 size_t error_size);

#endif
