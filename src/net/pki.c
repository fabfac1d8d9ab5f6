// SPDX-License-Identifier: Apache-2.0
/* A small authority: see pki.h. */
#include "net/pki-internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gnutls/crypto.h>

#include "base/base.h"
#include "base/error.h"
#include "net/net-internal.h"

#define PEM_SIZE_MAX (64 * 1024)
#define SERIAL_SIZE 16
#define KEY_ID_SIZE 20
#define DAY_S 86400
#define CLOCK_SKEW_S 300 /* a certificate counts a little earlier than it was made */
#define ROLE_MAX 32

struct pair {
    gnutls_x509_crt_t certificate;
    gnutls_x509_privkey_t key;
};

static void pair_done(struct pair *pair)
{
    if (pair->certificate)
        gnutls_x509_crt_deinit(pair->certificate);
    if (pair->key)
        gnutls_x509_privkey_deinit(pair->key);
}

static int translate(int code)
{
    if (code >= 0)
        return 0;
    return code == GNUTLS_E_MEMORY_ERROR ? -ENOMEM : -EIO;
}

static int pair_init(struct pair *pair)
{
    memset(pair, 0, sizeof(*pair));
    if (gnutls_x509_crt_init(&pair->certificate) < 0 || gnutls_x509_privkey_init(&pair->key) < 0)
        return -ENOMEM;
    return 0;
}

/* ---- Files ---- */

static int path_join(char *path, const char *dir, const char *name)
{
    int size = snprintf(path, PATH_MAX, "%s/%s", dir, name);

    return size < 0 || size >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static int make_dir(const char *dir)
{
    return mkdir(dir, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

static int write_all(int fd, const void *data, size_t size)
{
    const char *bytes = data;

    while (size > 0) {
        ssize_t written = write(fd, bytes, size);

        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return -errno;
        bytes += written;
        size -= (size_t)written;
    }
    return fsync(fd) < 0 ? -errno : 0;
}

static int sync_dir(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), error = 0;

    if (fd < 0)
        return -errno;
    if (fsync(fd) < 0)
        error = -errno;
    close(fd);
    return error;
}

/* Whole or not at all: a new file takes the old one's name. */
static int write_file(const char *dir, const char *name, const gnutls_datum_t *data, mode_t mode)
{
    char path[PATH_MAX], fresh[PATH_MAX];
    int fd, error;

    if (path_join(path, dir, name) < 0 || snprintf(fresh, PATH_MAX, "%s.new", path) >= PATH_MAX)
        return -ENAMETOOLONG;
    if (unlink(fresh) < 0 && errno != ENOENT) /* what a crash left */
        return -errno;
    fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0)
        return -errno;
    error = fchmod(fd, mode) < 0 ? -errno : write_all(fd, data->data, data->size);
    close(fd);
    if (!error && rename(fresh, path) < 0)
        error = -errno;
    if (error)
        unlink(fresh);
    return error ? error : sync_dir(dir);
}

static int read_file(const char *dir, const char *name, gnutls_datum_t *ret_data)
{
    char path[PATH_MAX];
    struct stat status;
    int code;

    if (path_join(path, dir, name) < 0)
        return -ENAMETOOLONG;
    if (stat(path, &status) < 0)
        return -errno;
    if (status.st_size > PEM_SIZE_MAX)
        return -HF_ETOOBIG;
    code = gnutls_load_file(path, ret_data);
    return code < 0 ? -EIO : 0;
}

static int write_certificate(const char *dir, const char *name, gnutls_x509_crt_t certificate)
{
    gnutls_datum_t pem = {0};
    int error = translate(gnutls_x509_crt_export2(certificate, GNUTLS_X509_FMT_PEM, &pem));

    if (!error)
        error = write_file(dir, name, &pem, 0644);
    gnutls_free(pem.data);
    return error;
}

static int write_key(const char *dir, const char *name, gnutls_x509_privkey_t key)
{
    gnutls_datum_t pem = {0};
    int error = translate(
        gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN, &pem));

    if (!error)
        error = write_file(dir, name, &pem, 0600);
    if (pem.data)
        gnutls_memset(pem.data, 0, pem.size);
    gnutls_free(pem.data);
    return error;
}

