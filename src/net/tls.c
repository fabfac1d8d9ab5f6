// SPDX-License-Identifier: Apache-2.0
/* Credentials, and who the peer is: a certificate of our authority whose one URI names role and
 * name (SEC7). */
#include "net/net-internal.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/base.h"
#include "base/error.h"

#define FINGERPRINT_SIZE 32 /* SHA-256 */
#define DENY_LINE_MAX 256
#define SAN_MAX 64

static int check_key_file(const char *path, char *ret_error, size_t error_size)
{
    struct stat status;

    if (stat(path, &status) < 0) {
        int error = -errno;

        hf_net_say(ret_error, error_size, "%s: %s", path, hf_strerror(error));
        return error;
    }
    if (status.st_mode & 077) {
        hf_net_say(ret_error, error_size,
                   "%s: the private key can be read by others (mode %o): chmod 600", path,
                   (unsigned)(status.st_mode & 07777));
        return -EPERM;
    }
    return 0;
}

static int load_files(gnutls_certificate_credentials_t credentials,
                      const struct hf_tls_options *options, char *ret_error, size_t error_size)
{
    int result = gnutls_certificate_set_x509_trust_file(credentials, options->authority_file,
                                                        GNUTLS_X509_FMT_PEM);

    if (result <= 0) {
        hf_net_say(ret_error, error_size, "%s: %s", options->authority_file,
                   result == 0 ? "no certificate in it" : gnutls_strerror(result));
        return -HF_ECONFIG;
    }
    result = gnutls_certificate_set_x509_key_file2(credentials, options->certificate_file,
                                                   options->key_file, GNUTLS_X509_FMT_PEM, NULL, 0);
    if (result < 0) {
        hf_net_say(ret_error, error_size, "%s, %s: %s", options->certificate_file,
                   options->key_file, gnutls_strerror(result));
        return -HF_ECONFIG;
    }
    return 0;
}

int hf_tls_new(const struct hf_tls_options *options, struct hf_tls **ret_tls, char *ret_error,
               size_t error_size)
{
    struct hf_tls *tls;
    int error = check_key_file(options->key_file, ret_error, error_size);

    if (error)
        return error;
    tls = calloc(1, sizeof(*tls));
    if (!tls)
        return -ENOMEM;
    error = -ENOMEM;
    if (options->deny_file) {
        tls->deny_file = strdup(options->deny_file);
        if (!tls->deny_file)
            goto out;
    }
    if (gnutls_certificate_allocate_credentials(&tls->credentials) < 0)
        goto out;
    error = load_files(tls->credentials, options, ret_error, error_size);
    if (error)
        goto out;
    *ret_tls = tls;
    tls = NULL;
out:
    hf_tls_free(tls);
    return error;
}

void hf_tls_free(struct hf_tls *tls)
{
    if (!tls)
        return;
    if (tls->credentials)
        gnutls_certificate_free_credentials(tls->credentials);
    free(tls->deny_file);
    free(tls);
}

int64_t hf_tls_expires_s(const struct hf_tls *tls)
{
    gnutls_x509_crt_t *list = NULL;
    unsigned count = 0;
    int64_t expires = -EIO;

    if (gnutls_certificate_get_x509_crt(tls->credentials, 0, &list, &count) < 0)
        return -EIO;
    if (count > 0)
        expires = gnutls_x509_crt_get_expiration_time(list[0]);
    for (unsigned i = 0; i < count; i++)
        gnutls_x509_crt_deinit(list[i]);
    gnutls_free(list);
    return expires;
}

/* ---- The deny list: read anew for each handshake, so that a line added counts at once ---- */

/* Hex digits with or without colons; the rest of a line after '#' is a comment. false: malformed.
 */
static bool parse_line(const char *line, uint8_t *fingerprint, bool *ret_is_empty)
{
    size_t digits = 0;

    for (; *line && *line != '#'; line++) {
        int c = tolower((unsigned char)*line);
        int value = isdigit(c) ? c - '0' : c - 'a' + 10;

        if (isspace(c) || c == ':')
            continue;
        if (!isxdigit(c) || digits >= FINGERPRINT_SIZE * 2)
            return false;
        fingerprint[digits / 2] =
            (uint8_t)(digits % 2 ? fingerprint[digits / 2] | value : value << 4);
        digits++;
    }
    *ret_is_empty = digits == 0;
    return digits == 0 || digits == FINGERPRINT_SIZE * 2;
}

/* A list that cannot be read denies everybody: it may name just this one. */
static int check_deny_file(FILE *file, const uint8_t *wanted)
{
    char line[DENY_LINE_MAX];
    uint8_t fingerprint[FINGERPRINT_SIZE];

    for (int count = 0; fgets(line, sizeof(line), file); count++) {
        bool is_empty;

        if (count >= HF_NET_DENY_LINES_MAX || !parse_line(line, fingerprint, &is_empty))
            return -HF_ECONFIG;
        if (!is_empty && !memcmp(fingerprint, wanted, FINGERPRINT_SIZE))
            return -HF_EIDENTITY;
    }
    return ferror(file) ? -EIO : 0;
}

