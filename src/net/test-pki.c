// SPDX-License-Identifier: Apache-2.0
/* Certificates until the vault exists. */
#include "base/test-support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gnutls/x509.h>

#include "base/base.h"
#include "base/error.h"
#include "net/net-test.h"
#include "net/pki.h"

static struct hf_test_pki pki;
static char dir[128], out_dir[128], error[256];

static int setup(void **state)
{
    hf_test_pki_new(&pki);
    snprintf(dir, sizeof(dir), "%s/ca", pki.dir);
    snprintf(out_dir, sizeof(out_dir), "%s/out", pki.dir);
    return 0;
}

static int teardown(void **state)
{
    hf_test_pki_remove(&pki);
    return 0;
}

static unsigned mode_of(const char *in, const char *name)
{
    char path[256];
    struct stat status;

    snprintf(path, sizeof(path), "%s/%s", in, name);
    assert_int_equal(stat(path, &status), 0);
    return status.st_mode & 0777;
}

static void keys_are_for_their_owner_only(void **state)
{
    mode_t old = umask(0);

    assert_int_equal(mode_of(dir, "ca-key.pem"), 0600);
    assert_int_equal(mode_of(pki.dir, "ca"), 0700);
    assert_int_equal(hf_pki_issue(dir, "agent", "db1", NULL, 0, 30, out_dir, error, 256), 0);
    assert_int_equal(mode_of(out_dir, "key.pem"), 0600);
    assert_int_equal(mode_of(out_dir, "cert.pem"), 0644);
    assert_int_equal(mode_of(out_dir, "ca.pem"), 0644);
    assert_int_equal(mode_of(pki.dir, "out"), 0700);
    umask(old);
}

static void authority_is_never_replaced(void **state)
{
    assert_int_equal(hf_pki_init(dir, "again", error, sizeof(error)), -EEXIST);
    assert_non_null(strstr(error, "already"));
}

static void names_that_could_be_something_else_are_refused(void **state)
{
    static const char *const bad[] = {"", "a/b", "a b", "a\n", "ä", "a,CN=b"};

    for (size_t i = 0; i < HF_ARRAY_COUNT(bad); i++) {
        assert_int_equal(hf_pki_init(out_dir, bad[i], error, sizeof(error)), -EINVAL);
        assert_int_equal(hf_pki_issue(dir, bad[i], "x", NULL, 0, 1, out_dir, error, 256), -EINVAL);
        assert_int_equal(hf_pki_issue(dir, "agent", bad[i], NULL, 0, 1, out_dir, NULL, 0), -EINVAL);
        assert_int_equal(hf_pki_issue(dir, "agent", "x", &bad[i], 1, 1, out_dir, error, 256),
                         -EINVAL);
    }
    assert_int_equal(hf_pki_issue(dir, "agent", "x", NULL, 0, 0, out_dir, error, 256), -EINVAL);
    assert_int_equal(hf_pki_issue(dir, "agent", "x", NULL, 0, 3651, out_dir, error, 256), -EINVAL);
    assert_true(error[0] != '\0');
}

static void issuing_without_an_authority_says_so(void **state)
{
    char nowhere[128];

    snprintf(nowhere, sizeof(nowhere), "%s/nowhere", pki.dir);
    assert_int_equal(hf_pki_issue(nowhere, "agent", "x", NULL, 0, 1, out_dir, error, 256), -ENOENT);
    assert_non_null(strstr(error, "nowhere"));
}

static gnutls_x509_crt_t load(const char *name)
{
    gnutls_x509_crt_t certificate;
    gnutls_datum_t data;
    char path[256];

    snprintf(path, sizeof(path), "%s/%s", out_dir, name);
    assert_int_equal(gnutls_load_file(path, &data), 0);
    assert_int_equal(gnutls_x509_crt_init(&certificate), 0);
    assert_int_equal(gnutls_x509_crt_import(certificate, &data, GNUTLS_X509_FMT_PEM), 0);
    gnutls_free(data.data);
    return certificate;
}

static void certificate_says_who_where_and_how_long(void **state)
{
    static const char *const hosts[] = {"target.example", "192.0.2.7", "2001:db8::7"};
    static const int types[] = {GNUTLS_SAN_URI, GNUTLS_SAN_DNSNAME, GNUTLS_SAN_IPADDRESS,
                                GNUTLS_SAN_IPADDRESS};
    gnutls_x509_crt_t certificate, authority;
    char text[256];
    size_t size;
    time_t until;

    assert_int_equal(hf_pki_issue(dir, "target", "t-1", hosts, 3, 30, out_dir, error, 256), 0);
    certificate = load("cert.pem");
    authority = load("ca.pem");
    for (unsigned i = 0; i < HF_ARRAY_COUNT(types); i++) {
        size = sizeof(text);
        assert_int_equal(gnutls_x509_crt_get_subject_alt_name(certificate, i, text, &size, NULL),
                         types[i]);
        if (i == 0)
            assert_memory_equal(text, "holdfast://target/t-1", size);
        if (i == 1)
            assert_memory_equal(text, "target.example", size);
    }
    until = gnutls_x509_crt_get_expiration_time(certificate) - time(NULL);
    assert_in_range(until, 30 * 86400 - 60, 30 * 86400);
    assert_true(gnutls_x509_crt_check_issuer(certificate, authority));
    assert_int_equal(gnutls_x509_crt_get_ca_status(certificate, NULL), 0);
    assert_int_equal(gnutls_x509_crt_get_ca_status(authority, NULL), 1);
    gnutls_x509_crt_deinit(certificate);
    gnutls_x509_crt_deinit(authority);
}

static void issuing_again_replaces_key_and_certificate_as_a_whole(void **state)
{
    struct hf_tls *tls = NULL;
    char certificate[256], key[256], authority[256];
    struct hf_tls_options options = {certificate, key, authority, NULL};

    snprintf(certificate, sizeof(certificate), "%s/cert.pem", out_dir);
    snprintf(key, sizeof(key), "%s/key.pem", out_dir);
    snprintf(authority, sizeof(authority), "%s/ca.pem", out_dir);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(hf_pki_issue(dir, "agent", "db1", NULL, 0, 1 + i, out_dir, error, 256), 0);
        assert_int_equal(hf_tls_new(&options, &tls, error, sizeof(error)), 0);
        assert_in_range(hf_tls_expires_s(tls) - time(NULL), i * 86400 + 86340, (i + 1) * 86400);
        hf_tls_free(tls);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_for_their_owner_only),
        cmocka_unit_test(authority_is_never_replaced),
        cmocka_unit_test(names_that_could_be_something_else_are_refused),
        cmocka_unit_test(issuing_without_an_authority_says_so),
        cmocka_unit_test(certificate_says_who_where_and_how_long),
        cmocka_unit_test(issuing_again_replaces_key_and_certificate_as_a_whole),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