static int read_pair(const char *dir, struct pair *pair)
{
    gnutls_datum_t certificate = {0}, key = {0};
    int error = read_file(dir, HF_PKI_AUTHORITY_CERTIFICATE, &certificate);

    if (!error)
        error = read_file(dir, HF_PKI_AUTHORITY_KEY, &key);
    if (!error &&
        (gnutls_x509_crt_import(pair->certificate, &certificate, GNUTLS_X509_FMT_PEM) < 0 ||
         gnutls_x509_privkey_import2(pair->key, &key, GNUTLS_X509_FMT_PEM, NULL, 0) < 0))
        error = -HF_ECORRUPT;
    if (key.data)
        gnutls_memset(key.data, 0, key.size);
    gnutls_free(key.data);
    gnutls_free(certificate.data);
    return error;
}

/* ---- Certificates ---- */

static bool is_name(const char *name, size_t size_max)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789._-";
    size_t size = strspn(name, allowed);

    return size > 0 && size <= size_max && name[size] == '\0';
}

/* What every certificate of ours has. */
static int set_common(struct pair *pair, const char *common_name, time_t from, time_t until)
{
    gnutls_x509_crt_t certificate = pair->certificate;
    uint8_t serial[SERIAL_SIZE] = {0}, key_id[KEY_ID_SIZE];
    size_t key_id_size = sizeof(key_id);
    int code;

    code = gnutls_x509_privkey_generate2(
        pair->key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0, NULL, 0);
    if (code >= 0)
        code = gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof(serial));
    serial[0] = (uint8_t)((serial[0] & 0x7f) | 0x40); /* positive, and of full length */
    if (code >= 0)
        code = gnutls_x509_crt_set_version(certificate, 3);
    if (code >= 0)
        code = gnutls_x509_crt_set_key(certificate, pair->key);
    if (code >= 0)
        code = gnutls_x509_crt_set_serial(certificate, serial, sizeof(serial));
    if (code >= 0)
        code = gnutls_x509_crt_set_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0,
                                             common_name, (unsigned)strlen(common_name));
    if (code >= 0)
        code = gnutls_x509_crt_set_activation_time(certificate, from);
    if (code >= 0)
        code = gnutls_x509_crt_set_expiration_time(certificate, until);
    if (code >= 0)
        code = gnutls_x509_crt_get_key_id(certificate, GNUTLS_KEYID_USE_SHA1, key_id, &key_id_size);
    if (code >= 0)
        code = gnutls_x509_crt_set_subject_key_id(certificate, key_id, key_id_size);
    return translate(code);
}

static int sign(struct pair *pair, const struct pair *authority)
{
    return translate(gnutls_x509_crt_sign2(pair->certificate, authority->certificate,
                                           authority->key, GNUTLS_DIG_SHA256, 0));
}

static int make_authority(struct pair *pair, const char *name)
{
    time_t now = time(NULL);
    int error = set_common(pair, name, now - CLOCK_SKEW_S, now + (time_t)HF_PKI_DAYS_MAX * DAY_S);

    if (!error)
        error = translate(gnutls_x509_crt_set_basic_constraints(pair->certificate, 1, 0));
    if (!error)
        error = translate(gnutls_x509_crt_set_key_usage(
            pair->certificate, GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN));
    return error ? error : sign(pair, pair);
}

int hf_pki_init(const char *dir, const char *name, char *ret_error, size_t error_size)
{
    char path[PATH_MAX];
    struct pair pair = {0};
    int error;

    if (!is_name(name, HF_PKI_NAME_MAX)) {
        hf_net_say(ret_error, error_size, "\"%s\" is not a name: letters, digits, '.', '_', '-'",
                   name);
        return -EINVAL;
    }
    error = make_dir(dir);
    if (!error)
        error = path_join(path, dir, HF_PKI_AUTHORITY_KEY);
    if (!error && access(path, F_OK) == 0)
        error = -EEXIST;
    if (!error)
        error = pair_init(&pair);
    if (!error)
        error = make_authority(&pair, name);
    if (!error)
        error = write_key(dir, HF_PKI_AUTHORITY_KEY, pair.key);
    if (!error)
        error = write_certificate(dir, HF_PKI_AUTHORITY_CERTIFICATE, pair.certificate);
    if (error)
        hf_net_say(ret_error, error_size, "%s: %s", dir,
                   error == -EEXIST ? "an authority is here already" : hf_strerror(error));
    pair_done(&pair);
    return error;
}

static int add_alternative(struct pair *pair, gnutls_x509_subject_alt_name_t type, const void *data,
                           size_t size)
{
    return translate(gnutls_x509_crt_set_subject_alt_name(pair->certificate, type, data,
                                                          (unsigned)size, GNUTLS_FSAN_APPEND));
}