static int check_denied(const char *path, const gnutls_datum_t *certificate)
{
    uint8_t fingerprint[FINGERPRINT_SIZE];
    size_t size = sizeof(fingerprint);
    FILE *file;
    int error;

    if (!path)
        return 0;
    if (gnutls_fingerprint(GNUTLS_DIG_SHA256, certificate, fingerprint, &size) < 0)
        return -EIO;
    file = fopen(path, "re");
    if (!file)
        return -errno;
    error = check_deny_file(file, fingerprint);
    fclose(file);
    return error;
}

/* ---- Identity ---- */

static bool is_identity(const char *uri, size_t size)
{
    size_t prefix = strlen(HF_NET_SCHEME);
    const char *slash;

    if (size >= HF_NET_IDENTITY_MAX || size <= prefix || memcmp(uri, HF_NET_SCHEME, prefix) != 0 ||
        memchr(uri, '\0', size))
        return false;
    slash = memchr(uri + prefix, '/', size - prefix);
    return slash && slash > uri + prefix && slash + 1 < uri + size &&
           !memchr(slash + 1, '/', (size_t)(uri + size - slash - 1));
}

/* The one URI of our scheme; a certificate with two identities has none. */
static int read_identity(gnutls_x509_crt_t certificate, char *ret_identity)
{
    char text[HF_NET_IDENTITY_MAX];
    int found = 0;

    for (unsigned i = 0; i < SAN_MAX; i++) {
        size_t size = sizeof(text);
        int type = gnutls_x509_crt_get_subject_alt_name(certificate, i, text, &size, NULL);

        if (type == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
            break;
        if (type != GNUTLS_SAN_URI || !is_identity(text, size))
            continue;
        memcpy(ret_identity, text, size);
        ret_identity[size] = '\0';
        found++;
    }
    return found == 1 ? 0 : -HF_EIDENTITY;
}

static bool has_role(const char *identity, const char *role)
{
    const char *rest = identity + strlen(HF_NET_SCHEME);
    size_t size = role ? strlen(role) : 0;

    if (!role)
        return true;
    return !strncmp(rest, role, size) && rest[size] == (strchr(role, '/') ? '\0' : '/');
}

static int check_signature(gnutls_session_t session, bool peer_is_server, char *ret_error,
                           size_t error_size)
{
    const char *purpose = peer_is_server ? GNUTLS_KP_TLS_WWW_SERVER : GNUTLS_KP_TLS_WWW_CLIENT;
    gnutls_typed_vdata_st wanted = {.type = GNUTLS_DT_KEY_PURPOSE_OID,
                                    .data = (unsigned char *)(uintptr_t)purpose};
    gnutls_datum_t text = {0};
    unsigned status = 0;

    if (gnutls_certificate_verify_peers(session, &wanted, 1, &status) < 0) {
        hf_net_say(ret_error, error_size, "the peer has no certificate");
        return -HF_EIDENTITY;
    }
    if (status == 0)
        return 0;
    if (gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0) == 0)
        hf_net_say(ret_error, error_size, "the peer's certificate: %s", text.data);
    gnutls_free(text.data);
    return -HF_EIDENTITY;
}

static int check_certificate(struct hf_tls *tls, const gnutls_datum_t *raw, const char *role,
                             char *ret_identity, char *ret_error, size_t error_size)
{
    gnutls_x509_crt_t certificate;
    int error;

    if (gnutls_x509_crt_init(&certificate) < 0)
        return -ENOMEM;
    error = -HF_EIDENTITY;
    if (gnutls_x509_crt_import(certificate, raw, GNUTLS_X509_FMT_DER) < 0 ||
        read_identity(certificate, ret_identity) < 0)
        hf_net_say(ret_error, error_size, "the peer's certificate names no %s identity",
                   HF_NET_SCHEME);
    else if (!has_role(ret_identity, role))
        hf_net_say(ret_error, error_size, "the peer is %s, expected role %s", ret_identity, role);
    else
        error = 0;
    gnutls_x509_crt_deinit(certificate);
    if (error)
        return error;
    error = check_denied(tls->deny_file, raw);
    if (error == -HF_EIDENTITY)
        hf_net_say(ret_error, error_size, "the certificate of %s is denied", ret_identity);
    else if (error)
        hf_net_say(ret_error, error_size, "%s: %s", tls->deny_file, hf_strerror(error));
    return error ? -HF_EIDENTITY : 0;
}

int hf_tls_check_peer(struct hf_tls *tls, gnutls_session_t session, bool peer_is_server,
                      const char *role, char *ret_identity, char *ret_error, size_t error_size)
{
    const gnutls_datum_t *list;
    unsigned count = 0;
    int error;

    error = check_signature(session, peer_is_server, ret_error, error_size);
    if (error)
        return error;
    list = gnutls_certificate_get_peers(session, &count);
    if (!list || count == 0)
        return -HF_EIDENTITY;
    return check_certificate(tls, &list[0], role, ret_identity, ret_error, error_size);
}

int hf_conn_check_denied(struct hf_conn *conn)
{
    const gnutls_datum_t *list;
    unsigned count = 0;
    int error = -HF_EIDENTITY;

    pthread_mutex_lock(&conn->lock);
    list = gnutls_certificate_get_peers(conn->session, &count);
    if (list && count > 0)
        error = check_denied(conn->tls->deny_file, &list[0]);
    pthread_mutex_unlock(&conn->lock);
    return error;
}