static int add_host(struct pair *pair, const char *host)
{
    uint8_t address[sizeof(struct in6_addr)];

    if (inet_pton(AF_INET, host, address) == 1)
        return add_alternative(pair, GNUTLS_SAN_IPADDRESS, address, sizeof(struct in_addr));
    if (inet_pton(AF_INET6, host, address) == 1)
        return add_alternative(pair, GNUTLS_SAN_IPADDRESS, address, sizeof(struct in6_addr));
    return is_name(host, HF_PKI_NAME_MAX)
               ? add_alternative(pair, GNUTLS_SAN_DNSNAME, host, strlen(host))
               : -EINVAL;
}

/* Roles are exchanged at failback: each may dial and be dialled. What it may do says its URI. */
static int set_purposes(struct pair *pair)
{
    int code = gnutls_x509_crt_set_key_purpose_oid(pair->certificate, GNUTLS_KP_TLS_WWW_SERVER, 0);

    if (code >= 0)
        code = gnutls_x509_crt_set_key_purpose_oid(pair->certificate, GNUTLS_KP_TLS_WWW_CLIENT, 0);
    if (code >= 0)
        code = gnutls_x509_crt_set_key_usage(pair->certificate, GNUTLS_KEY_DIGITAL_SIGNATURE);
    if (code >= 0)
        code = gnutls_x509_crt_set_basic_constraints(pair->certificate, 0, -1);
    return translate(code);
}

static int make_certificate(struct pair *pair, const struct hf_pki_request *request)
{
    char uri[HF_NET_IDENTITY_MAX];
    int size = snprintf(uri, sizeof(uri), HF_NET_SCHEME "%s/%s", request->role, request->name);
    int error = set_common(pair, request->name, request->from, request->until);

    HF_ASSERT(size > 0 && (size_t)size < sizeof(uri));
    if (!error)
        error = add_alternative(pair, GNUTLS_SAN_URI, uri, (size_t)size);
    for (size_t i = 0; i < request->host_count && !error; i++)
        error = add_host(pair, request->hosts[i]);
    return error ? error : set_purposes(pair);
}

static int write_issued(const char *out_dir, const struct pair *pair, const struct pair *authority)
{
    int error = make_dir(out_dir);

    if (!error)
        error = write_key(out_dir, HF_PKI_KEY, pair->key);
    if (!error)
        error = write_certificate(out_dir, HF_PKI_CERTIFICATE, pair->certificate);
    if (!error)
        error = write_certificate(out_dir, HF_PKI_AUTHORITY_CERTIFICATE, authority->certificate);
    return error;
}

int hf_pki_issue_request(const char *dir, const struct hf_pki_request *request, const char *out_dir,
                         char *ret_error, size_t error_size)
{
    struct pair authority = {0}, pair = {0};
    int error = pair_init(&authority);

    if (!error)
        error = pair_init(&pair);
    if (!error)
        error = read_pair(dir, &authority);
    if (error)
        hf_net_say(ret_error, error_size, "authority in %s: %s", dir, hf_strerror(error));
    if (!error)
        error = make_certificate(&pair, request);
    if (!error)
        error = sign(&pair, &authority);
    if (!error) {
        error = write_issued(out_dir, &pair, &authority);
        if (error)
            hf_net_say(ret_error, error_size, "%s: %s", out_dir, hf_strerror(error));
    }
    pair_done(&pair);
    pair_done(&authority);
    return error;
}

int hf_pki_issue(const char *dir, const char *role, const char *name, const char *const *hosts,
                 size_t host_count, int days, const char *out_dir, char *ret_error,
                 size_t error_size)
{
    time_t now = time(NULL);
    struct hf_pki_request request = {
        .role = role,
        .name = name,
        .hosts = hosts,
        .host_count = host_count,
        .from = now - CLOCK_SKEW_S,
        .until = now + (time_t)days * DAY_S,
    };
    int error;

    if (!is_name(role, ROLE_MAX) || !is_name(name, HF_PKI_NAME_MAX) || days < 1 ||
        days > HF_PKI_DAYS_MAX || host_count > HF_PKI_HOSTS_MAX) {
        hf_net_say(ret_error, error_size,
                   "role and name are letters, digits, '.', '_', '-'; days 1 .. %d; hosts at most "
                   "%d",
                   HF_PKI_DAYS_MAX, HF_PKI_HOSTS_MAX);
        return -EINVAL;
    }
    if (ret_error && error_size > 0)
        ret_error[0] = '\0';
    error = hf_pki_issue_request(dir, &request, out_dir, ret_error, error_size);
    if (error && ret_error && error_size > 0 && !ret_error[0])
        hf_net_say(ret_error, error_size, "%s/%s: %s", role, name, hf_strerror(error));
    return error;
}
